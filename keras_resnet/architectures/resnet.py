"""The rows of He et al. 2015 and 2016: ImageNet, CIFAR and plain nets."""

from collections.abc import Iterator
from dataclasses import replace

from keras_resnet.architectures.architecture import Architecture
from keras_resnet.architectures.records import (
    Basic,
    Bottleneck,
    CifarStem,
    ImageNetStem,
    PreactivationBasic,
    PreactivationBottleneck,
    Shortcut,
)
from keras_resnet.common.errors import InputError
from keras_resnet.common.numbers import check_choice

RESNET18 = Architecture(
    name="resnet18",
    block=Basic(),
    depths=(2, 2, 2, 2),
    widths=(64, 128, 256, 512),
    stem=ImageNetStem(),
    input_size=224,
    classes=1000,
    source="He2015, table 1",
)
RESNET34 = RESNET18.derive(name="resnet34", depths=(3, 4, 6, 3))
RESNET50 = RESNET34.derive(
    name="resnet50",
    block=Bottleneck(),
    source="He2015, table 1; the stride in the 3x3 as in torchvision's resnet.py",
)
RESNET101 = RESNET50.derive(name="resnet101", depths=(3, 4, 23, 3))
RESNET152 = RESNET50.derive(name="resnet152", depths=(3, 8, 36, 3))
RESNET200 = RESNET50.derive(
    name="resnet200",
    depths=(3, 24, 36, 3),
    source="He2016, section 5; with He2015's blocks as in timm's resnet.py",
)
IMAGENET = (RESNET18, RESNET34, RESNET50, RESNET101, RESNET152, RESNET200)
_CIFAR_DEPTHS = (8, 14, 20, 32, 44, 56, 110, 1202)  # from 20: He2015, table 6
_CIFAR_BOTTLENECK_DEPTHS = (164, 1001)  # He2016, table 4


def v1(row: Architecture) -> Architecture:
    """The stride in the first convolution, as the 2015 paper has it."""
    row = row.derive(name=f"{row.name}_v1", source="He2015, table 1 and fig. 5")
    return row.derive(stride_conv=1) if row.block == Bottleneck() else row


def v2(row: Architecture) -> Architecture:
    """Full pre-activation, with the stride where `row` has it."""
    cifar = isinstance(row.stem, CifarStem)
    source = "He2016, fig. 1b"
    if not cifar:
        source += "; stem and stride as in timm's resnetv2.py"
    row = preactivated(row, name=f"{row.name}_v2", source=source)
    # of the ImageNet form's reference, timm, the first identity keeps its raw input
    basic = isinstance(row.block, PreactivationBasic)
    return row.derive(preactivate_first=True) if cifar and basic else row


def preactivated(row: Architecture, name: str, source: str) -> Architecture:
    """A row of basic or bottleneck blocks in full pre-activation order."""
    block = row.block
    if isinstance(block, Bottleneck):
        block = PreactivationBottleneck(
            stride_conv=block.stride_conv,
            groups=block.groups,
            base_width=block.base_width,
            shortcut=block.shortcut,
        )
    elif isinstance(block, Basic):
        block = PreactivationBasic(shortcut=block.shortcut)
    else:
        raise InputError(f"block={block!r}: Basic or Bottleneck is needed.")
    return replace(row, name=name, block=block, source=source)


def plain(row: Architecture) -> Architecture:
    """The same layers without any shortcut."""
    return row.derive(
        name=row.name.replace("resnet", "plain"),
        shortcut="none",
        source="He2015, fig. 3 and section 4.1",
    )


def cifar(depth: int, block: str = "basic", shortcut: Shortcut = "A") -> Architecture:
    """The CIFAR form of any depth: three stages of 16, 32 and 64 channels.

    Args:
        depth: weighted layers: 6n+2 for basic blocks (He2015, section 4.2), 9n+2
            for bottlenecks (He2016, appendix).
        block: "basic" or "bottleneck".
        shortcut: "A" (the paper's choice for basic blocks), "B" or "none".

    Returns:
        An original-order (v1) architecture named `resnet<depth>_cifar`; `v2` makes
        its pre-activation form.

    Raises:
        InputError: no such depth, block or shortcut.
    """
    check_choice("block", block, ("basic", "bottleneck"))
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
        block=(
            Basic(shortcut=shortcut)
            if block == "basic"
            else Bottleneck(stride_conv=1, shortcut=shortcut)
        ),
        depths=(blocks,) * 3,
        widths=(16, 32, 64),
        stem=CifarStem(),
        input_size=32,
        classes=10,
        source="He2015, section 4.2" if block == "basic" else "He2016, appendix",
    )


def rows() -> Iterator[Architecture]:
    for row in IMAGENET:
        yield from (row, v1(row))
    yield v2(RESNET200)  # the other depths are in resnetv2.py, by timm's names
    for row in IMAGENET[:2]:
        yield plain(row)
    for depth in _CIFAR_DEPTHS:
        row = replace(cifar(depth), name=f"resnet{depth}")
        yield from (row, row.derive(name=f"{row.name}_b", shortcut="B"), v2(row))
        yield plain(row)
    for depth in _CIFAR_BOTTLENECK_DEPTHS:
        row = replace(cifar(depth, "bottleneck", "B"), name=f"resnet{depth}")
        yield from (row, v2(row))
