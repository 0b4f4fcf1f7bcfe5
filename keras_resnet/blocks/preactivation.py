"""Basic and bottleneck blocks in full pre-activation order (v2)."""

from keras_resnet.blocks.bottleneck import group_width
from keras_resnet.blocks.parts import join, project_shortcut
from keras_resnet.common.numbers import check_choice
from keras_resnet.style import DEFAULT_STYLE, Style


def preactivation_basic_block(
    x,
    filters: int,
    stride: int = 1,
    *,
    dilation: int = 1,
    first_dilation: int | None = None,
    shortcut: str = "B",
    preactivate_shortcut: bool = False,
    style: Style = DEFAULT_STYLE,
    drop_path: float = 0.0,
    zero_init: bool = False,
    name: str,
):
    """`basic_block` in full pre-activation order (He et al. 2016, fig. 1b).

    A shortcut that changes the shape starts from the pre-activated input, as in the
    authors' code (KaimingHe/resnet-1k-layers). A normalization and an activation are
    still to follow the last block of a network.

    Args:
        x, filters, stride, dilation, first_dilation: as in `basic_block`.
        shortcut: where the shape changes: "B", "D", "A", "subsample" or "none".
        preactivate_shortcut: whether an identity shortcut starts from the
            pre-activated input too, as right after a network's first convolution (He
            et al. 2016, appendix).
        style, drop_path, name: as in `bottleneck_block`.
        zero_init: whether the last kernel starts at zero, as in timm's resnetv2.py.

    Returns:
        (batch, ceil(height / stride), ceil(width / stride), filters).
    """
    preactivated = style.norm_activation(
        x, norm=f"{name}-norm1", activation=f"{name}-relu1"
    )
    y = style.convolution(
        preactivated,
        filters,
        3,
        stride,
        dilation=first_dilation or dilation,
        name=f"{name}-conv1",
    )
    y = style.norm_activation(y, norm=f"{name}-norm2", activation=f"{name}-relu2")
    y = style.convolution(
        y,
        filters,
        3,
        dilation=dilation,
        outer=True,
        zero=zero_init,
        name=f"{name}-conv2",
    )
    if preactivate_shortcut or _changes_shape(x, filters, stride, shortcut):
        x = preactivated
    x = project_shortcut(
        x,
        filters,
        stride,
        dilation=dilation,
        kind=shortcut,
        normalized=False,
        style=style,
        name=name,
    )
    return join(x, y, shortcut, drop_path, name=name)


def preactivation_bottleneck_block(
    x,
    filters: int,
    stride: int = 1,
    *,
    stride_conv: int = 2,
    dilation: int = 1,
    first_dilation: int | None = None,
    groups: int = 1,
    base_width: int = 64,
    shortcut: str = "B",
    style: Style = DEFAULT_STYLE,
    drop_path: float = 0.0,
    zero_init: bool = False,
    name: str,
):
    """`bottleneck_block` in full pre-activation order; see the basic one.

    Args:
        x, filters, stride, stride_conv, dilation, first_dilation, groups, base_width:
            as in `bottleneck_block`.
        shortcut, style, drop_path, zero_init, name: as in `preactivation_basic_block`.

    Returns:
        (batch, ceil(height / stride), ceil(width / stride), 4 * filters).
    """
    check_choice("stride_conv", stride_conv, (1, 2))
    width = group_width(filters, base_width, groups)
    strides = (stride, 1) if stride_conv == 1 else (1, stride)

    preactivated = style.norm_activation(
        x, norm=f"{name}-norm1", activation=f"{name}-relu1"
    )
    y = style.convolution(preactivated, width, 1, strides[0], name=f"{name}-conv1")
    y = style.norm_activation(y, norm=f"{name}-norm2", activation=f"{name}-relu2")
    y = style.convolution(
        y,
        width,
        3,
        strides[1],
        dilation=first_dilation or dilation,
        groups=groups,
        name=f"{name}-conv2",
    )
    y = style.norm_activation(y, norm=f"{name}-norm3", activation=f"{name}-relu3")
    y = style.convolution(
        y, 4 * filters, 1, outer=True, zero=zero_init, name=f"{name}-conv3"
    )
    if _changes_shape(x, 4 * filters, stride, shortcut):
        x = preactivated
    x = project_shortcut(
        x,
        4 * filters,
        stride,
        dilation=dilation,
        kind=shortcut,
        normalized=False,
        style=style,
        name=name,
    )
    return join(x, y, shortcut, drop_path, name=name)


def _changes_shape(x, filters: int, stride: int, shortcut: str) -> bool:
    """Whether the shortcut does; a pure subsampling keeps the raw input
    (keras.applications' resnet.py)."""
    return x.shape[-1] != filters or (stride != 1 and shortcut != "subsample")
