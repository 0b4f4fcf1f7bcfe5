"""Stem and stages: which block stands where, with what stride and options."""

from collections.abc import Iterator
from dataclasses import dataclass

from keras import layers

from keras_resnet import blocks
from keras_resnet.architectures import Architecture, records
from keras_resnet.architectures.architecture import ACTIVATING_NORMS
from keras_resnet.blocks.parts import antialias_pool, stem_max_pool
from keras_resnet.layers import NHWC
from keras_resnet.style import Style

# Names of the layers of a deep stem: each convolution, and the normalization and
# activation before it. In the original order they are places in timm's Sequential.
_DEEP_NAMES = (
    ("conv1-0",),
    ("conv1-3", "conv1-1", "conv1-2"),
    ("conv1-6", "conv1-4", "conv1-5"),
)
_DEEP_V2_NAMES = (
    ("stem-conv1",),
    ("stem-conv2", "stem-norm1", "stem-relu1"),
    ("stem-conv3", "stem-norm2", "stem-relu2"),
)


@dataclass(frozen=True)
class Place:
    """Where a block stands.

    Attributes:
        stage, index: counted from 0.
        stride: of the block.
        dilation: of the block.
        first_dilation: of the block before, which the block's first 3x3 keeps, as in
            timm.
        drop_path: probability of leaving out the block's branch in training.
    """

    stage: int
    index: int
    stride: int
    dilation: int
    first_dilation: int
    drop_path: float


def places(net: Architecture) -> Iterator[Place]:
    """Every block of a network, first to last."""
    limit = net.output_stride or net.total_stride
    reached = net.stem.stride
    dilation = previous = 1
    total, counted = sum(net.depths), 0
    for stage, depth in enumerate(net.depths):
        # each stage halves but the first or, where its last block strides, the last
        keeps = 0 if net.stride_block == "first" else len(net.depths) - 1
        stride = 1 if stage == keeps else 2
        if reached * stride > limit:
            dilation, stride = dilation * stride, 1
        reached *= stride
        strided = 0 if net.stride_block == "first" else depth - 1
        for index in range(depth):
            yield Place(
                stage,
                index,
                stride if index == strided else 1,
                dilation,
                previous,
                drop_path=net.drop_path_rate * counted / max(1, total - 1),
            )
            previous = dilation
            counted += 1


_BLOCKS = {
    records.Basic: blocks.basic_block,
    records.Bottleneck: blocks.bottleneck_block,
    records.PreactivationBasic: blocks.preactivation_basic_block,
    records.PreactivationBottleneck: blocks.preactivation_bottleneck_block,
    records.SplitAttention: blocks.split_attention_block,
    records.SelectiveKernelBasic: blocks.selective_kernel_basic_block,
    records.SelectiveKernelBottleneck: blocks.selective_kernel_bottleneck_block,
    records.Res2Net: blocks.res2net_block,
}


def stem(x, net: Architecture, style: Style, name: str):
    """Images to the first stage's input, a quarter a side (a CIFAR form: as large).

    Layers are named as in torchvision's resnet.py or, in v2, timm's resnetv2.py.
    """
    names = (("stem-conv" if net.preactivation else "conv1",),)
    if isinstance(net.stem, records.DeepStem):
        names = _DEEP_V2_NAMES if net.preactivation else _DEEP_NAMES
    stride = 1 if isinstance(net.stem, records.CifarStem) else 2
    widths = net.stem.convolutions(net.widths[0])
    for width, (convolution, *before) in zip(widths, names, strict=True):
        if before:
            norm, activation = (f"{name}-{layer}" for layer in before)
            x = style.norm_activation(x, norm=norm, activation=activation)
        x = style.convolution(
            x, width, net.stem.kernel, stride, outer=True, name=f"{name}-{convolution}"
        )
        stride = 1
    if not net.preactivation:
        x = style.normalization(x, name=f"{name}-bn1")
        x = style.activate(x, name=f"{name}-relu")
    if isinstance(net.stem, records.CifarStem):
        return x
    if net.stem.pool == "convolution":
        return _convolution_pool(x, net, style, f"{name}-maxpool")
    return _pool(x, net, net.stem.pool, f"{name}-maxpool")


