"""ResNeSt's block: a bottleneck whose 3x3 convolution attends to its splits.

Zhang et al. 2020, "ResNeSt: Split-Attention Networks", arXiv:2004.08955, section 3.
"""

from keras import layers

from keras_resnet.blocks.bottleneck import group_width
from keras_resnet.blocks.parts import (
    divisible,
    join,
    padded_average_pool,
    project_shortcut,
)
from keras_resnet.common.errors import InputError
from keras_resnet.layers import NHWC, ChannelSplit
from keras_resnet.style import DEFAULT_STYLE, Style


def split_attention_block(
    x,
    filters: int,
    stride: int = 1,
    *,
    dilation: int = 1,
    first_dilation: int | None = None,
    shortcut: str = "D",
    style: Style = DEFAULT_STYLE,
    drop_path: float = 0.0,
    zero_init: bool = False,
    groups: int = 1,
    base_width: int = 64,
    radix: int = 2,
    pool_first: bool = False,
    name: str,
):
    """1x1, split-attention 3x3 and 1x1 convolutions beside a shortcut (section 3.2).

    A 3x3 average pool carries the stride.

    Args:
        x: a Keras tensor of (batch, height, width, channels).
        filters: a quarter of the channels that leave.
        stride: of the block.
        dilation: of the blocks of this stage, which the shortcut follows.
        first_dilation: of this block's 3x3 convolution; None for `dilation`.
        shortcut: where the shape changes: "B" or "D", as in `basic_block`.
        style: of convolutions, normalizations and activations.
        drop_path: probability of leaving the branch out in training.
        zero_init: start the last normalization's scale at zero.
        groups: of channels, which attend by themselves (K in the paper).
        base_width: channels of a group, for 64 filters.
        radix: splits of each group (R in the paper); with 1 a sigmoid gates the
            channels.
        pool_first: average pool before the 3x3 convolution rather than after it.
        name: prefix of the block's layers.

    Returns:
        (batch, ceil(height / stride), ceil(width / stride), 4 * filters).

    Raises:
        InputError: filters, groups and radix do not fit each other.
    """
    width = group_width(filters, base_width, groups)
    y = style.convolution(x, width, 1, name=f"{name}-conv1")
    y = style.norm_activation(y, norm=f"{name}-bn1", activation=f"{name}-relu1")
    if pool_first and stride > 1:
        y = padded_average_pool(y, stride, name=f"{name}-avd_first")
    y = split_attention(
        y,
        dilation=first_dilation or dilation,
        groups=groups,
        radix=radix,
        style=style,
        name=f"{name}-conv2",
    )
    if not pool_first and stride > 1:
        y = padded_average_pool(y, stride, name=f"{name}-avd_last")
    y = style.convolution(y, 4 * filters, 1, name=f"{name}-conv3")
    y = style.normalization(y, zero=zero_init, name=f"{name}-bn3")
    x = project_shortcut(
        x,
        4 * filters,
        stride,
        dilation=dilation,
        first_dilation=first_dilation,
        kind=shortcut,
        style=style,
        name=name,
    )
    y = join(x, y, shortcut, drop_path, name=name)
    return style.activate(y, name=f"{name}-relu")


def split_attention(
    x, *, dilation: int = 1, groups: int, radix: int, style: Style, name: str
):
    """A 3x3 convolution into `radix` splits, and their sum weighted by attention.

    Section 3.1 and fig. 2, in the radix-major layout of the authors' code (appendix).
    Its activations are ReLU whatever the style's, as in timm's split_attn.py. The
    arguments are as in `split_attention_block`; the shape stays.
    """
    channels = x.shape[-1]
    reduced = max(32, divisible(channels * radix / 4))  # as in timm's split_attn.py
    splits = groups * radix
    if channels % splits or reduced % groups:
        raise InputError(
            f"groups={groups}, radix={radix} of {name}: their product must "
            f"divide its {channels} channels, and the groups the {reduced} of its "
            "attention."
        )
    x = style.convolution(
        x,
        channels * radix,
        3,
        dilation=dilation,
        groups=splits,
        name=f"{name}-conv",
    )
    x = _norm_relu(x, style, f"{name}-bn0", f"{name}-relu0")
    weights = _attention(x, reduced, groups, radix, style, name)
    x = layers.Multiply(name=f"{name}-weighted")([x, weights])
    return _sum_of_splits(x, radix, name=f"{name}-output")


def _attention(x, reduced, groups, radix, style, name):
    """Weights of all channels of all splits, (batch, 1, 1, channels)."""
    channels = x.shape[-1]
    y = _sum_of_splits(x, radix, name=f"{name}-gap")
    y = layers.GlobalAveragePooling2D(NHWC, keepdims=True, name=f"{name}-squeeze")(y)
    options = {"kernel": 1, "groups": groups, "bias": True}
    y = style.convolution(y, reduced, **options, name=f"{name}-fc1")
    y = _norm_relu(y, style, f"{name}-bn1", f"{name}-relu1")
    y = style.convolution(y, channels, **options, name=f"{name}-fc2")
    if radix == 1:
        return layers.Activation("sigmoid", name=f"{name}-sigmoid")(y)
    # fc2's groups are the cardinal ones, whereas x has its splits outermost
    grouped = (groups, radix, channels // (groups * radix))
    y = layers.Reshape(grouped, name=f"{name}-groups")(y)
    y = layers.Softmax(axis=2, name=f"{name}-rsoftmax")(y)
    y = layers.Permute((2, 1, 3), name=f"{name}-splits")(y)
    return layers.Reshape((1, 1, channels), name=f"{name}-excite")(y)


def _sum_of_splits(x, radix, name):
    if radix == 1:
        return x
    splits = ChannelSplit(radix, name=f"{name}-split")(x)
    return layers.Add(name=f"{name}-sum")(splits)


def _norm_relu(x, style, norm, relu):
    return layers.ReLU(name=relu)(style.normalization(x, name=norm))
