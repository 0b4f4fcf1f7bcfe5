"""Writes counts.json and published.json: what the reference networks hold and do.

    python tests/golden/make_counts.py

Needs what make_parity.py needs. The nets have shapes only, no values. Multiply-adds
are of the 2-D convolutions and the classifier; ECA's 1-D convolutions are not counted.
make_keras_parity.py adds the networks of Keras.
"""

import answers
import reference
import reference_cifar
import timm
import torch
from torch import nn

# (model, what, figure, how its last digit came about)
HE2015_TABLE1 = [
    ("resnet18_v1", "multiply_adds", "1.8e9", "rounded"),
    ("resnet34_v1", "multiply_adds", "3.6e9", "cut off"),
    ("resnet50_v1", "multiply_adds", "3.8e9", "cut off"),
    ("resnet101_v1", "multiply_adds", "7.6e9", "rounded"),
    ("resnet152_v1", "multiply_adds", "11.3e9", "rounded"),
]
HE2015_TABLE6 = [
    (f"resnet{depth}", "parameters", figure, "rounded")
    for depth, figure in {
        20: "0.27e6",
        32: "0.46e6",
        44: "0.66e6",
        56: "0.85e6",
        110: "1.7e6",
        1202: "19.4e6",
    }.items()
]
HE2016_TABLE4 = [  # with normalisation, ResNet-1001 has 10.33 million
    (name, "parameters without normalization", figure, "rounded")
    for name, figure in {
        "resnet164": "1.7e6",
        "resnet164_v2": "1.7e6",
        "resnet1001": "10.2e6",
        "resnet1001_v2": "10.2e6",
    }.items()
]


def count(name: str, classes: int, sizes: tuple[int, ...]) -> dict:
    """Parameters, statistics, and multiply-adds at each size, of a reference net."""
    with torch.device("meta"):
        net = reference.build(name, classes)
        multiply_adds = {size: _multiply_adds(net, size) for size in sizes}
    statistics = [
        buffer.numel() for key, buffer in net.named_buffers() if "running" in key
    ]
    return {
        "model": name,
        "parameters": sum(one.numel() for one in net.parameters()),
        "statistics": sum(statistics),
        "multiply_adds": multiply_adds,
        "source": reference.source(name),
    }


def _multiply_adds(net, size):
    """Of the convolutions and the classifier, for one image."""
    counted = []

    def see(module, _, output):
        counted.append(output[0].numel() * module.weight[0].numel())

    hooks = [
        module.register_forward_hook(see)
        for module in net.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    net(torch.empty(1, 3, size, size))
    for hook in hooks:
        hook.remove()
    return sum(counted)


def published() -> list[dict]:
    """The papers' figures, and those that torchvision publishes with its weights."""
    tables = {
        "He2015, table 1": HE2015_TABLE1,
        "He2015, table 6": HE2015_TABLE6,
        "He2016, table 4": HE2016_TABLE4,
        f"torchvision {reference.TORCHVISION_VERSION}, weights' metadata": [
            row for name in reference.TORCHVISION for row in _torchvision(name)
        ],
    }
    keys = ("model", "what", "figure", "digits")
    return [
        dict(zip(keys, row, strict=True)) | {"source": source}
        for source, table in tables.items()
        for row in table
    ]


def _torchvision(name):
    meta = reference.torchvision.models.get_model_weights(name).IMAGENET1K_V1.meta
    yield name, "parameters", str(meta["num_params"]), "rounded"
    yield name, "multiply_adds", f"{meta['_ops']}e9", "rounded"


def input_size(name: str) -> int:
    """Side of the images that timm's default weights are trained on."""
    if name in reference.TIMM:
        return timm.get_pretrained_cfg(name).input_size[-1]
    return 224


def main() -> None:
    imagenet = [*reference.V1, *reference.PLAIN, *reference.DEEPER, *reference.TIMM]
    rows = [count(name, 1000, (input_size(name), 97)) for name in imagenet]
    rows += [count(name, 10, (32, 33)) for name in reference_cifar.NAMES]
    answers.update("counts.json", rows)
    answers.update("published.json", published())


if __name__ == "__main__":
    main()
