"""Counts of basic and bottleneck networks, layer by layer as the papers' tables go."""

import math
from collections.abc import Iterator

from keras_resnet.architectures import Architecture
from keras_resnet.complexity import relatives
from keras_resnet.complexity.parts import Count, convolution, half, norm


def stem(net: Architecture, channels: int, size: int) -> tuple[list[Count], int, int]:
    """(parts, channels that leave, positions a side that leave)."""
    widths = list(net.stem_widths) or [net.widths[0]]
    kernel = 7 if net.stem == "imagenet" else 3
    if net.stem != "cifar":
        size = half(size)
    bias = net.biases != "none"
    parts, inputs = [], channels
    for i, width in enumerate(widths):
        parts.append(convolution(kernel, inputs, width, size, bias=bias))
        if i + 1 < len(widths) or not net.preactivation:
            parts.append(norm(width, net.norm))
        inputs = width
    if net.stem == "cifar":
        return parts, inputs, size
    if net.stem_pool == "convolution":
        blurs = net.antialias is not None
        parts.append(convolution(3, inputs, inputs, size if blurs else half(size)))
        parts.append(norm(inputs, net.norm))
    # an average pool of 2 leaves the last of an odd number out
    size = size // 2 if net.antialias == "average" else half(size)
    return parts, inputs, size


def places(net: Architecture) -> Iterator[tuple[int, int, int]]:
    """(stage, index in it, stride) of each block."""
    behind_stem = 1 if net.stem == "cifar" else 4
    limit = net.output_stride or 10**9
    for stage, depth in enumerate(net.depths):
        last = net.stride_block == "last"
        strided = stage < len(net.depths) - 1 if last else stage > 0
        fits = behind_stem * (2 if strided else 1) <= limit
        stride = 2 if strided and fits else 1
        behind_stem *= stride
        for index in range(depth):
            at = depth - 1 if last else 0
            yield stage, index, stride if index == at else 1


def block(
    net: Architecture, stage: int, index: int, inputs: int, size: int, stride: int
) -> Iterator[Count]:
    """One residual block of any kind; `index` counts within its stage."""
    kind = net.blocks[stage]
    if kind in _RELATIVES:
        yield from _RELATIVES[kind](net, stage, inputs, size, stride)
    else:
        yield from _branch(net, stage, index, inputs, size, stride)
    outputs = net.stage_outputs(stage)
    yield _attention(net, stage, outputs)
    end = half(size) if stride == 2 else size
    yield from _shortcut(net, stage, index, inputs, outputs, end, stride)


_RELATIVES = {
    "split_attention": relatives.split_attention,
    "selective_kernel_basic": relatives.selective_kernel,
    "selective_kernel_bottleneck": relatives.selective_kernel,
    "res2net": relatives.res2net,
}


def _branch(net, stage, index, inputs, size, stride):
    end = half(size) if stride == 2 else size
    # with anti-aliasing the convolution that strode strides no more
    strided = size if net.antialias and stride == 2 else end
    units = _units(net, stage, index, inputs, size, strided, end)
    for i, (kernel, entering, leaving, positions, groups) in enumerate(units):
        last = i + 1 == len(units)
        bias = net.biases == "all" or (net.biases == "outer" and last)
        yield convolution(kernel, entering, leaving, positions, groups, bias)
        yield norm(entering if net.preactivation else leaving, net.norm)


def _units(net, stage, index, inputs, size, strided, end):
    """(kernel, inputs, outputs, positions a side, groups) of each convolution."""
    width, outputs = net.widths[stage], net.stage_outputs(stage)
    if net.blocks[stage] == "basic":
        first = width // net.reduce_first
        return (3, inputs, first, strided, 1), (3, first, outputs, end, 1)
    width = width * net.base_width // 64 * net.cardinality
    first = width // net.reduce_first
    if net.branch_widths:
        first, width = net.branch_widths[stage][index]
    positions = (strided, end) if net.stride_conv == 1 else (size, strided)
    return (
        (1, inputs, first, positions[0], 1),
        (3, first, width, positions[1], net.cardinality),
        (1, width, outputs, end, 1),
    )


def _attention(net, stage, outputs) -> Count:
    if net.attention == "se":
        step = net.attention_divisor
        steps = int(outputs * net.attention_ratio + step / 2) // step
        reduced = step * max(1, steps)
        down = convolution(1, outputs, reduced, 1, bias=True)
        return down + convolution(1, reduced, outputs, 1, bias=True)
    if net.attention == "eca":
        full = net.widths[stage] * (1 if net.blocks[stage] == "basic" else 4)
        kernel = int((math.log2(full) + 1) / 2)  # a pruned net keeps its parent's
        return Count(trainable=max(3, kernel + 1 - kernel % 2))
    return Count()


def _shortcut(net, stage, index, inputs, outputs, end, stride):
    widens = inputs != outputs
    first = net.project_first and stage == index == 0
    projects = {
        "A": False,
        "none": False,
        "subsample": widens,
    }.get(net.shortcut, widens or stride != 1 or first)
    if projects:
        kernel = net.shortcut_kernel if stride != 1 else 1
        yield convolution(kernel, inputs, outputs, end, bias=net.biases != "none")
        if not net.preactivation:
            yield norm(outputs, net.norm)
