"""Counts of ResNeSt, SKNet, Res2Net and DenseNet, as their papers' tables go."""

from collections.abc import Iterator

from keras_resnet.architectures import Architecture
from keras_resnet.complexity.parts import Count, convolution, half, norm


def _multiple(value: float, divisor: int) -> int:
    """The multiple of `divisor` nearest to `value`, one at least."""
    return max(1, int(value / divisor + 0.5)) * divisor


def _group_width(net: Architecture, filters: int) -> int:
    return filters * net.base_width // 64 * net.cardinality


def split_attention(
    net: Architecture, stage: int, inputs: int, size: int, stride: int
) -> Iterator[Count]:
    """ResNeSt's branch; the stride is in a pool."""
    filters = net.widths[stage]
    width, end = _group_width(net, filters), -(-size // stride)
    middle = end if net.pool_first else size
    splits, groups = net.radix * width, net.cardinality
    reduced = max(32, _multiple(splits / 4, 8))
    yield convolution(1, inputs, width, size) + norm(width, net.norm)
    yield convolution(3, width, splits, middle, net.radix * groups)
    yield norm(splits, net.norm)
    yield convolution(1, width, reduced, 1, groups, bias=True)
    yield norm(reduced, net.norm)
    yield convolution(1, reduced, splits, 1, groups, bias=True)
    yield convolution(1, width, 4 * filters, end) + norm(4 * filters, net.norm)


def selective_kernel(
    net: Architecture, stage: int, inputs: int, size: int, stride: int
) -> Iterator[Count]:
    """SKNet's branch, basic or bottleneck."""
    filters, end = net.widths[stage], -(-size // stride)
    bottleneck = net.blocks[stage] == "selective_kernel_bottleneck"
    width = _group_width(net, filters) if bottleneck else filters
    if bottleneck:
        yield convolution(1, inputs, width, size) + norm(width, net.norm)
    seen = width if bottleneck else inputs
    seen = seen // 2 if net.split_input else seen
    path = convolution(3, seen, width, end, net.cardinality) + norm(width, net.norm)
    yield path + path
    reduced = _multiple(width * net.attention_ratio, net.attention_divisor)
    yield convolution(1, width, reduced, 1) + norm(reduced, net.norm)
    yield convolution(1, reduced, 2 * width, 1)
    kernel, outputs = (1, 4 * filters) if bottleneck else (3, width)
    yield convolution(kernel, width, outputs, end) + norm(outputs, net.norm)


def res2net(
    net: Architecture, stage: int, inputs: int, size: int, stride: int
) -> Iterator[Count]:
    """Res2Net's branch."""
    filters = net.widths[stage]
    width, end = _group_width(net, filters), -(-size // stride)
    whole = net.scale * width
    yield convolution(1, inputs, whole, size) + norm(whole, net.norm)
    for _ in range(net.scale - 1):
        yield convolution(3, width, width, end, net.cardinality)
        yield norm(width, net.norm)
    yield convolution(1, whole, 4 * filters, end) + norm(4 * filters, net.norm)


def dense(net: Architecture, channels: int, size: int) -> tuple[list[Count], int]:
    """A DenseNet from the image to its last normalisation, and its channels there."""
    size = half(size)
    parts = [convolution(7, channels, net.widths[0], size)]
    parts.append(norm(net.widths[0], net.norm))
    size = half(size)
    inputs, inner = net.widths[0], 4 * net.growth
    for stage, (depth, width) in enumerate(zip(net.depths, net.widths, strict=True)):
        if stage:  # a transition, whose pool rounds down
            parts.append(norm(inputs, net.norm) + convolution(1, inputs, width, size))
            size //= 2
        inputs = width
        for _ in range(depth):
            parts.append(norm(inputs, net.norm) + convolution(1, inputs, inner, size))
            parts.append(
                norm(inner, net.norm) + convolution(3, inner, net.growth, size)
            )
            inputs += net.growth
    return [*parts, norm(inputs, net.norm)], inputs
