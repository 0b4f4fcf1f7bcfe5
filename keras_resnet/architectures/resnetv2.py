"""The rows of timm's resnetv2.py (1.0.31) and keras.applications' six."""

from collections.abc import Iterator

from keras_resnet.architectures.architecture import Architecture
from keras_resnet.architectures.records import ImageNetStem
from keras_resnet.architectures.resnet import (
    RESNET18,
    RESNET34,
    RESNET50,
    RESNET101,
    RESNET152,
    preactivated,
    v1,
)
from keras_resnet.architectures.timm_resnet import D, T

_ROWS = (  # name, parent, changes, paper
    ("resnetv2_18", RESNET18, {}, "He2016"),
    ("resnetv2_18d", RESNET18, D, "He2016, He2018"),
    ("resnetv2_34", RESNET34, {}, "He2016"),
    ("resnetv2_34d", RESNET34, D, "He2016, He2018"),
    ("resnetv2_50", RESNET50, {}, "He2016"),
    ("resnetv2_50d", RESNET50, D, "He2016, He2018"),
    ("resnetv2_50t", RESNET50, T, "He2016, He2018"),
    ("resnetv2_50d_gn", RESNET50, D | {"norm": "group"}, "He2016, Wu2018"),
    ("resnetv2_50d_evos", RESNET50, D | {"norm": "evonorm"}, "He2016, Liu2020"),
    ("resnetv2_50d_frn", RESNET50, D | {"norm": "frn"}, "He2016, Singh2019"),
    ("resnetv2_101", RESNET101, {}, "He2016"),
    ("resnetv2_101d", RESNET101, D, "He2016, He2018"),
    ("resnetv2_152", RESNET152, {}, "He2016"),
    ("resnetv2_152d", RESNET152, D, "He2016, He2018"),
)
_BIT_ROWS = (  # parent, times as wide, input size
    (RESNET50, 1, 224),
    (RESNET50, 3, 448),
    (RESNET101, 1, 448),
    (RESNET101, 3, 448),
    (RESNET152, 2, 224),
    (RESNET152, 4, 480),
)


def rows() -> Iterator[Architecture]:
    for name, parent, changes, paper in _ROWS:
        source = f"{paper}; timm's resnetv2.py"
        yield preactivated(parent, name, source).derive(**changes)
    for parent, factor, size in _BIT_ROWS:
        depth = parent.name.removeprefix("resnet")
        source = "Kolesnikov2019, Qiao2019; timm's resnetv2.py"
        yield preactivated(parent, f"resnetv2_{depth}x{factor}_bit", source).derive(
            widths=tuple(factor * width for width in parent.widths),
            input_size=size,
            norm="group",
            standardized=True,
            stem=ImageNetStem(pool="zero_max"),
        )
    # keras.applications' own: biases, another epsilon, strides elsewhere.
    numbers = {"epsilon": 1.001e-5, "momentum": 0.99}
    for parent in (RESNET50, RESNET101, RESNET152):
        yield v1(parent).derive(
            name=f"{parent.name}_keras",
            biases="all",
            source="He2015; keras.applications' resnet.py",
            **numbers,
        )
        source = "He2016; keras.applications' resnet.py"
        yield preactivated(parent, f"{parent.name}v2_keras", source).derive(
            biases="outer",
            shortcut="subsample",
            stride_block="last",
            stem=ImageNetStem(pool="zero_max"),
            **numbers,
        )
