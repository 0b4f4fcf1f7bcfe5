"""Basic and bottleneck blocks in the original order: convolution, norm, activation."""

from keras_resnet.blocks.attention import attention as attend
from keras_resnet.blocks.branch import (
    antialiased,
    basic,
    bottleneck,
    stride_of,
    subsample,
)
from keras_resnet.blocks.pieces import joined
from keras_resnet.style import DEFAULT_STYLE


def basic_block(
    x,
    filters: int,
    stride: int = 1,
    *,
    dilation: int = 1,
    first_dilation: int | None = None,
    reduce_first: int = 1,
    antialias: str | None = None,
    **options,
):
    """Two 3x3 convolutions beside a shortcut (He et al. 2015, fig. 5 left).

    Args:
        x: a Keras tensor of (batch, height, width, channels).
        filters: channels of both convolutions and of the output.
        stride: of the first convolution.
        dilation: of the second convolution.
        first_dilation: of the first; None for `dilation`.
        reduce_first: divides the channels of the first convolution.
        antialias: before subsampling: None, "average" or "blur" (Zhang 2019).
        **options: `shortcut`, `shortcut_kernel`, `project`, `attention`,
            `attention_ratio`, `attention_divisor`, `style`, `drop_path`,
            `zero_init` and `name`, as in `bottleneck_block`.

    Returns:
        (batch, ceil(height / stride), ceil(width / stride), filters).
    """
    branch = basic(filters, stride, dilation, first_dilation, reduce_first=reduce_first)
    branch = antialiased(branch, antialias, _changes(dilation, first_dilation))
    return _block(x, branch, dilation, first_dilation, like=filters, **options)


def bottleneck_block(
    x,
    filters: int,
    stride: int = 1,
    *,
    stride_conv: int = 2,
    dilation: int = 1,
    first_dilation: int | None = None,
    cardinality: int = 1,
    base_width: int = 64,
    reduce_first: int = 1,
    widths: tuple[int, int] | None = None,
    outputs: int | None = None,
    antialias: str | None = None,
    **options,
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
        cardinality: groups of the 3x3 (Xie et al. 2016).
        base_width: channels of a group, for 64 `filters`.
        reduce_first: divides the channels of the first convolution.
        widths: channels of the first two convolutions, in place of all that.
        outputs: channels that leave, in place of four times `filters`.
        antialias: before subsampling: None, "average" or "blur" (Zhang 2019).
        **options:
            shortcut: "B" (default), "D", "A", "subsample" or "none": as
                `Architecture.shortcut`.
            shortcut_kernel: side of a "B" projection's kernel.
            project: whether to project even an unchanged shape.
            attention: behind the branch: None, "se" or "eca".
            attention_ratio, attention_divisor: of "se".
            style: a `Style`; the default is He et al.'s.
            drop_path: probability of leaving out the branch in training.
            zero_init: whether the branch starts at zero.
            name: prefix of the block's layers.

    Returns:
        (batch, ceil(height / stride), ceil(width / stride), 4 * filters).
    """
    branch = bottleneck(
        *(filters, stride, dilation, first_dilation),
        stride_conv=stride_conv,
        cardinality=cardinality,
        base_width=base_width,
        reduce_first=reduce_first,
        widths=widths,
        outputs=outputs,
    )
    branch = antialiased(branch, antialias, _changes(dilation, first_dilation))
    return _block(x, branch, dilation, first_dilation, like=4 * filters, **options)


def _changes(dilation, first_dilation):
    return (first_dilation or dilation) != dilation


def _block(
    x,
    branch,
    dilation,
    first_dilation,
    *,
    like,
    shortcut="B",
    shortcut_kernel=1,
    project=False,
    attention=None,
    attention_ratio=1 / 16,
    attention_divisor=8,
    style=DEFAULT_STYLE,
    drop_path=0.0,
    zero_init=False,
    name,
):
    y = _follow(x, branch, style, zero_init, name)
    y = attend(
        *(y, attention),
        ratio=attention_ratio,
        divisor=attention_divisor,
        like=like,
        name=name,
    )
    return joined(
        *(x, y, stride_of(branch)),
        dilation=dilation,
        first_dilation=first_dilation,
        shortcut=shortcut,
        shortcut_kernel=shortcut_kernel,
        project=project,
        style=style,
        drop_path=drop_path,
        name=name,
    )


def _follow(y, branch, style, zero_init, name):
    """The branch's units, one behind the other."""
    for i, unit in enumerate(branch, start=1):
        last = i == len(branch)
        y = style.convolution(
            *(y, unit.filters, unit.kernel, unit.stride),
            dilation=unit.dilation,
            groups=unit.groups,
            outer=last,
            name=f"{name}-conv{i}",
        )
        y = style.normalization(y, zero=last and zero_init, name=f"{name}-bn{i}")
        if not last:
            y = style.activate(y, name=f"{name}-relu{i}")
            y = subsample(y, unit.pool, unit.pool_stride, name=f"{name}-aa")
    return y
