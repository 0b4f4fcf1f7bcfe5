"""The other rows of timm's resnet.py, and keras-hub's vd nets: original order.

Facts from timm 1.0.31 and keras-hub 0.25 (see `tests/golden`); timm's names.
"""

from collections.abc import Iterator
from dataclasses import replace

from keras_resnet.architectures.original import RESNET18, RESNET50
from keras_resnet.architectures.record import Architecture

# The letters and prefixes of timm's names, as what they change.
_C = {"stem": "deep", "stem_widths": (32, 32, 64)}  # He2018, fig. 2b
_S = {"stem": "deep", "stem_widths": (64, 64, 128)}
_D = _C | {"shortcut": "D"}  # He2018, fig. 2c
_T = _D | {"stem_widths": (24, 32, 64)}
_E = _S | {"shortcut": "D"}
_SE = {"attention": "se"}
_ECA = {"attention": "eca"}
_AA = {"antialias": "average"}
_BLUR = {"antialias": "blur"}
_RS = _D | _SE | {"attention_ratio": 1 / 4, "stem_pool": "convolution"}


def _next(cardinality: int, base_width: int) -> dict:
    return {"cardinality": cardinality, "base_width": base_width}


_14, _26 = (1, 1, 1, 1), (2, 2, 2, 2)
_50, _101, _152 = (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)
_200, _269 = (3, 24, 36, 3), (3, 30, 48, 8)

