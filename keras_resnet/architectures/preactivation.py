"""The rows of timm's resnetv2.py (1.0.31) and keras.applications' six."""

from collections.abc import Iterator
from dataclasses import replace

from keras_resnet.architectures.original import (
    RESNET18,
    RESNET34,
    RESNET50,
    RESNET101,
    RESNET152,
    v1,
)
from keras_resnet.architectures.record import Architecture

_D = {"stem": "deep", "stem_widths": (32, 32, 64), "shortcut": "D"}  # He2018
_T = _D | {"stem_widths": (24, 32, 64)}
_BIT = {"norm": "group", "standardized": True, "stem_pool": "zero_max"}
_ROWS = (  # name, parent, changes, paper
    ("resnetv2_18", RESNET18, {}, "He2016"),
    ("resnetv2_18d", RESNET18, _D, "He2016, He2018"),
    ("resnetv2_34", RESNET34, {}, "He2016"),
    ("resnetv2_34d", RESNET34, _D, "He2016, He2018"),
    ("resnetv2_50", RESNET50, {}, "He2016"),
    ("resnetv2_50d", RESNET50, _D, "He2016, He2018"),
    ("resnetv2_50t", RESNET50, _T, "He2016, He2018"),
    ("resnetv2_50d_gn", RESNET50, _D | {"norm": "group"}, "He2016, Wu2018"),
    ("resnetv2_50d_evos", RESNET50, _D | {"norm": "evonorm"}, "He2016, Liu2020"),
    ("resnetv2_50d_frn", RESNET50, _D | {"norm": "frn"}, "He2016, Singh2019"),
    ("resnetv2_101", RESNET101, {}, "He2016"),
    ("resnetv2_101d", RESNET101, _D, "He2016, He2018"),
    ("resnetv2_152", RESNET152, {}, "He2016"),
    ("resnetv2_152d", RESNET152, _D, "He2016, He2018"),
)
_BIT_ROWS = (  # parent, times as wide, input size
    (RESNET50, 1, 224),
    (RESNET50, 3, 448),
    (RESNET101, 1, 448),
    (RESNET101, 3, 448),
    (RESNET152, 2, 224),
    (RESNET152, 4, 480),
)


def _rows() -> Iterator[Architecture]:
    for name, parent, changes, paper in _ROWS:
        yield replace(
            parent,
            name=name,
            preactivation=True,
            source=f"{paper}; timm's resnetv2.py",
            **changes,
        )
    for parent, factor, size in _BIT_ROWS:
        depth = parent.name.removeprefix("resnet")
        yield replace(
            parent,
            name=f"resnetv2_{depth}x{factor}_bit",
            preactivation=True,
            widths=tuple(factor * width for width in parent.widths),
            input_size=size,
            source="Kolesnikov2019, Qiao2019; timm's resnetv2.py",
            **_BIT,
        )


def _keras_rows() -> Iterator[Architecture]:
    """keras.applications' own: biases, another epsilon, strides elsewhere."""
    numbers = {"epsilon": 1.001e-5, "momentum": 0.99}
    for parent in (RESNET50, RESNET101, RESNET152):
        yield replace(
            v1(parent),
            name=f"{parent.name}_keras",
            biases="all",
            source="He2015; keras.applications' resnet.py",
            **numbers,
        )
        yield replace(
            parent,
            name=f"{parent.name}v2_keras",
            preactivation=True,
            biases="outer",
            shortcut="subsample",
            stride_block="last",
            stem_pool="zero_max",
            source="He2016; keras.applications' resnet.py",
            **numbers,
        )


def rows() -> Iterator[Architecture]:
    yield from _rows()
    yield from _keras_rows()
