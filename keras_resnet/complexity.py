"""Parameters and multiply-adds of an architecture, counted without Keras.

    >>> from keras_resnet.architectures import get_architecture
    >>> count(get_architecture("resnet50")).multiply_adds
    4089184256

The counts follow the papers' tables layer by layer; they share no code with the
builder, so that the one can check the other. Standard library only.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from keras_resnet.architectures import Architecture
from keras_resnet.architectures.records import (
    Basic,
    Block,
    Bottleneck,
    CifarStem,
    DenseLayer,
    EfficientAttention,
    PreactivationBasic,
    Res2Net,
    SelectiveKernelBasic,
    SelectiveKernelBottleneck,
    SplitAttention,
    SqueezeExcitation,
)


@dataclass(frozen=True)
class Count:
    """What a network holds and does.

    Attributes:
        trainable: parameters that training changes (in batch normalization that is
            frozen, would change).
        statistics: moving means and variances of batch normalization.
        multiply_adds: of all 2-D convolutions and the classifier, for one image.
    """

    trainable: int = 0
    statistics: int = 0
    multiply_adds: int = 0

    @property
    def parameters(self) -> int:
        """As `model.count_params()` counts: statistics included."""
        return self.trainable + self.statistics

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.trainable + other.trainable,
            self.statistics + other.statistics,
            self.multiply_adds + other.multiply_adds,
        )


def count(
    architecture: Architecture,
    size: int | None = None,
    channels: int = 3,
    classes: int | None = None,
) -> Count:
    """Counts a whole network with its classifier.

    Args:
        architecture: from `get_architecture` or your own.
        size: side of a square image in pixels; None takes the source's.
        channels: of the image.
        classes: outputs of the classifier; None takes the source's.
    """
    net = architecture
    size = size or net.input_size
    classes = classes or net.classes
    if net.dense:
        parts, width = _dense(net, channels, size)
    else:
        parts, width, size = _stem(net, channels, size)
        for stage, index, stride in _places(net):
            parts += _block(net, stage, index, width, size, stride)
            width = net.stage_outputs(stage)
            size = _half(size) if stride == 2 else size
        if net.preactivation:
            parts.append(_norm(width, net.norm))
    classifier = Count(
        trainable=width * classes + classes, multiply_adds=width * classes
    )
    return sum(parts, classifier)


def _convolution(
    kernel: int,
    inputs: int,
    outputs: int,
    size: int,
    groups: int = 1,
    bias: bool = False,
) -> Count:
    """A convolution whose output is `size` x `size`."""
    weights = kernel * kernel * (inputs // groups) * outputs
    return Count(
        trainable=weights + bias * outputs, multiply_adds=weights * size * size
    )


def _norm(channels: int, kind: str) -> Count:
    """A normalization of the kind that `Architecture.norm` names."""
    vectors = 3 if kind in ("evonorm", "frn") else 2
    batch = kind in ("batch", "frozen")
    return Count(trainable=vectors * channels, statistics=2 * channels * batch)


def _half(size: int) -> int:
    """Positions a side after a stride of 2."""
    return (size + 1) // 2


def _stem(net: Architecture, channels: int, size: int) -> tuple[list[Count], int, int]:
    """(parts, channels that leave, positions a side that leave)."""
    size = size if isinstance(net.stem, CifarStem) else _half(size)
    parts, inputs = [], channels
    widths = net.stem.convolutions(net.widths[0])
    for i, width in enumerate(widths):
        bias = net.biases != "none"
        parts.append(_convolution(net.stem.kernel, inputs, width, size, bias=bias))
        if i + 1 < len(widths) or not net.preactivation:
            parts.append(_norm(width, net.norm))
        inputs = width
    if isinstance(net.stem, CifarStem):
        return parts, inputs, size
    if net.stem.pool == "convolution":
        strided = size if net.antialias else _half(size)
        parts.append(_convolution(3, inputs, inputs, strided))
        parts.append(_norm(inputs, net.norm))
    # an average pool of 2 leaves the last of an odd number out
    size = size // 2 if net.antialias == "average" else _half(size)
    return parts, inputs, size


def _places(net: Architecture) -> Iterator[tuple[int, int, int]]:
    """(stage, index in it, stride) of each block."""
    reached = 1 if isinstance(net.stem, CifarStem) else 4
    limit = net.output_stride or 10**9
    for stage, depth in enumerate(net.depths):
        last = net.stride_block == "last"
        strided = stage < len(net.depths) - 1 if last else stage > 0
        stride = 2 if strided and 2 * reached <= limit else 1
        reached *= stride
        for index in range(depth):
            yield stage, index, stride if index == (depth - 1 if last else 0) else 1


def _block(
    net: Architecture, stage: int, index: int, inputs: int, size: int, stride: int
) -> Iterator[Count]:
    """A residual block: its branch, its attention, and its shortcut."""
    block, filters = net.blocks[stage], net.widths[stage]
    outputs, end = net.stage_outputs(stage), _half(size) if stride == 2 else size
    if isinstance(block, SplitAttention):
        yield from _split_attention(net, block, filters, inputs, size, end)
    elif isinstance(block, SelectiveKernelBasic | SelectiveKernelBottleneck):
        yield from _selective_kernel(net, block, filters, inputs, size, end)
    elif isinstance(block, Res2Net):
        yield from _res2net(net, block, filters, inputs, size, end)
    else:
        yield from _branch(net, block, filters, index, inputs, size, end)
    yield _attention(block, filters, outputs)
    yield from _shortcut(net, block, stage, index, inputs, outputs, end, stride)


def _branch(net, block, filters, index, inputs, size, end) -> Iterator[Count]:
    """The convolutions of basic and bottleneck blocks, in either order."""
    # with anti-aliasing the convolution that strode strides no more
    strided = size if getattr(block, "antialias", None) else end
    reduce_first = getattr(block, "reduce_first", 1)
    if isinstance(block, Basic | PreactivationBasic):
        first = filters // reduce_first
        units = [(3, inputs, first, strided, 1), (3, first, filters, end, 1)]
    else:
        width = filters * block.base_width // 64 * block.groups
        first = width // reduce_first
        outputs = 4 * filters
        if isinstance(block, Bottleneck) and block.branch_widths:
            (first, width), outputs = block.branch_widths[index], block.outputs
        positions = (strided, end) if block.stride_conv == 1 else (size, strided)
        units = [
            (1, inputs, first, positions[0], 1),
            (3, first, width, positions[1], block.groups),
            (1, width, outputs, end, 1),
        ]
    for i, (kernel, entering, leaving, positions, groups) in enumerate(units):
        last = i + 1 == len(units)
        bias = net.biases == "all" or (net.biases == "outer" and last)
        yield _convolution(kernel, entering, leaving, positions, groups, bias)
        yield _norm(entering if net.preactivation else leaving, net.norm)


def _attention(block: Block, filters: int, outputs: int) -> Count:
    attention = getattr(block, "attention", None)
    if isinstance(attention, SqueezeExcitation):
        reduced = _multiple(outputs * attention.ratio, attention.divisor)
        down = _convolution(1, outputs, reduced, 1, bias=True)
        return down + _convolution(1, reduced, outputs, 1, bias=True)
    if isinstance(attention, EfficientAttention):
        full = filters * block.expansion  # a pruned net keeps its parent's
        kernel = int((math.log2(full) + 1) / 2)
        return Count(trainable=max(3, kernel + 1 - kernel % 2))
    return Count()


def _shortcut(net, block, stage, index, inputs, outputs, end, stride):
    widens = inputs != outputs
    project_first = getattr(block, "project_first", False)
    first = project_first and stage == index == 0
    projects = {
        "A": False,
        "none": False,
        "subsample": widens,
    }.get(block.shortcut, widens or stride != 1 or first)
    if projects:
        kernel = getattr(block, "shortcut_kernel", 1) if stride != 1 else 1
        yield _convolution(kernel, inputs, outputs, end, bias=net.biases != "none")
        if not net.preactivation:
            yield _norm(outputs, net.norm)


def _multiple(value: float, divisor: int) -> int:
    """The multiple of `divisor` nearest to `value`, one at least."""
    return max(1, int(value / divisor + 0.5)) * divisor


def _split_attention(net, block, filters, inputs, size, end) -> Iterator[Count]:
    """ResNeSt's branch; the stride is in a pool."""
    width = filters * block.base_width // 64 * block.groups
    splits, groups = block.radix * width, block.groups
    reduced = max(32, _multiple(splits / 4, 8))
    middle = end if block.pool_first else size
    yield _convolution(1, inputs, width, size) + _norm(width, net.norm)
    yield _convolution(3, width, splits, middle, block.radix * groups)
    yield _norm(splits, net.norm)
    yield _convolution(1, width, reduced, 1, groups, bias=True)
    yield _norm(reduced, net.norm)
    yield _convolution(1, reduced, splits, 1, groups, bias=True)
    yield _convolution(1, width, 4 * filters, end) + _norm(4 * filters, net.norm)


