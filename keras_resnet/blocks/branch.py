"""The branch of a block as data: its convolutions in a row."""

from dataclasses import dataclass, replace

from keras import layers

from keras_resnet.blocks.pieces import group_width
from keras_resnet.common.errors import InputError
from keras_resnet.layers import BlurPool2D
from keras_resnet.style import NHWC


@dataclass(frozen=True)
class Unit:
    """One convolution of a branch; the pool that follows it subsamples in its place."""

    filters: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    pool: str | None = None  # "average" or "blur"
    pool_stride: int = 1

    def __post_init__(self):
        if not isinstance(self.filters, int) or self.filters < 1:
            raise InputError(
                f"filters={self.filters!r} of a {self.kernel}x{self.kernel} "
                "convolution: a whole number from 1 is needed (base_width scales them, "
                "reduce_first divides them)."
            )


def basic(filters, stride, dilation=1, first_dilation=None, *, reduce_first=1):
    """Two 3x3 convolutions."""
    return (
        Unit(filters // reduce_first, 3, stride, first_dilation or dilation),
        Unit(filters, 3, dilation=dilation),
    )


def bottleneck(
    filters,
    stride,
    dilation=1,
    first_dilation=None,
    *,
    stride_conv=2,
    cardinality=1,
    base_width=64,
    reduce_first=1,
    widths=None,
    outputs=None,
):
    """1x1, 3x3 and 1x1 convolutions."""
    if stride_conv not in (1, 2):
        raise InputError(f"stride_conv={stride_conv!r}: accepted are 1 and 2.")
    width = group_width(filters, base_width, cardinality)
    first, second = widths or (width // reduce_first, width)
    strides = (stride, 1) if stride_conv == 1 else (1, stride)
    return (
        Unit(first, 1, strides[0]),
        Unit(second, 3, strides[1], first_dilation or dilation, cardinality),
        Unit(outputs or 4 * filters, 1),
    )


def antialiased(branch, kind, changes_dilation: bool):
    """The branch with a pool in place of its stride (Zhang 2019, section 3.2).

    Args:
        branch: units.
        kind: None, "average" (a 2x2 average pool) or "blur".
        changes_dilation: whether the block dilates where the one before did not,
            as timm asks: a stride was given up there, and the blur stays.
    """
    if kind not in (None, "average", "blur"):
        raise InputError(
            f"antialias={kind!r}: accepted are None, 'average' and 'blur'."
        )
    stride = stride_of(branch)
    if kind is None or not (stride > 1 or changes_dilation):
        return branch
    # behind the 3x3 (of a basic block, the first) unless another one has the stride
    three = next(i for i, unit in enumerate(branch) if unit.kernel == 3)
    place = next((i for i, unit in enumerate(branch) if unit.stride > 1), three)
    pooled = replace(branch[place], stride=1, pool=kind, pool_stride=stride)
    return (*branch[:place], pooled, *branch[place + 1 :])


def stride_of(branch) -> int:
    """The whole stride of a branch."""
    return max(max(unit.stride, unit.pool_stride) for unit in branch)


def subsample(x, kind: str | None, stride: int, *, name: str):
    """An anti-aliased subsampling; `x` itself for None."""
    if kind == "blur":
        return BlurPool2D(stride, name=name)(x)
    if kind == "average" and stride > 1:  # timm's window is as wide as the stride
        # "same" is the same at even sizes; at odd ones timm's does not fit the shortcut
        pool = layers.AveragePooling2D(
            stride, None, "same", data_format=NHWC, name=name
        )
        return pool(x)
    return x
