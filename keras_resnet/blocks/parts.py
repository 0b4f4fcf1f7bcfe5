"""What several blocks share: pools, attention after the branch, the shortcut."""

import math
from typing import get_args

from keras import layers

from keras_resnet.architectures.records import (
    Antialias,
    Attention,
    EfficientAttention,
    Shortcut,
    SqueezeExcitation,
)
from keras_resnet.common.errors import InputError
from keras_resnet.common.numbers import check_choice
from keras_resnet.layers import NHWC, BlurPool2D, IdentityShortcut, LowestPadding2D
from keras_resnet.style import Style


def antialias_pool(x, kind: str, stride: int, *, padding: str = "same", name: str):
    """A pool that subsamples in place of a convolution (Zhang2019, section 3.2).

    Args:
        x: (batch, height, width, channels).
        kind: "average", whose window is as wide as its stride, or "blur".
        stride: of the pool; an average at stride 1 is `x` itself.
        padding: of "average", as Keras has it. "same" equals timm's at even sizes; at
            odd ones timm's does not fit the shortcut.
        name: of the layer.
    """
    check_choice("antialias", kind, get_args(Antialias))
    if kind == "blur":
        return BlurPool2D(stride, name=name)(x)
    if stride == 1:
        return x
    pool = layers.AveragePooling2D(stride, None, padding, data_format=NHWC, name=name)
    return pool(x)


def stem_max_pool(x, *, zeros: bool, name: str):
    """A 3x3 max pool at stride 2, padded by 1.

    Args:
        x: (batch, height, width, channels).
        zeros: pad with zeros, which are exact after a ReLU; else with minus infinity.
        name: of the pool; the padding's is `<name>-padding`.
    """
    padding = f"{name}-padding"
    if zeros:
        x = layers.ZeroPadding2D(1, data_format=NHWC, name=padding)(x)
    else:
        x = LowestPadding2D(1, name=padding)(x)
    return layers.MaxPooling2D(3, 2, data_format=NHWC, name=name)(x)


def padded_average_pool(x, stride: int, *, name: str):
    """A 3x3 average that counts the zeros around the image, as torch's does."""
    pad = layers.ZeroPadding2D(1, data_format=NHWC, name=f"{name}-padding")
    return layers.AveragePooling2D(3, stride, data_format=NHWC, name=name)(pad(x))


def attend(x, attention: Attention | None, *, kernel_channels: int, name: str):
    """`x` with its channels weighted as a record says; `x` itself for None.

    Args:
        x: (batch, height, width, channels).
        attention: None, `SqueezeExcitation(...)` or `EfficientAttention()`.
        kernel_channels: the channels that the kernel of `EfficientAttention` depends
            on; a pruned net keeps its parent's.
        name: of the block.
    """
    if attention is None:
        return x
    if isinstance(attention, SqueezeExcitation):
        return squeeze_excitation(
            x, attention.ratio, attention.divisor, name=f"{name}-se"
        )
    if isinstance(attention, EfficientAttention):
        return efficient_attention(x, eca_kernel(kernel_channels), name=f"{name}-se")
    raise InputError(
        f"attention={attention!r}: accepted are None, SqueezeExcitation(...) and "
        "EfficientAttention()."
    )


