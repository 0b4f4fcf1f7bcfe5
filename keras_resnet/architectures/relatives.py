"""Relatives with blocks of their own: ResNeSt, SKNet, Res2Net and DenseNet.

Names and facts of timm 1.0.31: resnest.py, sknet.py, res2net.py, densenet.py.
"""

from collections.abc import Iterator
from dataclasses import replace

from keras_resnet.architectures.original import RESNET18, RESNET50
from keras_resnet.architectures.record import Architecture

_DEEP = {"stem": "deep", "stem_widths": (32, 32, 64), "shortcut": "D"}
_WIDE = {"stem": "deep", "stem_widths": (64, 64, 128), "shortcut": "D"}

_RESNEST50 = replace(
    RESNET50,
    name="resnest50d",
    block="split_attention",
    radix=2,
    source="Zhang2020, section 3; as in timm's resnest.py",
    **_DEEP,
)
_RESNEST101 = replace(
    _RESNEST50, name="resnest101e", depths=(3, 4, 23, 3), input_size=256, **_WIDE
)
_RESNEST = (
    replace(_RESNEST50, name="resnest14d", depths=(1, 1, 1, 1)),
    replace(_RESNEST50, name="resnest26d", depths=(2, 2, 2, 2)),
    _RESNEST50,
    _RESNEST101,
    replace(_RESNEST101, name="resnest200e", depths=(3, 24, 36, 3), input_size=320),
    replace(_RESNEST101, name="resnest269e", depths=(3, 30, 48, 8), input_size=416),
    replace(
        _RESNEST50,
        name="resnest50d_4s2x40d",
        radix=4,
        cardinality=2,
        base_width=40,
        pool_first=True,
    ),
    replace(
        _RESNEST50,
        name="resnest50d_1s4x24d",
        radix=1,
        cardinality=4,
        base_width=24,
        pool_first=True,
    ),
)

# Splitting the input keeps the parameters down where convolutions have one group; the
# ResNeXt is the paper's SKNet-50.
_SKRESNET18 = replace(
    RESNET18,
    name="skresnet18",
    block="selective_kernel_basic",
    attention_ratio=1 / 8,
    attention_divisor=16,
    split_input=True,
    source="Li2019, section 3; reduction and split input as in timm's sknet.py",
)
_SKRESNET50 = replace(
    RESNET50,
    name="skresnet50",
    block="selective_kernel_bottleneck",
    split_input=True,
    source="Li2019, section 3; reduction and split input as in timm's sknet.py",
)
_SKNET = (
    _SKRESNET18,
    replace(_SKRESNET18, name="skresnet34", depths=(3, 4, 6, 3)),
    _SKRESNET50,
    replace(_SKRESNET50, name="skresnet50d", **_DEEP),
    replace(
        _SKRESNET50,
        name="skresnext50_32x4d",
        cardinality=32,
        base_width=4,
        attention_divisor=32,
        split_input=False,
        source="Li2019, table 1 (SKNet-50); as in timm's sknet.py",
    ),
)

_RES2NET50 = replace(
    RESNET50,
    name="res2net50_26w_4s",
    block="res2net",
    base_width=26,
    scale=4,
    source="Gao2019, section 3; as in timm's res2net.py",
)
_RES2NET101 = replace(_RES2NET50, name="res2net101_26w_4s", depths=(3, 4, 23, 3))
_RES2NET = (
    _RES2NET50,
    replace(_RES2NET50, name="res2net50_26w_6s", scale=6),
    replace(_RES2NET50, name="res2net50_26w_8s", scale=8),
    replace(_RES2NET50, name="res2net50_48w_2s", base_width=48, scale=2),
    replace(_RES2NET50, name="res2net50_14w_8s", base_width=14, scale=8),
    replace(_RES2NET50, name="res2next50", base_width=4, cardinality=8),
    replace(_RES2NET50, name="res2net50d", **_DEEP),
    _RES2NET101,
    replace(_RES2NET101, name="res2net101d", **_DEEP),
)

# widths: what enters each dense block; a transition halves what leaves it.
_DENSENET121 = replace(
    RESNET18,
    name="densenet121",
    block="dense",
    depths=(6, 12, 24, 16),
    widths=(64, 128, 256, 512),
    preactivation=True,
    shortcut="none",
    growth=32,
    source="Huang2016, table 1",
)
_DENSENET = (
    _DENSENET121,
    replace(
        _DENSENET121,
        name="densenet161",
        depths=(6, 12, 36, 24),
        widths=(96, 192, 384, 1056),
        growth=48,
        source="Huang2016; as in torchvision's densenet.py",
    ),
    replace(
        _DENSENET121,
        name="densenet169",
        depths=(6, 12, 32, 32),
        widths=(64, 128, 256, 640),
    ),
    replace(
        _DENSENET121,
        name="densenet201",
        depths=(6, 12, 48, 32),
        widths=(64, 128, 256, 896),
    ),
)


def rows() -> Iterator[Architecture]:
    yield from (*_RESNEST, *_SKNET, *_RES2NET, *_DENSENET)
