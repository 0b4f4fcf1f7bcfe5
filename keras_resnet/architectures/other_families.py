"""The rows of families with blocks of their own: ResNeSt, SKNet, Res2Net, DenseNet.

Names and facts of timm 1.0.31: resnest.py, sknet.py, res2net.py, densenet.py.
"""

from collections.abc import Iterator
from dataclasses import replace

from keras_resnet.architectures.architecture import Architecture
from keras_resnet.architectures.records import (
    DenseLayer,
    Res2Net,
    SelectiveKernelBasic,
    SelectiveKernelBottleneck,
    SplitAttention,
)
from keras_resnet.architectures.resnet import RESNET18, RESNET50
from keras_resnet.architectures.timm_resnet import D, E

_26, _50 = (2, 2, 2, 2), (3, 4, 6, 3)
_101, _200, _269 = (3, 4, 23, 3), (3, 24, 36, 3), (3, 30, 48, 8)

_RESNEST_SOURCE = "Zhang2020, section 3; as in timm's resnest.py"
_RESNEST = (  # name, block, depths, stem and shortcut, input size
    ("resnest14d", SplitAttention(), (1, 1, 1, 1), D, 224),
    ("resnest26d", SplitAttention(), _26, D, 224),
    ("resnest50d", SplitAttention(), _50, D, 224),
    ("resnest101e", SplitAttention(), _101, E, 256),
    ("resnest200e", SplitAttention(), _200, E, 320),
    ("resnest269e", SplitAttention(), _269, E, 416),
    (
        "resnest50d_4s2x40d",
        SplitAttention(radix=4, groups=2, base_width=40, pool_first=True),
        _50,
        D,
        224,
    ),
    (
        "resnest50d_1s4x24d",
        SplitAttention(radix=1, groups=4, base_width=24, pool_first=True),
        _50,
        D,
        224,
    ),
)

# Splitting the input keeps the parameters down where convolutions have one group; the
# ResNeXt is the paper's SKNet-50.
_SKNET_SOURCE = "Li2019, section 3; reduction and split input as in timm's sknet.py"
_SKNET = (  # name, block, depths, stem and shortcut, source
    ("skresnet18", SelectiveKernelBasic(), _26, {}, _SKNET_SOURCE),
    ("skresnet34", SelectiveKernelBasic(), _50, {}, _SKNET_SOURCE),
    ("skresnet50", SelectiveKernelBottleneck(), _50, {}, _SKNET_SOURCE),
    ("skresnet50d", SelectiveKernelBottleneck(), _50, D, _SKNET_SOURCE),
    (
        "skresnext50_32x4d",
        SelectiveKernelBottleneck(
            groups=32, base_width=4, divisor=32, split_input=False
        ),
        _50,
        {},
        "Li2019, table 1 (SKNet-50); as in timm's sknet.py",
    ),
)

_RES2NET_SOURCE = "Gao2019, section 3; as in timm's res2net.py"
_RES2NET = (  # name, block, depths, stem and shortcut
    ("res2net50_26w_4s", Res2Net(), _50, {}),
    ("res2net50_26w_6s", Res2Net(scale=6), _50, {}),
    ("res2net50_26w_8s", Res2Net(scale=8), _50, {}),
    ("res2net50_48w_2s", Res2Net(base_width=48, scale=2), _50, {}),
    ("res2net50_14w_8s", Res2Net(base_width=14, scale=8), _50, {}),
    ("res2next50", Res2Net(groups=8, base_width=4), _50, {}),
    ("res2net50d", Res2Net(), _50, D),
    ("res2net101_26w_4s", Res2Net(), _101, {}),
    ("res2net101d", Res2Net(), _101, D),
)

_DENSENET = (  # name, growth, depths, widths (a transition halves), source
    (
        "densenet121",
        32,
        (6, 12, 24, 16),
        (64, 128, 256, 512),
        "Huang2016, table 1",
    ),
    (
        "densenet161",
        48,
        (6, 12, 36, 24),
        (96, 192, 384, 1056),
        "Huang2016; as in torchvision's densenet.py",
    ),
    ("densenet169", 32, (6, 12, 32, 32), (64, 128, 256, 640), "Huang2016, table 1"),
    ("densenet201", 32, (6, 12, 48, 32), (64, 128, 256, 896), "Huang2016, table 1"),
)


def rows() -> Iterator[Architecture]:
    for name, block, depths, changes, input_size in _RESNEST:
        yield RESNET50.derive(
            name=name,
            block=block,
            depths=depths,
            input_size=input_size,
            source=_RESNEST_SOURCE,
            **changes,
        )
    for name, block, depths, changes, source in _SKNET:
        yield RESNET50.derive(
            name=name, block=block, depths=depths, source=source, **changes
        )
    for name, block, depths, changes in _RES2NET:
        yield RESNET50.derive(
            name=name, block=block, depths=depths, source=_RES2NET_SOURCE, **changes
        )
    for name, growth, depths, widths, source in _DENSENET:
        yield replace(
            RESNET18,
            name=name,
            block=DenseLayer(growth),
            depths=depths,
            widths=widths,
            source=source,
        )
