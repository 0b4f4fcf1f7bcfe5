"""SKNet's blocks: a 3x3 and a 5x5 path, and an attention that selects between them.

Li et al. 2019, "Selective Kernel Networks", arXiv:1903.06586, section 3; the 5x5 is a
dilated 3x3, as there.
"""

from keras import layers

from keras_resnet.blocks.bottleneck import group_width
from keras_resnet.blocks.parts import divisible, join, project_shortcut
from keras_resnet.common.errors import InputError
from keras_resnet.layers import NHWC, ChannelSplit
from keras_resnet.style import DEFAULT_STYLE, Style

PATHS = 2  # M in the paper


def selective_kernel_basic_block(
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
    ratio: float = 1 / 8,
    divisor: int = 16,
    split_input: bool = True,
    name: str,
):
    """A selective kernel and a 3x3 convolution beside a shortcut (timm's sknet.py).

    Args:
        x: a Keras tensor of (batch, height, width, channels).
        filters: channels of both convolutions and of the output.
        stride: 1 or 2, of the selective kernel.
        dilation: of the second convolution.
        first_dilation: of the selective kernel; None for `dilation`.
        shortcut: where the shape changes: "B" or "D", as in `basic_block`.
        style: of convolutions, normalizations and activations.
        drop_path: probability of leaving the branch out in training.
        zero_init: start the last normalization's scale at zero.
        ratio: reduced channels of the attention over `filters` (1 / r in the paper).
        divisor: the reduced channels are a multiple of it, so it is their least
            number too (L in the paper).
        split_input: give each path its half of the channels, which keeps the
            parameters down where convolutions have one group (timm's
            selective_kernel.py).
        name: prefix of the block's layers.

    Returns:
        (batch, ceil(height / stride), ceil(width / stride), filters).

    Raises:
        InputError: stride, dilation or channels do not fit each other.
    """
    y = selective_kernel(
        x,
        filters,
        stride,
        dilation=first_dilation or dilation,
        style=style,
        ratio=ratio,
        divisor=divisor,
        split_input=split_input,
        name=f"{name}-conv1",
    )
    y = style.convolution(y, filters, 3, dilation=dilation, name=f"{name}-conv2-conv")
    y = style.normalization(y, zero=zero_init, name=f"{name}-conv2-bn")
    x = project_shortcut(
        x,
        filters,
        stride,
        dilation=dilation,
        first_dilation=first_dilation,
        kind=shortcut,
        style=style,
        name=name,
    )
    y = join(x, y, shortcut, drop_path, name=name)
    return style.activate(y, name=f"{name}-relu")


def selective_kernel_bottleneck_block(
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
    base_width: int = 64,
    ratio: float = 1 / 16,
    divisor: int = 8,
    split_input: bool = True,
    name: str,
):
    """1x1, selective-kernel and 1x1 convolutions beside a shortcut (section 3.2).

    Args:
        filters: a quarter of the channels that leave.
        groups: of each path's convolution (G in the paper).
        base_width: channels of a group, for 64 filters.
        x, stride, dilation, first_dilation: as in `selective_kernel_basic_block`.
        shortcut, style, drop_path, zero_init: as there.
        ratio, divisor, split_input, name: as there.

    Returns:
        (batch, ceil(height / stride), ceil(width / stride), 4 * filters).

    Raises:
        InputError: stride, dilation or channels do not fit each other.
    """
    width = group_width(filters, base_width, groups)
    y = style.convolution(x, width, 1, name=f"{name}-conv1-conv")
    y = style.norm_activation(
        y, norm=f"{name}-conv1-bn", activation=f"{name}-conv1-relu"
    )
    y = selective_kernel(
        y,
        width,
        stride,
        dilation=first_dilation or dilation,
        groups=groups,
        style=style,
        ratio=ratio,
        divisor=divisor,
        split_input=split_input,
        name=f"{name}-conv2",
    )
    y = style.convolution(y, 4 * filters, 1, name=f"{name}-conv3-conv")
    y = style.normalization(y, zero=zero_init, name=f"{name}-conv3-bn")
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


def selective_kernel(
    x,
    filters: int,
    stride: int = 1,
    *,
    dilation: int = 1,
    groups: int = 1,
    style: Style,
    ratio: float,
    divisor: int,
    split_input: bool,
    name: str,
):
    """Two convolutions of different reach, weighted and added (section 3.1, fig. 1).

    `dilation` is of the first path; the second has twice as much. The other arguments
    are as in the blocks.
    """
    _check(x, stride, dilation, groups, split_input, name)
    near, far = ChannelSplit(PATHS, name=f"{name}-split")(x) if split_input else (x, x)
    if stride == 2:  # dilated by 2, a kernel meets every other position alone
        pool = layers.MaxPooling2D(1, 2, data_format=NHWC, name=f"{name}-subsample")
        far = pool(far)
    paths = []
    for i, (path, step, rate) in enumerate(
        ((near, stride, dilation), (far, 1, 2 * dilation // stride))
    ):
        prefix = f"{name}-paths-{i}"
        path = style.convolution(
            path,
            filters,
            3,
            step,
            dilation=rate,
            groups=groups,
            name=f"{prefix}-conv",
        )
        names = {"norm": f"{prefix}-bn", "activation": f"{prefix}-relu"}
        paths.append(style.norm_activation(path, **names))
    reduced = divisible(filters * ratio, divisor)
    return _select(paths, reduced, style, f"{name}-attn")


def _select(paths, reduced, style, name):
    """The paths' sum, each channel weighted by a softmax over the paths.

    The attention's activation is ReLU whatever the style's, as in timm.
    """
    filters = paths[0].shape[-1]
    y = layers.Add(name=f"{name}-fuse")(paths)
    y = layers.GlobalAveragePooling2D(NHWC, keepdims=True, name=f"{name}-squeeze")(y)
    y = style.convolution(y, reduced, 1, name=f"{name}-fc_reduce")
    y = style.normalization(y, name=f"{name}-bn")
    y = layers.ReLU(name=f"{name}-relu")(y)
    y = style.convolution(y, PATHS * filters, 1, name=f"{name}-fc_select")
    y = layers.Reshape((1, PATHS, filters), name=f"{name}-paths")(y)
    y = layers.Softmax(axis=2, name=f"{name}-softmax")(y)
    y = layers.Reshape((1, 1, PATHS * filters), name=f"{name}-excite")(y)
    weights = ChannelSplit(PATHS, name=f"{name}-split")(y)
    weighted = [
        layers.Multiply(name=f"{name}-weighted-{i}")(pair)
        for i, pair in enumerate(zip(paths, weights, strict=True))
    ]
    return layers.Add(name=f"{name}-sum")(weighted)


def _check(x, stride, dilation, groups, split_input, name):
    if stride not in (1, 2) or (stride == 2 and dilation > 1):
        raise InputError(
            f"stride={stride} with dilation={dilation} of {name}: accepted are "
            "stride 1 with any dilation and stride 2 with dilation 1."
        )
    parts = PATHS * groups if split_input else groups
    if x.shape[-1] % parts:
        raise InputError(
            f"{name} cannot cut its {x.shape[-1]} input channels into {parts} equal "
            "parts (paths with split_input, times groups)."
        )
