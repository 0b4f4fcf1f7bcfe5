"""Res2Net's block: groups of channels that each see what the one before made.

Gao et al. 2019, "Res2Net: A New Multi-scale Backbone Architecture", arXiv:1904.01169.
"""

from keras import layers

from keras_resnet.blocks.bottleneck import group_width
from keras_resnet.blocks.parts import join, padded_average_pool, project_shortcut
from keras_resnet.common.errors import InputError
from keras_resnet.layers import ChannelSplit
from keras_resnet.style import DEFAULT_STYLE, Style


def res2net_block(
    x,
    filters: int,
    stride: int = 1,
    *,
    dilation: int = 1,
    first_dilation: int | None = None,
    shortcut: str = "B",
    style: Style = DEFAULT_STYLE,
    drop_path: float = 0.0,
    zero_init: bool = False,
    groups: int = 1,
    base_width: int = 26,
    scale: int = 4,
    name: str,
):
    """1x1, chained 3x3 and 1x1 convolutions beside a shortcut (section 3.1, fig. 2b).

    Where the shape changes the 3x3 convolutions are not chained, and a 3x3 average pool
    takes the place of the last group's identity, as in the authors' code.

    Args:
        x: a Keras tensor of (batch, height, width, channels).
        filters: a quarter of the channels that leave.
        stride: of the 3x3 convolutions and the pool.
        dilation: of the blocks of this stage, which the shortcut follows.
        first_dilation: of this block's 3x3 convolutions; None for `dilation`.
        shortcut: where the shape changes: "B" or "D", as in `basic_block`.
        style: of convolutions, normalizations and activations.
        drop_path: probability of leaving the branch out in training.
        zero_init: start the last normalization's scale at zero.
        groups: of each 3x3 convolution.
        base_width: channels of such a group, for 64 filters.
        scale: groups of channels (s in the paper), 2 or more.
        name: prefix of the block's layers.

    Returns:
        (batch, ceil(height / stride), ceil(width / stride), 4 * filters).

    Raises:
        InputError: filters or scale are too small, or stride and dilation do not fit.
    """
    if scale < 2:
        raise InputError(f"scale={scale} of {name}: 2 or more groups are needed.")
    rate = first_dilation or dilation
    if stride > 1 and rate > 1:
        raise InputError(
            f"stride={stride} with dilation={rate} of {name}: one of them must be 1."
        )
    width = group_width(filters, base_width, groups)
    y = style.convolution(x, scale * width, 1, name=f"{name}-conv1")
    y = style.norm_activation(y, norm=f"{name}-bn1", activation=f"{name}-relu1")
    parts = ChannelSplit(scale, name=f"{name}-split")(y)
    chained = stride == 1 and x.shape[-1] == 4 * filters
    if not chained:
        parts[-1] = padded_average_pool(parts[-1], stride, name=f"{name}-pool")
    outputs = []
    for i, part in enumerate(parts[:-1]):
        if chained and i > 0:
            part = layers.Add(name=f"{name}-chain-{i}")([outputs[-1], part])
        part = style.convolution(
            part,
            part.shape[-1],
            3,
            stride,
            dilation=rate,
            groups=groups,
            name=f"{name}-convs-{i}",
        )
        names = {"norm": f"{name}-bns-{i}", "activation": f"{name}-relus-{i}"}
        outputs.append(style.norm_activation(part, **names))
    y = layers.Concatenate(name=f"{name}-concat")([*outputs, parts[-1]])
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
