"""Writes parity.json: logits of the reference networks under name-seeded weights.

    python tests/golden/make_parity.py

Needs torch, torchvision and timm (any build that runs on the CPU), numpy, and
nothing of this package. Takes some minutes.
"""

import json
from pathlib import Path

import numpy as np
import reference
import seeded
import torch
from torch import nn

IMAGENET_SIZES = ((64, 65), (97, 64))  # even and odd
CIFAR_SIZES = ((32, 33), (31, 32))
CASES = {
    IMAGENET_SIZES: [
        f"resnet{depth}{order}"
        for depth in (18, 34, 50, 101, 152, 200)
        for order in ("", "_v1", "_v2")
    ]
    + ["plain18"],
    CIFAR_SIZES: [
        *("resnet8", "resnet8_b", "resnet8_v2", "plain8"),
        *("resnet20", "resnet20_b", "resnet20_v2", "plain20"),
        *("resnet29", "resnet29_v2", "resnet110", "resnet110_v2"),
        *("resnet164", "resnet164_v2", "resnet1001_v2"),
    ],
}
CLASSES = {IMAGENET_SIZES: 1000, CIFAR_SIZES: 10}


def set_weights(net: nn.Module, gain: float) -> None:
    """Sets every tensor by its name in this package's scheme."""
    for name, module in net.named_modules():
        name = name.removeprefix("head.")  # timm's v2 has `head.fc`
        for attribute, key in (
            ("weight", "gamma" if isinstance(module, nn.BatchNorm2d) else "kernel"),
            ("bias", "beta" if isinstance(module, nn.BatchNorm2d) else "bias"),
            ("running_mean", "moving_mean"),
            ("running_var", "moving_variance"),
        ):
            target = getattr(module, attribute, None)
            if target is not None:
                target.data.copy_(_tensor(f"{name}/{key}", target, gain))


def _tensor(name, target, gain):
    """The seeded tensor in torch's layout: OIHW kernels, (out, in) classifiers."""
    shape = tuple(target.shape)
    if name == "fc/kernel":  # a 1x1 convolution in timm's v2
        return torch.tensor(seeded.tensor(name, shape[1::-1], gain).T).reshape(shape)
    if len(shape) == 4:
        outputs, inputs, height, width = shape
        kernel = seeded.tensor(name, (height, width, inputs, outputs), gain)
        return torch.tensor(kernel.transpose(3, 2, 0, 1))
    return torch.tensor(seeded.tensor(name, shape, gain))


@torch.inference_mode()
def logits(net: nn.Module, size: tuple[int, int]) -> np.ndarray:
    """(2, classes) for the two seeded pictures."""
    return net(torch.tensor(seeded.images(size).transpose(0, 3, 1, 2))).numpy()


def main() -> None:
    rows = []
    for sizes, names in CASES.items():
        for name in names:
            net = reference.build(name, CLASSES[sizes])
            set_weights(net, seeded.gain(name))
            for size in sizes:
                out = logits(net, size).astype("float64")
                print(f"{name:14} {size} spread {out.std():.3f}", flush=True)
                # the weights must leave a picture its say
                assert np.isfinite(out).all()
                assert np.abs(out[0] - out[1]).max() > 0.1 * out.std(), name
                rows.append(
                    {
                        "model": name,
                        "size": size,
                        "classes": CLASSES[sizes],
                        "logits": [[float(f"{x:.7g}") for x in row[:4]] for row in out],
                        "norm": float(f"{np.linalg.norm(out):.7g}"),
                        "source": reference.source(name),
                    }
                )
    text = ",\n".join(json.dumps(row) for row in rows)
    Path(__file__).with_name("parity.json").write_text(f"[\n{text}\n]\n")


if __name__ == "__main__":
    main()
