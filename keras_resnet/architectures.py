"""The table of architectures: what a name stands for. Standard library only.

A row is an `Architecture`; a variant is a row derived from another with
`dataclasses.replace`. The rows cite `PAPERS`.
"""

import fnmatch
import re
from dataclasses import dataclass, replace

from keras_resnet.errors import InputError, closest

PAPERS = {
    "He2015": '"Deep Residual Learning for Image Recognition", arXiv:1512.03385',
    # and its published code, KaimingHe/resnet-1k-layers
    "He2016": '"Identity Mappings in Deep Residual Networks", arXiv:1603.05027',
}


@dataclass(frozen=True)
class Architecture:
    """One residual network, as data.

    Attributes:
        name: unique, lower case.
        block: "basic" (two 3x3 convolutions) or "bottleneck" (1x1, 3x3, 1x1; four
            times as many channels leave as its middle has).
        depths: blocks in each stage.
        widths: channels of the 3x3 convolutions in each stage. The stem has
            `widths[0]`.
        stem: "imagenet" (7x7 at stride 2, then a 3x3 max pool at stride 2) or
            "cifar" (3x3 at stride 1).
        preactivation: normalisation and ReLU before each convolution (v2) rather
            than after it.
        stride_conv: which convolution of a block carries its stride: 1, or, in a
            bottleneck, 2 (the 3x3).
        shortcut: where the shape changes: "B", a 1x1 projection; "A", subsampling
            and zero padding of the new channels, no parameters; "none", no shortcut
            in any block, a plain net.
        input_size: side of the pictures that the source trains on, in pixels.
        classes: outputs of the source's classifier.
        source: paper and section, or reference implementation.
    """

    name: str
    block: str
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    stem: str
    preactivation: bool
    stride_conv: int
    shortcut: str
    input_size: int
    classes: int
    source: str

    def __post_init__(self):
        accepted = {
            "block": ("basic", "bottleneck"),
            "stem": ("imagenet", "cifar"),
            "stride_conv": (1,) if self.block == "basic" else (1, 2),
            "shortcut": ("A", "B", "none"),
        }
        for field, choices in accepted.items():
            if (value := getattr(self, field)) not in choices:
                raise InputError(
                    f"{field}={value!r} of architecture {self.name!r}: "
                    f"accepted are {', '.join(map(repr, choices))}."
                )
        if not self.depths or len(self.depths) != len(self.widths):
            raise InputError(
                f"depths={self.depths} and widths={self.widths} of architecture "
                f"{self.name!r}: one entry a stage is needed in both."
            )
        if min(*self.depths, *self.widths, self.input_size, self.classes) < 1:
            raise InputError(
                f"architecture {self.name!r}: depths, widths, input_size and classes "
                "must be 1 or more."
            )

    @property
    def expansion(self) -> int:
        """Channels that leave a block, over its width (He2015, table 1)."""
        return 4 if self.block == "bottleneck" else 1

    @property
    def total_stride(self) -> int:
        """Input pixels a side for one position of the last stage."""
        return (4 if self.stem == "imagenet" else 1) * 2 ** (len(self.depths) - 1)


_RESNET18 = Architecture(
    name="resnet18",
    block="basic",
    depths=(2, 2, 2, 2),
    widths=(64, 128, 256, 512),
    stem="imagenet",
    preactivation=False,
    stride_conv=1,
    shortcut="B",
    input_size=224,
    classes=1000,
    source="He2015, table 1",
)
_RESNET50 = replace(
    _RESNET18,
    name="resnet50",
    block="bottleneck",
    depths=(3, 4, 6, 3),
    stride_conv=2,
    source="He2015, table 1; the stride in the 3x3 as in torchvision's resnet.py",
)
_IMAGENET = (
    _RESNET18,
    replace(_RESNET18, name="resnet34", depths=(3, 4, 6, 3)),
    _RESNET50,
    replace(_RESNET50, name="resnet101", depths=(3, 4, 23, 3)),
    replace(_RESNET50, name="resnet152", depths=(3, 8, 36, 3)),
    replace(
        _RESNET50,
        name="resnet200",
        depths=(3, 24, 36, 3),
        source="He2016, section 5; with He2015's blocks as in timm's resnet.py",
    ),
)
_CIFAR_DEPTHS = (8, 14, 20, 32, 44, 56, 110, 1202)  # from 20: He2015, table 6
_CIFAR_BOTTLENECK_DEPTHS = (164, 1001)  # He2016, table 4


def _v1(row: Architecture) -> Architecture:
    """The stride in the first convolution, as the 2015 paper has it."""
    return replace(
        row, name=f"{row.name}_v1", stride_conv=1, source="He2015, table 1 and fig. 5"
    )