def divisible(value: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `value`, one at least (timm's rule)."""
    return max(divisor, int(value + divisor / 2) // divisor * divisor)


def squeeze_excitation(x, ratio: float = 1 / 16, divisor: int = 8, *, name: str):
    """Weights channels by two 1x1 convolutions of their averages.

    Hu et al. 2017, section 3, with timm's rounding of the reduced channels and its
    ReLU between the two, whatever the network's activation.

    Args:
        x: (batch, height, width, channels).
        ratio: reduced channels over channels.
        divisor: of the reduced channels.
        name: prefix of the layers.
    """
    channels = x.shape[-1]
    weights = layers.GlobalAveragePooling2D(
        data_format=NHWC, keepdims=True, name=f"{name}-pool"
    )(x)
    reduced = divisible(channels * ratio, divisor)
    weights = layers.Conv2D(reduced, 1, data_format=NHWC, name=f"{name}-fc1")(weights)
    weights = layers.ReLU(name=f"{name}-relu")(weights)
    weights = layers.Conv2D(channels, 1, data_format=NHWC, name=f"{name}-fc2")(weights)
    weights = layers.Activation("sigmoid", name=f"{name}-gate")(weights)
    return layers.Multiply(name=f"{name}-scale")([x, weights])


def eca_kernel(channels: int) -> int:
    """Wang et al. 2019, eq. 12, with gamma 2 and b 1; at least 3, as in timm."""
    size = int((math.log2(channels) + 1) / 2)
    return max(size if size % 2 else size + 1, 3)


def efficient_attention(x, kernel: int, *, name: str):
    """Weights channels by a 1-D convolution over their averages (Wang et al. 2019).

    Args:
        x: (batch, height, width, channels).
        kernel: neighbouring channels that decide on a channel's weight.
        name: prefix of the layers.
    """
    channels = x.shape[-1]
    weights = layers.GlobalAveragePooling2D(data_format=NHWC, name=f"{name}-pool")(x)
    weights = layers.Reshape((channels, 1), name=f"{name}-line")(weights)
    weights = layers.Conv1D(
        1,
        kernel,
        padding="same",
        data_format=NHWC,
        use_bias=False,
        name=f"{name}-conv",
    )(weights)
    weights = layers.Activation("sigmoid", name=f"{name}-gate")(weights)
    weights = layers.Reshape((1, 1, channels), name=f"{name}-weights")(weights)
    return layers.Multiply(name=f"{name}-scale")([x, weights])


def project_shortcut(
    x,
    filters: int,
    stride: int = 1,
    *,
    dilation: int = 1,
    first_dilation: int | None = None,
    kind: str = "B",
    kernel: int = 1,
    always: bool = False,
    normalized: bool = True,
    style: Style,
    name: str,
):
    """The shortcut of a block: `x` itself, or `x` in the shape of the branch's end.

    Args:
        x: (batch, height, width, channels).
        filters, stride: channels and stride of the branch.
        dilation: of the block.
        first_dilation: of the stage before; None for `dilation`.
        kind: as `architectures.records.Shortcut` says.
        kernel: side of a "B" projection's kernel where it strides or dilates.
        always: project even where the shape stays.
        normalized: whether normalization follows the projection (not in v2).
        style: of the network.
        name: of the block; layers are named as timm names them.
    """
    check_choice("shortcut", kind, get_args(Shortcut))
    widens = x.shape[-1] != filters
    if kind == "none" or not (widens or stride != 1 or always):
        return x
    if kind == "A" or (kind == "subsample" and not widens):
        if x.shape[-1] > filters:
            raise InputError(
                f"shortcut='A' of {name} cannot reduce {x.shape[-1]} channels to "
                f"{filters}."
            )
        return IdentityShortcut(filters, stride, name=f"{name}-downsample")(x)
    place = 1 if kind == "D" else 0  # in timm's Sequential
    convolution = f"{name}-downsample-{place if normalized else 'conv'}"
    if kind == "D":
        x = _pool(x, stride, dilation, f"{name}-downsample-pool")
        x = style.convolution(x, filters, 1, outer=True, name=convolution)
    else:
        kernel = 1 if stride == 1 and dilation == 1 else kernel
        x = style.convolution(
            x,
            filters,
            kernel,
            stride,
            dilation=(first_dilation or dilation) if kernel > 1 else 1,
            outer=True,
            name=convolution,
        )
    if not normalized:
        return x
    return style.normalization(x, name=f"{name}-downsample-{place + 1}")


def _pool(x, stride, dilation, name):
    """The average pool of ResNet-D (He et al. 2018, fig. 2c), as timm has it."""
    if dilation > 1:  # timm pads by one at the end, and counts the padding
        pad = layers.ZeroPadding2D(
            ((0, 1), (0, 1)), data_format=NHWC, name=f"{name}-padding"
        )
        return layers.AveragePooling2D(2, 1, data_format=NHWC, name=name)(pad(x))
    if stride == 1:
        return x
    return layers.AveragePooling2D(2, stride, "same", data_format=NHWC, name=name)(x)


def join(x, y, kind: str, drop_path: float, *, name: str):
    """The sum of a shortcut and its branch; the branch alone in a plain net.

    With probability `drop_path` an image's branch is left out in training: stochastic
    depth (Huang et al. 2016, arXiv:1603.09382), scaled so that inference needs no
    change: a stock dropout whose noise is shared by all positions.
    """
    if drop_path:
        noise = (None, 1, 1, 1)
        y = layers.Dropout(drop_path, noise, name=f"{name}-drop-path")(y)
    return y if kind == "none" else layers.Add(name=f"{name}-add")([x, y])
