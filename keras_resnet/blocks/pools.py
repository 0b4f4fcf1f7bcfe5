"""Pools that Keras's arguments do not spell, as torchvision and timm have them."""

from typing import get_args

from keras import layers

from keras_resnet.architectures.records import Antialias
from keras_resnet.common.numbers import check_choice
from keras_resnet.layers import NHWC, BlurPool2D, LowestPadding2D


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
