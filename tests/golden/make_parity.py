"""Writes parity.json: logits of the reference networks under name-seeded weights.

    python tests/golden/make_parity.py            # all: half an hour, 12 GB of memory
    python tests/golden/make_parity.py resnet18   # these models' answers alone

Needs torch, torchvision and timm (any build that runs on the CPU), numpy, and
nothing of this package. make_keras_parity.py has the networks of Keras.
"""

import sys

import answers
import reference
import reference_cifar
import seeded
import torch_side

IMAGENET_SIZES = ((64, 65), (97, 64))  # even and odd
CIFAR_SIZES = ((32, 33), (31, 32))
CLASSES = 10
CIFAR = [
    name
    for name in reference_cifar.NAMES + reference_cifar.SHALLOW_BOTTLENECKS
    # 1200 random layers without shortcuts either lose the image or magnify rounding
    # until float32's answer and float64's have nothing in common
    if name != "plain1202"
]
SETTINGS = [  # each on networks where it meets different mechanisms
    *(
        (name, {"output_stride": stride})
        for name in ("resnet18", "resnet50", "resnet50d", "resnetv2_50")
        for stride in (8, 16)
    ),
    *(
        (name, {"output_stride": 8})
        for name in (
            "resnetv2_18d",
            "resnetv2_50d",
            "resnetblur18",
            "resnetaa50",
            "senet154",
            "resnest14d",
            "skresnet18",
            "res2net50_26w_4s",
        )
    ),
    *(
        (name, {"antialias": kind})
        for name in ("resnet18", "resnet50d", "seresnext50_32x4d", "resnetrs50")
        for kind in ("blur", "average")
    ),
    *(
        (name, {"activation": "silu"})
        for name in (
            "resnet18",
            "resnet50d",
            "seresnet18",
            "resnetv2_50",
            "resnetrs50",
            "densenet121",
            "resnest14d",
            "skresnet18",
            "res2net50_26w_4s",
        )
    ),
    ("resnet18", {"activation": "gelu"}),
    ("resnet18", {"norm": "frozen"}),
    *((name, {"norm": "group"}) for name in ("resnet18", "resnet50d", "resnetv2_50")),
    *((name, {"norm": "group"}) for name in ("seresnet18", "resnest14d")),
    ("resnetv2_18", {"norm": "evonorm"}),
    ("resnetv2_18", {"norm": "frn"}),
    ("resnet50", {"output_stride": 8, "antialias": "blur", "activation": "silu"}),
]


def cases() -> list[tuple]:
    """(model, library, settings, sizes), the largest last."""
    imagenet = [*reference.V1, *reference.PLAIN, *reference.DEEPER, *reference.TIMM]
    huge = [name for name in imagenet if name.endswith(("x2_bit", "x3_bit", "x4_bit"))]
    rest = [name for name in imagenet if name not in huge]
    return [
        *((name, "timm", {}, CIFAR_SIZES) for name in CIFAR),
        *((name, "timm", {}, IMAGENET_SIZES) for name in rest),
        *((name, "torchvision", {}, IMAGENET_SIZES) for name in reference.TORCHVISION),
        *((name, "timm", settings, IMAGENET_SIZES) for name, settings in SETTINGS),
        *((name, "timm", {}, IMAGENET_SIZES) for name in huge),
    ]


def answer(name: str, library: str, settings: dict, sizes: tuple) -> list[dict]:
    """The rows of one network, one for each size."""
    net = reference.build(name, CLASSES, library, settings)
    torch_side.set_weights(net, seeded.gain(name))
    source = reference.source(name, library)
    return [
        answers.row(name, settings, size, torch_side.logits(net, size), source)
        for size in sizes
    ]


def main() -> None:
    wanted = sys.argv[1:]
    for name, library, settings, sizes in cases():
        if not wanted or name in wanted:
            answers.update("parity.json", answer(name, library, settings, sizes))


if __name__ == "__main__":
    main()
