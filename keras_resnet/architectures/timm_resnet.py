"""The other rows of timm's resnet.py, and keras-hub's vd nets: original order.

Facts from timm 1.0.31 and keras-hub 0.25 (see `tests/golden`); timm's names.
"""

from collections.abc import Iterator
from dataclasses import replace

from keras_resnet.architectures.architecture import Architecture
from keras_resnet.architectures.records import (
    Basic,
    Bottleneck,
    DeepStem,
    EfficientAttention,
    SqueezeExcitation,
)
from keras_resnet.architectures.resnet import RESNET18, RESNET50

# The letters and prefixes of timm's names, as what they change in a row; C and D are in
# He2018, fig. 2.
C = {"stem": DeepStem((32, 32, 64))}  # a deep stem
S = {"stem": DeepStem((64, 64, 128))}
D = C | {"shortcut": "D"}  # a deep stem, and a pool in the shortcut
E = S | {"shortcut": "D"}
T = D | {"stem": DeepStem((24, 32, 64))}
SE = {"attention": SqueezeExcitation()}
ECA = {"attention": EfficientAttention()}
AA = {"antialias": "average"}
BLUR = {"antialias": "blur"}
RS = {  # ResNet-RS (Bello2021)
    "stem": DeepStem((32, 32, 64), pool="convolution"),
    "shortcut": "D",
    "attention": SqueezeExcitation(ratio=1 / 4),
}


def _next(groups: int, base_width: int) -> dict:
    """ResNeXt's part of a name, 32x4d (Xie2016)."""
    return {"groups": groups, "base_width": base_width}


_14, _26 = (1, 1, 1, 1), (2, 2, 2, 2)
_50, _101, _152 = (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)
_200, _269 = (3, 24, 36, 3), (3, 30, 48, 8)

