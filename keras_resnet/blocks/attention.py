"""Attention over channels, after a block's branch."""

import math

from keras import layers

from keras_resnet.architectures.records import (
    Attention,
    EfficientAttention,
    SqueezeExcitation,
)
from keras_resnet.common.errors import InputError
from keras_resnet.layers import NHWC


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