_BASIC = (  # name, depths, changes, input size, paper
    ("resnet10t", _14, _T, 176, "He2018"),
    ("resnet18d", _26, _D, 224, "He2018"),
    ("resnet34d", _50, _D, 224, "He2018"),
    ("resnetaa34d", _50, _D | _AA, 224, "Lee2020"),
    ("resnetblur18", _26, _BLUR, 224, "Zhang2019"),
    ("seresnet18", _26, _SE, 224, "Hu2017"),
    ("seresnet34", _50, _SE, 224, "Hu2017"),
    ("resnet18_vd", _26, _D | {"project_first": True}, 224, "He2018"),
    ("resnet34_vd", _50, _D | {"project_first": True}, 224, "He2018"),
)
_BOTTLENECK = (
    ("resnet14t", _14, _T, 176, "He2018"),
    ("resnet26", _26, {}, 224, "He2015"),
    ("resnet26d", _26, _D, 224, "He2018"),
    ("resnet26t", _26, _T, 256, "He2018"),
    ("resnet50c", _50, _C, 224, "He2018"),
    ("resnet50d", _50, _D, 224, "He2018"),
    ("resnet50s", _50, _S, 224, "He2018"),
    ("resnet50t", _50, _T, 224, "He2018"),
    ("resnet50_gn", _50, {"norm": "group"}, 224, "Wu2018"),
    ("resnet101c", _101, _C, 224, "He2018"),
    ("resnet101d", _101, _D, 256, "He2018"),
    ("resnet101s", _101, _S, 224, "He2018"),
    ("resnet152c", _152, _C, 224, "He2018"),
    ("resnet152d", _152, _D, 256, "He2018"),
    ("resnet152s", _152, _S, 224, "He2018"),
    ("resnet200d", _200, _D, 256, "He2018"),
    ("resnet50_vd", _50, _D, 224, "He2018"),
    ("resnet101_vd", _101, _D, 224, "He2018"),
    ("resnet152_vd", _152, _D, 224, "He2018"),
    ("resnet200_vd", (3, 12, 48, 3), _D, 224, "He2018"),
    ("wide_resnet50_2", _50, {"base_width": 128}, 224, "Zagoruyko2016"),
    ("wide_resnet101_2", _101, {"base_width": 128}, 224, "Zagoruyko2016"),
    ("resnext50_32x4d", _50, _next(32, 4), 224, "Xie2016"),
    ("resnext50d_32x4d", _50, _D | _next(32, 4), 224, "Xie2016, He2018"),
    ("resnext101_32x4d", _101, _next(32, 4), 224, "Xie2016"),
    ("resnext101_32x8d", _101, _next(32, 8), 224, "Xie2016"),
    ("resnext101_32x16d", _101, _next(32, 16), 224, "Xie2016"),
    ("resnext101_32x32d", _101, _next(32, 32), 224, "Xie2016"),
    ("resnext101_64x4d", _101, _next(64, 4), 224, "Xie2016"),
    ("seresnet50", _50, _SE, 224, "Hu2017"),
    ("seresnet50t", _50, _T | _SE, 224, "Hu2017, He2018"),
    ("seresnet101", _101, _SE, 224, "Hu2017"),
    ("seresnet152", _152, _SE, 224, "Hu2017"),
    ("seresnet152d", _152, _D | _SE, 256, "Hu2017, He2018"),
    ("seresnet200d", _200, _D | _SE, 256, "Hu2017, He2018"),
    ("seresnet269d", _269, _D | _SE, 256, "Hu2017, He2018"),
    ("seresnetaa50d", _50, _D | _SE | _AA, 224, "Hu2017, Lee2020"),
    ("seresnext26d_32x4d", _26, _D | _SE | _next(32, 4), 224, "Hu2017, He2018"),
    ("seresnext26t_32x4d", _26, _T | _SE | _next(32, 4), 224, "Hu2017, He2018"),
    ("seresnext50_32x4d", _50, _SE | _next(32, 4), 224, "Hu2017"),
    ("seresnext101_32x4d", _101, _SE | _next(32, 4), 224, "Hu2017"),
    ("seresnext101_32x8d", _101, _SE | _next(32, 8), 224, "Hu2017"),
    ("seresnext101_64x4d", _101, _SE | _next(64, 4), 224, "Hu2017"),
    ("seresnext101d_32x8d", _101, _D | _SE | _next(32, 8), 224, "Hu2017, He2018"),
    (
        *("seresnextaa101d_32x8d", _101),
        *(_D | _SE | _AA | _next(32, 8), 288, "Hu2017, Lee2020"),
    ),
    (
        *("seresnextaa201d_32x8d", (3, 24, 36, 4)),
        *(_E | _SE | _AA | _next(32, 8), 384, "Hu2017, Lee2020"),
    ),
    (
        *("senet154", _152),
        _S | _SE | _next(64, 4) | {"reduce_first": 2, "shortcut_kernel": 3},
        *(224, "Hu2017"),
    ),
    ("ecaresnet26t", _26, _T | _ECA, 256, "Wang2019, He2018"),
    ("ecaresnet50d", _50, _D | _ECA, 224, "Wang2019, He2018"),
    ("ecaresnet50t", _50, _T | _ECA, 256, "Wang2019, He2018"),
    ("ecaresnet101d", _101, _D | _ECA, 224, "Wang2019, He2018"),
    ("ecaresnet200d", _200, _D | _ECA, 256, "Wang2019, He2018"),
    ("ecaresnet269d", _269, _D | _ECA, 320, "Wang2019, He2018"),
    ("ecaresnetlight", (1, 1, 11, 3), _ECA | {"shortcut": "D"}, 224, "Wang2019"),
    ("ecaresnext26t_32x4d", _26, _T | _ECA | _next(32, 4), 224, "Wang2019, He2018"),
    ("ecaresnext50t_32x4d", _50, _T | _ECA | _next(32, 4), 224, "Wang2019, He2018"),
    ("resnetaa50", _50, _AA, 224, "Lee2020"),
    ("resnetaa50d", _50, _D | _AA, 224, "Lee2020"),
    ("resnetaa101d", _101, _D | _AA, 224, "Lee2020"),
    ("resnetblur50", _50, _BLUR, 224, "Zhang2019"),
    ("resnetblur50d", _50, _D | _BLUR, 224, "Zhang2019, He2018"),
    ("resnetblur101d", _101, _D | _BLUR, 224, "Zhang2019, He2018"),
    ("resnetrs50", _50, _RS, 160, "Bello2021"),
    ("resnetrs101", _101, _RS, 192, "Bello2021"),
    ("resnetrs152", _152, _RS, 256, "Bello2021"),
    ("resnetrs200", _200, _RS, 256, "Bello2021"),
    ("resnetrs270", (4, 29, 53, 4), _RS, 256, "Bello2021"),
    ("resnetrs350", (4, 36, 72, 4), _RS, 288, "Bello2021"),
    ("resnetrs420", (4, 44, 87, 4), _RS, 320, "Bello2021"),
)
# The nets that knapsack pruning left: timm's models/_pruned/*.txt.
_PRUNED = (  # name, parent, outputs, branch_widths
    (
        *("ecaresnet50d_pruned", "ecaresnet50d", (19, 171, 818, 2022)),
        (
            ((47, 18), (52, 22), (64, 35)),
            ((85, 37), (107, 80), (120, 85), (125, 87)),
            (
                *((198, 126), (255, 232), (256, 233)),
                *((253, 235), (256, 225), (256, 239)),
            ),
            ((492, 237), (512, 500), (512, 490)),
        ),
    ),
    (
        *("ecaresnet101d_pruned", "ecaresnet101d", (26, 142, 278, 2042)),
        (
            ((45, 25), (53, 20), (60, 27)),
            ((81, 24), (93, 49), (102, 54), (122, 78)),
            (
                *((101, 25), (239, 160), (234, 156), (250, 176), (253, 191)),
                *((251, 175), (230, 128), (244, 154), (244, 159), (238, 97)),
                *((244, 149), (253, 181), (245, 119), (255, 216), (256, 201)),
                *((253, 149), (254, 141), (256, 190), (256, 217), (255, 156)),
                *((256, 155), (256, 232), (256, 214)),
            ),
            ((499, 289), (512, 512), (512, 502)),
        ),
    ),
)


def _row(parent, name, depths, changes, input_size, paper) -> Architecture:
    where = "keras-hub's ResNetBackbone" if "_vd" in name else "timm's resnet.py"
    return replace(
        parent,
        name=name,
        depths=depths,
        input_size=input_size,
        source=f"{paper}; {where}",
        **changes,
    )


def rows() -> Iterator[Architecture]:
    table = {row[0]: _row(RESNET18, *row) for row in _BASIC}
    table |= {row[0]: _row(RESNET50, *row) for row in _BOTTLENECK}
    for name, parent, outputs, branch_widths in _PRUNED:
        table[name] = replace(
            table[parent],
            name=name,
            outputs=outputs,
            branch_widths=branch_widths,
            source="Aflalo2020; timm's models/_pruned",
        )
    yield from table.values()
    yield replace(
        table["resnet18d"],
        name="test_resnet",
        block=("basic", "basic", "bottleneck", "basic"),
        depths=_14,
        widths=(32, 48, 48, 96),
        stem_widths=(16, 16, 32),
        stride_conv=2,
        input_size=160,
        source="timm's resnet.py, its small net for tests",
    )