_BASIC = (  # name, depths, changes, input size, paper
    ("resnet10t", _14, T, 176, "He2018"),
    ("resnet18d", _26, D, 224, "He2018"),
    ("resnet34d", _50, D, 224, "He2018"),
    ("resnetaa34d", _50, D | AA, 224, "Lee2020"),
    ("resnetblur18", _26, BLUR, 224, "Zhang2019"),
    ("seresnet18", _26, SE, 224, "Hu2017"),
    ("seresnet34", _50, SE, 224, "Hu2017"),
    ("resnet18_vd", _26, D | {"project_first": True}, 224, "He2018"),
    ("resnet34_vd", _50, D | {"project_first": True}, 224, "He2018"),
)
_BOTTLENECK = (
    ("resnet14t", _14, T, 176, "He2018"),
    ("resnet26", _26, {}, 224, "He2015"),
    ("resnet26d", _26, D, 224, "He2018"),
    ("resnet26t", _26, T, 256, "He2018"),
    ("resnet50c", _50, C, 224, "He2018"),
    ("resnet50d", _50, D, 224, "He2018"),
    ("resnet50s", _50, S, 224, "He2018"),
    ("resnet50t", _50, T, 224, "He2018"),
    ("resnet50_gn", _50, {"norm": "group"}, 224, "Wu2018"),
    ("resnet101c", _101, C, 224, "He2018"),
    ("resnet101d", _101, D, 256, "He2018"),
    ("resnet101s", _101, S, 224, "He2018"),
    ("resnet152c", _152, C, 224, "He2018"),
    ("resnet152d", _152, D, 256, "He2018"),
    ("resnet152s", _152, S, 224, "He2018"),
    ("resnet200d", _200, D, 256, "He2018"),
    ("resnet50_vd", _50, D, 224, "He2018"),
    ("resnet101_vd", _101, D, 224, "He2018"),
    ("resnet152_vd", _152, D, 224, "He2018"),
    ("resnet200_vd", (3, 12, 48, 3), D, 224, "He2018"),
    ("wide_resnet50_2", _50, {"base_width": 128}, 224, "Zagoruyko2016"),
    ("wide_resnet101_2", _101, {"base_width": 128}, 224, "Zagoruyko2016"),
    ("resnext50_32x4d", _50, _next(32, 4), 224, "Xie2016"),
    ("resnext50d_32x4d", _50, D | _next(32, 4), 224, "Xie2016, He2018"),
    ("resnext101_32x4d", _101, _next(32, 4), 224, "Xie2016"),
    ("resnext101_32x8d", _101, _next(32, 8), 224, "Xie2016"),
    ("resnext101_32x16d", _101, _next(32, 16), 224, "Xie2016"),
    ("resnext101_32x32d", _101, _next(32, 32), 224, "Xie2016"),
    ("resnext101_64x4d", _101, _next(64, 4), 224, "Xie2016"),
    ("seresnet50", _50, SE, 224, "Hu2017"),
    ("seresnet50t", _50, T | SE, 224, "Hu2017, He2018"),
    ("seresnet101", _101, SE, 224, "Hu2017"),
    ("seresnet152", _152, SE, 224, "Hu2017"),
    ("seresnet152d", _152, D | SE, 256, "Hu2017, He2018"),
    ("seresnet200d", _200, D | SE, 256, "Hu2017, He2018"),
    ("seresnet269d", _269, D | SE, 256, "Hu2017, He2018"),
    ("seresnetaa50d", _50, D | SE | AA, 224, "Hu2017, Lee2020"),
    ("seresnext26d_32x4d", _26, D | SE | _next(32, 4), 224, "Hu2017, He2018"),
    ("seresnext26t_32x4d", _26, T | SE | _next(32, 4), 224, "Hu2017, He2018"),
    ("seresnext50_32x4d", _50, SE | _next(32, 4), 224, "Hu2017"),
    ("seresnext101_32x4d", _101, SE | _next(32, 4), 224, "Hu2017"),
    ("seresnext101_32x8d", _101, SE | _next(32, 8), 224, "Hu2017"),
    ("seresnext101_64x4d", _101, SE | _next(64, 4), 224, "Hu2017"),
    ("seresnext101d_32x8d", _101, D | SE | _next(32, 8), 224, "Hu2017, He2018"),
    (
        "seresnextaa101d_32x8d",
        _101,
        D | SE | AA | _next(32, 8),
        288,
        "Hu2017, Lee2020",
    ),
    (
        "seresnextaa201d_32x8d",
        (3, 24, 36, 4),
        E | SE | AA | _next(32, 8),
        384,
        "Hu2017, Lee2020",
    ),
    (
        "senet154",
        _152,
        S | SE | _next(64, 4) | {"reduce_first": 2, "shortcut_kernel": 3},
        224,
        "Hu2017",
    ),
    ("ecaresnet26t", _26, T | ECA, 256, "Wang2019, He2018"),
    ("ecaresnet50d", _50, D | ECA, 224, "Wang2019, He2018"),
    ("ecaresnet50t", _50, T | ECA, 256, "Wang2019, He2018"),
    ("ecaresnet101d", _101, D | ECA, 224, "Wang2019, He2018"),
    ("ecaresnet200d", _200, D | ECA, 256, "Wang2019, He2018"),
    ("ecaresnet269d", _269, D | ECA, 320, "Wang2019, He2018"),
    ("ecaresnetlight", (1, 1, 11, 3), ECA | {"shortcut": "D"}, 224, "Wang2019"),
    ("ecaresnext26t_32x4d", _26, T | ECA | _next(32, 4), 224, "Wang2019, He2018"),
    ("ecaresnext50t_32x4d", _50, T | ECA | _next(32, 4), 224, "Wang2019, He2018"),
    ("resnetaa50", _50, AA, 224, "Lee2020"),
    ("resnetaa50d", _50, D | AA, 224, "Lee2020"),
    ("resnetaa101d", _101, D | AA, 224, "Lee2020"),
    ("resnetblur50", _50, BLUR, 224, "Zhang2019"),
    ("resnetblur50d", _50, D | BLUR, 224, "Zhang2019, He2018"),
    ("resnetblur101d", _101, D | BLUR, 224, "Zhang2019, He2018"),
    ("resnetrs50", _50, RS, 160, "Bello2021"),
    ("resnetrs101", _101, RS, 192, "Bello2021"),
    ("resnetrs152", _152, RS, 256, "Bello2021"),
    ("resnetrs200", _200, RS, 256, "Bello2021"),
    ("resnetrs270", (4, 29, 53, 4), RS, 256, "Bello2021"),
    ("resnetrs350", (4, 36, 72, 4), RS, 288, "Bello2021"),
    ("resnetrs420", (4, 44, 87, 4), RS, 320, "Bello2021"),
)
# The nets that knapsack pruning left: timm's models/_pruned/*.txt.
# fmt: off
_PRUNED = {  # name: parent, and of each stage: outputs, branch_widths
    "ecaresnet50d_pruned": (
        "ecaresnet50d",
        (19, ((47, 18), (52, 22), (64, 35))),
        (171, ((85, 37), (107, 80), (120, 85), (125, 87))),
        (818, (
            (198, 126), (255, 232), (256, 233), (253, 235), (256, 225), (256, 239),
        )),
        (2022, ((492, 237), (512, 500), (512, 490))),
    ),
    "ecaresnet101d_pruned": (
        "ecaresnet101d",
        (26, ((45, 25), (53, 20), (60, 27))),
        (142, ((81, 24), (93, 49), (102, 54), (122, 78))),
        (278, (
            (101, 25), (239, 160), (234, 156), (250, 176), (253, 191), (251, 175),
            (230, 128), (244, 154), (244, 159), (238, 97), (244, 149), (253, 181),
            (245, 119), (255, 216), (256, 201), (253, 149), (254, 141), (256, 190),
            (256, 217), (255, 156), (256, 155), (256, 232), (256, 214),
        )),
        (2042, ((499, 289), (512, 512), (512, 502))),
    ),
}
# fmt: on


def rows() -> Iterator[Architecture]:
    table = {}
    for parent, variants in ((RESNET18, _BASIC), (RESNET50, _BOTTLENECK)):
        for name, depths, changes, input_size, paper in variants:
            where = (
                "keras-hub's ResNetBackbone" if "_vd" in name else "timm's resnet.py"
            )
            table[name] = parent.derive(
                name=name,
                depths=depths,
                input_size=input_size,
                source=f"{paper}; {where}",
                **changes,
            )
    for name, (parent, *stages) in _PRUNED.items():
        block = table[parent].block
        table[name] = replace(
            table[parent],
            name=name,
            block=tuple(
                replace(block, outputs=outputs, branch_widths=branch_widths)
                for outputs, branch_widths in stages
            ),
            source="Aflalo2020; timm's models/_pruned",
        )
    yield from table.values()
    basic, bottleneck = Basic(shortcut="D"), Bottleneck(shortcut="D")
    yield replace(
        table["resnet18d"],
        name="test_resnet",
        block=(basic, basic, bottleneck, basic),
        depths=_14,
        widths=(32, 48, 48, 96),
        stem=DeepStem((16, 16, 32)),
        input_size=160,
        source="timm's resnet.py, its small net for tests",
    )
