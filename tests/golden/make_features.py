"""Writes features.json and training.json: what lies between images and logits.

    python tests/golden/make_features.py

Needs what make_parity.py needs. make_keras_parity.py adds the networks of Keras.
"""

import json

import answers
import numpy as np
import reference
import seeded
import torch
import torch_side
from torch import nn

SIZE = (97, 64)
CLASSES = 10
_V1 = ("act1", "layer1", "layer2", "layer3", "layer4")
_V2 = ("stages.0", "stages.1", "stages.2", "norm")  # the last behind norm and ReLU
_DENSE = ("features.norm0", *(f"features.denseblock{i}" for i in (1, 2, 3)))
FEATURES = {  # C1, the stem before its pool, to C5; one or two models a family
    **dict.fromkeys(
        (
            "resnet18",
            "resnet50",
            "resnet50d",
            "seresnet50",
            "ecaresnet50t",
            "resnetaa50",
            "resnetblur50",
            "resnetrs50",
            "resnext50_32x4d",
            "senet154",
            "resnest50d",
            "skresnet50",
            "res2net50_26w_4s",
        ),
        _V1,
    ),
    **dict.fromkeys(
        ("resnetv2_50", "resnetv2_50x1_bit", "resnetv2_50d_evos"), ("stem.conv", *_V2)
    ),
    "densenet121": (*_DENSE, "features.norm5"),
}
TRAINED = {  # three normalisations, from first to last
    "resnet18": ("bn1", "layer2.0.bn2", "layer4.1.bn2"),
    "resnet50": ("bn1", "layer2.0.bn2", "layer4.2.bn3"),
}
TRAINING_SIZE, BATCH, RATE = (64, 64), 8, 0.01


@torch.inference_mode()
def feature_maps(name: str) -> dict[str, np.ndarray]:
    """C1 to C5, (2, height, width, channels) each."""
    net = reference.build(name, CLASSES)
    torch_side.set_weights(net, seeded.gain(name))
    maps = {}

    def keep(level):
        def see(_, __, output):  # clone: what follows may work in place
            maps[level] = output.clone().numpy().transpose(0, 2, 3, 1)

        return see

    modules = FEATURES[name]
    if "stem.conv" in modules and hasattr(net.stem, "conv3"):
        modules = ("stem.conv3", *modules[1:])
    for level, module in enumerate(modules, start=1):
        net.get_submodule(module).register_forward_hook(keep(f"C{level}"))
    net(torch_side.images(SIZE))
    return maps


def training(name: str) -> dict:
    """The loss before and after a step of plain SGD, and statistics of one forward.

    `elements` is how many positions each statistic is of: torch keeps the unbiased
    variance, which is elements / (elements - 1) times the biased one that Keras keeps.
    """
    net = reference.build(name, CLASSES)
    torch_side.set_weights(net, seeded.gain(name))
    tensors = torch_side.canonical(net)
    for key, tensor in tensors.items():
        tensor.mul_(seeded.training_factor(name, key))
    net.train()
    images = torch_side.images(TRAINING_SIZE, BATCH)
    labels = torch.tensor(seeded.labels(BATCH, CLASSES))
    elements = {}
    for layer in TRAINED[name]:
        net.get_submodule(layer).register_forward_hook(
            lambda _, __, output, layer=layer: elements.update(
                {layer: output.numel() // output.shape[1]}
            )
        )
    before = nn.functional.cross_entropy(net(images), labels)
    statistics = {
        f"{layer}/{kind}": _statistic(name, f"{layer}/{kind}", tensors)
        for layer in TRAINED[name]
        for kind in ("moving_mean", "moving_variance")
    }
    before.backward()
    torch.optim.SGD(net.parameters(), RATE).step()
    after = nn.functional.cross_entropy(net(images), labels)
    return {
        "model": name,
        "size": list(TRAINING_SIZE),
        "batch": BATCH,
        "rate": RATE,
        "losses": answers.rounded([before.item(), after.item()]),
        "statistics": statistics,
        "elements": elements,
        "source": reference.source(name),
    }


def _statistic(model, name, tensors):
    """A dozen channels of it."""
    values = tensors[name].numpy()
    places = seeded.positions(f"{model} {name}", 12, values.size)
    return answers.rounded(values[places])


def main() -> None:
    for name in FEATURES:
        row = answers.feature_row(
            name, SIZE, feature_maps(name), reference.source(name)
        )
        print(json.dumps({level: one["shape"] for level, one in row["maps"].items()}))
        answers.update("features.json", [row])
    answers.update("training.json", [training(name) for name in TRAINED])


if __name__ == "__main__":
    main()