def _v2(row: Architecture) -> Architecture:
    """Full pre-activation, with the stride where `row` has it."""
    return replace(
        row,
        name=f"{row.name}_v2",
        preactivation=True,
        source="He2016, fig. 1b"
        + ("; stem and stride as in timm's resnetv2.py" if row.stem != "cifar" else ""),
    )


def _plain(row: Architecture) -> Architecture:
    """The same layers without any shortcut."""
    return replace(
        row,
        name=row.name.replace("resnet", "plain"),
        shortcut="none",
        source="He2015, fig. 3 and section 4.1",
    )


def cifar(depth: int, block: str = "basic", shortcut: str = "A") -> Architecture:
    """The CIFAR form of any depth: three stages of 16, 32 and 64 channels.

    Args:
        depth: weighted layers: 6n+2 for basic blocks (He2015, section 4.2), 9n+2
            for bottlenecks (He2016, appendix).
        block: "basic" or "bottleneck".
        shortcut: "A" (the paper's choice for basic blocks), "B" or "none".

    Returns:
        An original-order (v1) architecture named `resnet<depth>_cifar`; use
        `dataclasses.replace(..., preactivation=True)` for v2.

    Raises:
        InputError: no such depth.
    """
    layers = 6 if block == "basic" else 9
    blocks, rest = divmod(depth - 2, layers)
    if rest or blocks < 1:
        below = max(1, blocks) * layers + 2
        raise InputError(
            f"depth={depth}: a CIFAR form of {block} blocks has {layers}n+2 layers; "
            f"the nearest are {below} and {below + layers}."
        )
    return Architecture(
        name=f"resnet{depth}_cifar",
        block=block,
        depths=(blocks,) * 3,
        widths=(16, 32, 64),
        stem="cifar",
        preactivation=False,
        stride_conv=1,
        shortcut=shortcut,
        input_size=32,
        classes=10,
        source="He2015, section 4.2" if block == "basic" else "He2016, appendix",
    )


def _rows():
    for row in _IMAGENET:
        yield from (row, _v1(row), _v2(row))
    for row in _IMAGENET[:2]:
        yield _plain(row)
    for depth in _CIFAR_DEPTHS:
        row = replace(cifar(depth), name=f"resnet{depth}")
        yield from (row, replace(row, name=f"{row.name}_b", shortcut="B"), _v2(row))
        yield _plain(row)
    for depth in _CIFAR_BOTTLENECK_DEPTHS:
        row = replace(cifar(depth, "bottleneck", "B"), name=f"resnet{depth}")
        yield from (row, _v2(row))


_TABLE = {row.name: row for row in _rows()}


def list_models(pattern: str = "*") -> list[str]:
    """Names in the table that match a shell pattern, smallest depth first.

    Any further CIFAR depth is to be had as `resnet<6n+2>_cifar` and
    `plain<6n+2>_cifar`, or from `keras_resnet.architectures.cifar`.
    """
    names = fnmatch.filter(_TABLE, pattern.lower())
    return sorted(names, key=lambda name: (_depth(name), name))


def _depth(name: str) -> int:
    return int(re.search(r"\d+", name).group())


def get_architecture(name: str) -> Architecture:
    """The architecture of a name.

    Args:
        name: one of `list_models()`, or `resnet<6n+2>_cifar` or
            `plain<6n+2>_cifar` for any n.

    Raises:
        InputError: no such name; the closest ones are offered.
    """
    key = str(name).lower()
    if key in _TABLE:
        return _TABLE[key]
    if match := re.fullmatch(r"(resnet|plain)(\d+)_cifar", key):
        row = cifar(int(match[2]))
        return _plain(row) if match[1] == "plain" else row
    raise InputError(f"unknown model {name!r}.{_advice(key)}")


def _advice(key: str) -> str:
    """What to write in place of an unknown name."""
    match = re.fullmatch(r"(resnet|plain)(\d+)(_v1|_v2|_b)?", key)
    if not match:
        return closest(key, _TABLE) or " keras_resnet.list_models() names them all."
    family, depth = match[1], int(match[2])
    if depth >= 8 and depth % 6 == 2 and not match[3]:
        return f" The CIFAR form of this depth is '{family}{depth}_cifar'."
    depths = sorted({_depth(row) for row in _TABLE if row.startswith(family)})
    return (
        f" No network of the family {family!r} has {depth} layers: listed depths are "
        f"{', '.join(map(str, depths))}; CIFAR forms have 6n+2."
        + closest(key, _TABLE, most=2)
    )