def _convolution_pool(x, net: Architecture, style: Style, name: str):
    """A 3x3 convolution as the second halving (Bello et al. 2021, section 6; timm)."""
    antialias = net.antialias
    x = style.convolution(x, x.shape[-1], 3, 1 if antialias else 2, name=f"{name}-0")
    if antialias:
        x = antialias_pool(x, antialias, 2, padding="valid", name=f"{name}-1")
    x = style.normalization(x, name=f"{name}-{2 if antialias else 1}")
    return style.activate(x, name=f"{name}-relu")


def _pool(x, net: Architecture, pool: str, name: str):
    """A pool as the second halving."""
    if net.antialias == "average":
        return antialias_pool(x, net.antialias, 2, padding="valid", name=name)
    if net.antialias == "blur":  # Zhang 2019, section 3.2
        x = layers.MaxPooling2D(3, 1, "same", data_format=NHWC, name=name)(x)
        return antialias_pool(x, net.antialias, 2, name=f"{name}-1")
    after_relu = not net.preactivation and net.activation == "relu"
    return stem_max_pool(x, zeros=pool == "zero_max" or after_relu, name=name)


def features(x, net: Architecture, style: Style, name: str):
    """Images to the last feature map, in v2 normalized and activated."""
    first = net.blocks[0]
    if isinstance(first, records.DenseLayer):
        return blocks.dense_features(
            x, net.depths, net.widths, first.growth, style=style, name=name
        )
    x = stem(x, net, style, name)
    for place in places(net):
        # torchvision's names for the original order, timm's resnetv2 for v2, with
        # dashes: the torch backend takes no dots in names
        stage, index = place.stage, place.index
        prefix = f"stages-{stage}-blocks" if net.preactivation else f"layer{stage + 1}"
        record = net.blocks[stage]
        x = _BLOCKS[type(record)](
            x,
            net.widths[stage],
            place.stride,
            dilation=place.dilation,
            first_dilation=place.first_dilation,
            style=style,
            drop_path=place.drop_path,
            zero_init=net.zero_init_residual,
            name=f"{name}-{prefix}-{index}",
            **record.arguments(index),
        )
    if net.preactivation:
        x = style.norm_activation(x, norm=f"{name}-norm", activation=f"{name}-relu")
    return x


def feature_names(net: Architecture) -> dict[str, str]:
    """C1 (after the stem's convolutions) and C2, C3 ... (each stage's output).

    Returns:
        Names of layers without the model's name. In v2 the last map is normalized
        and activated, the others are the stages' raw sums.
    """
    if net.dense:
        ends = [
            f"denseblock{i}-denselayer{n}-concat" for i, n in enumerate(net.depths, 1)
        ]
        ends = ["relu0", *ends[:-1], "relu5"]
        return {f"C{i}": f"features-{end}" for i, end in enumerate(ends, 1)}
    names = ["relu"]
    if net.preactivation:
        names = [
            "stem-conv3" if isinstance(net.stem, records.DeepStem) else "stem-conv"
        ]
    for stage, depth in enumerate(net.depths):
        if net.preactivation:
            basic = isinstance(net.blocks[stage], records.PreactivationBasic)
            last = "add" if not net.plain else "conv2" if basic else "conv3"
            names.append(f"stages-{stage}-blocks-{depth - 1}-{last}")
        else:
            names.append(f"layer{stage + 1}-{depth - 1}-relu")
    if net.preactivation:
        names[-1] = "norm" if net.norm in ACTIVATING_NORMS else "relu"
    return {f"C{i}": name for i, name in enumerate(names, 1)}