def _selective_kernel(net, block, filters, inputs, size, end) -> Iterator[Count]:
    """SKNet's branch, basic or bottleneck."""
    width, groups, kernel, outputs = filters, 1, 3, filters
    if isinstance(block, SelectiveKernelBottleneck):
        width = filters * block.base_width // 64 * block.groups
        groups, kernel, outputs = block.groups, 1, 4 * filters
        yield _convolution(1, inputs, width, size) + _norm(width, net.norm)
        inputs = width
    seen = inputs // 2 if block.split_input else inputs
    path = _convolution(3, seen, width, end, groups) + _norm(width, net.norm)
    yield path + path
    reduced = _multiple(width * block.ratio, block.divisor)
    yield _convolution(1, width, reduced, 1) + _norm(reduced, net.norm)
    yield _convolution(1, reduced, 2 * width, 1)
    yield _convolution(kernel, width, outputs, end) + _norm(outputs, net.norm)


def _res2net(net, block, filters, inputs, size, end) -> Iterator[Count]:
    """Res2Net's branch."""
    width = filters * block.base_width // 64 * block.groups
    whole = block.scale * width
    yield _convolution(1, inputs, whole, size) + _norm(whole, net.norm)
    for _ in range(block.scale - 1):
        yield _convolution(3, width, width, end, block.groups)
        yield _norm(width, net.norm)
    yield _convolution(1, whole, 4 * filters, end) + _norm(4 * filters, net.norm)


def _dense(net: Architecture, channels: int, size: int) -> tuple[list[Count], int]:
    """A DenseNet from the image to its last normalization, and its channels there."""
    layer = net.blocks[0]
    assert isinstance(layer, DenseLayer)
    size, inputs, inner = _half(size), net.widths[0], 4 * layer.growth
    parts = [_convolution(7, channels, inputs, size), _norm(inputs, net.norm)]
    size = _half(size)
    for stage, (depth, width) in enumerate(zip(net.depths, net.widths, strict=True)):
        if stage:  # a transition, whose pool rounds down
            parts.append(_norm(inputs, net.norm))
            parts.append(_convolution(1, inputs, width, size))
            size //= 2
        inputs = width
        for _ in range(depth):
            parts.append(_norm(inputs, net.norm) + _convolution(1, inputs, inner, size))
            parts.append(_norm(inner, net.norm))
            parts.append(_convolution(3, inner, layer.growth, size))
            inputs += layer.growth
    return [*parts, _norm(inputs, net.norm)], inputs
