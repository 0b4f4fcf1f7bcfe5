"""Basic and bottleneck blocks in the original order: convolution, norm, activation."""

from keras_resnet.architectures.records import Attention
from keras_resnet.blocks.parts import antialias_pool, attend, join, project_shortcut
from keras_resnet.common.errors import InputError
from keras_resnet.common.numbers import check_choice, check_whole
from keras_resnet.style import DEFAULT_STYLE, Style


def basic_block(
    x,
    filters: int,
    stride: int = 1,
    *,
    dilation: int = 1,
    first_dilation: int | None = None,
    reduce_first: int = 1,
    antialias: str | None = None,
    attention: Attention | None = None,
    shortcut: str = "B",
    shortcut_kernel: int = 1,
    project: bool = False,
    style: Style = DEFAULT_STYLE,
    drop_path: float = 0.0,
    zero_init: bool = False,
    name: str,
):
    """Two 3x3 convolutions beside a shortcut (He et al. 2015, fig. 5 left).

    Args:
        x: a Keras tensor of (batch, height, width, channels).
        filters: channels of the second convolution and of the output.
        stride: of the first convolution.
        dilation: of the second convolution.
        first_dilation: of the first; None for `dilation`.
        reduce_first: divides the channels of the first convolution.
        antialias, attention, shortcut, shortcut_kernel: as in `bottleneck_block`.
        project, style, drop_path, zero_init, name: as there.

    Returns:
        (batch, ceil(height / stride), ceil(width / stride), filters).

    Raises:
        InputError: an argument cannot be used.
    """
    check_whole("filters", filters // reduce_first)
    rate = first_dilation or dilation
    pooled = antialias if stride > 1 or rate != dilation else None

    y = style.convolution(
        x,
        filters // reduce_first,
        3,
        1 if pooled else stride,
        dilation=rate,
        name=f"{name}-conv1",
    )
    y = style.norm_activation(y, norm=f"{name}-bn1", activation=f"{name}-relu1")
    if pooled:
        y = antialias_pool(y, pooled, stride, name=f"{name}-aa")
    y = style.convolution(
        y, filters, 3, dilation=dilation, outer=True, name=f"{name}-conv2"
    )
    y = style.normalization(y, zero=zero_init, name=f"{name}-bn2")
    y = attend(y, attention, kernel_channels=filters, name=name)

    x = project_shortcut(
        x,
        filters,
        stride,
        dilation=dilation,
        first_dilation=first_dilation,
        kind=shortcut,
        kernel=shortcut_kernel,
        always=project,
        style=style,
        name=name,
    )
    y = join(x, y, shortcut, drop_path, name=name)
    return style.activate(y, name=f"{name}-relu")


def bottleneck_block(
    x,
    filters: int,
    stride: int = 1,
    *,
    stride_conv: int = 2,
    dilation: int = 1,
    first_dilation: int | None = None,
    groups: int = 1,
    base_width: int = 64,
    reduce_first: int = 1,
    widths: tuple[int, int] | None = None,
    outputs: int | None = None,
    antialias: str | None = None,
    attention: Attention | None = None,
    shortcut: str = "B",
    shortcut_kernel: int = 1,
    project: bool = False,
    style: Style = DEFAULT_STYLE,
    drop_path: float = 0.0,
    zero_init: bool = False,
    name: str,
):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut (He et al. 2015, fig. 5 right).

    Args:
        x: a Keras tensor of (batch, height, width, channels).
        filters: channels of the first two convolutions; four times as many leave.
        stride: of the block.
        stride_conv: the convolution that carries the stride: 2, the 3x3, as
            torchvision has it ("v1.5"), or 1, as the paper has it ("v1").
        dilation: of the block.
        first_dilation: of the 3x3 in a block whose predecessor dilates otherwise; None
            for `dilation`.
        groups: of the 3x3 (the cardinality of Xie et al. 2016).
        base_width: channels of a group, for 64 `filters`.
        reduce_first: divides the channels of the first convolution.
        widths: channels of the first two convolutions, in place of all that.
        outputs: channels that leave, in place of four times `filters`.
        antialias: pool that takes over the stride: None, "average" or "blur" (Zhang
            2019, section 3.2).
        attention: after the branch: None, `SqueezeExcitation(...)` or
            `EfficientAttention()` of `keras_resnet.architectures`.
        shortcut: where the shape changes: "B", "D", "A", "subsample" or "none", as
            `keras_resnet.architectures.records.Shortcut` says.
        shortcut_kernel: side of a "B" projection's kernel where it strides.
        project: whether to project even an unchanged shape.
        style: of convolutions, normalizations and activations.
        drop_path: probability of leaving out the branch in training.
        zero_init: whether the branch starts at zero.
        name: prefix of the block's layers.

    Returns:
        (batch, ceil(height / stride), ceil(width / stride), 4 * filters).

    Raises:
        InputError: an argument cannot be used.
    """
    check_choice("stride_conv", stride_conv, (1, 2))
    if widths is None:
        width = group_width(filters, base_width, groups)
        widths = width // reduce_first, width
    outputs = outputs or 4 * filters
    check_whole("filters", min(widths))
    rate = first_dilation or dilation
    # As in timm, a blur stays where a stride was given up for a dilation.
    pooled = antialias if stride > 1 or rate != dilation else None
    first_strides = stride_conv == 1 and stride > 1
    strides = (stride, 1) if stride_conv == 1 else (1, stride)
    if pooled:
        strides = (1, 1)

    y = style.convolution(x, widths[0], 1, strides[0], name=f"{name}-conv1")
    y = style.norm_activation(y, norm=f"{name}-bn1", activation=f"{name}-relu1")
    if pooled and first_strides:
        y = antialias_pool(y, pooled, stride, name=f"{name}-aa")
    y = style.convolution(
        y,
        widths[1],
        3,
        strides[1],
        dilation=rate,
        groups=groups,
        name=f"{name}-conv2",
    )
    y = style.norm_activation(y, norm=f"{name}-bn2", activation=f"{name}-relu2")
    if pooled and not first_strides:
        y = antialias_pool(y, pooled, stride, name=f"{name}-aa")
    y = style.convolution(y, outputs, 1, outer=True, name=f"{name}-conv3")
    y = style.normalization(y, zero=zero_init, name=f"{name}-bn3")
    y = attend(y, attention, kernel_channels=4 * filters, name=name)

    x = project_shortcut(
        x,
        outputs,
        stride,
        dilation=dilation,
        first_dilation=first_dilation,
        kind=shortcut,
        kernel=shortcut_kernel,
        always=project,
        style=style,
        name=name,
    )
    y = join(x, y, shortcut, drop_path, name=name)
    return style.activate(y, name=f"{name}-relu")


def group_width(filters: int, base_width: int, groups: int) -> int:
    """Channels of a 3x3 convolution of `groups` groups (Xie et al. 2016, table 1).

    A group has `base_width` channels for 64 filters, rounded down as in timm.

    Raises:
        InputError: a group would have no channels.
    """
    width = filters * base_width // 64
    if width < 1:
        raise InputError(
            f"filters={filters} with base_width={base_width}: no channels would be "
            f"left; filters from {-(-64 // base_width)} are accepted."
        )
    return width * groups
