"""Residual blocks as functions, for the builder and for networks of your own.

Each takes and returns a Keras tensor of (batch, height, width, channels). Height
and width become ceil(size / stride), as in torch: padding is kernel // 2 on every
side, which Keras's "same" is not at stride 2.

    x = keras.Input((None, None, 64))
    y = bottleneck_block(x, 64, stride=2, name="encoder-0")  # 256 channels
"""

import keras
from keras import layers

from keras_resnet.errors import InputError
from keras_resnet.layers import IdentityShortcut

NHWC = "channels_last"
EPSILON = 1e-5  # of torch's BatchNorm2d, which the reference weights were trained with
MOMENTUM = 0.9  # 1 - 0.1, torch's default in Keras's sense


def convolution(x, filters: int, kernel: int, stride: int = 1, *, name: str):
    """A convolution without bias, padded by kernel // 2 on every side.

    The weights have the variance 2 / fan_out (He et al. 2015, "Delving Deep into
    Rectifiers", eq. 14), as in torchvision. They are drawn uniformly, as
    keras.applications draws: with a normal distribution, building ResNet-152 took a
    quarter longer.
    """
    if kernel > 1 and stride > 1:
        pad = layers.ZeroPadding2D(
            kernel // 2, data_format=NHWC, name=f"{name}-padding"
        )
        x, padding = pad(x), "valid"
    else:
        padding = "same"  # symmetric at stride 1, and nothing to pad at kernel 1
    return layers.Conv2D(
        filters,
        kernel,
        stride,
        padding,
        data_format=NHWC,
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(
            2.0, "fan_out", "uniform"
        ),
        name=name,
    )(x)


def normalization(x, *, name: str):
    """Batch normalisation over all but the channels."""
    return layers.BatchNormalization(
        axis=-1, epsilon=EPSILON, momentum=MOMENTUM, name=name
    )(x)


def relu(x, *, name: str):
    return layers.ReLU(name=name)(x)


def basic_block(x, filters: int, stride: int = 1, *, shortcut: str = "B", name: str):
    """Two 3x3 convolutions beside a shortcut (He et al. 2015, fig. 5 left).

    Args:
        x: a Keras tensor of (batch, height, width, channels).
        filters: channels of both convolutions and of the output.
        stride: of the first convolution.
        shortcut: where the shape changes: "B" projects with a 1x1 convolution, "A"
            subsamples and pads channels with zeros; "none" leaves it out.
        name: prefix of the block's layers.

    Returns:
        (batch, ceil(height / stride), ceil(width / stride), filters).
    """
    return _block(x, _basic(filters, stride), shortcut, name)


def bottleneck_block(
    x,
    filters: int,
    stride: int = 1,
    *,
    stride_conv: int = 2,
    shortcut: str = "B",
    name: str,
):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut (He et al. 2015, fig. 5 right).

    Args:
        x: a Keras tensor of (batch, height, width, channels).
        filters: channels of the first two convolutions; four times as many leave.
        stride: of the block.
        stride_conv: the convolution that carries the stride: 2, the 3x3, as
            torchvision has it ("v1.5"), or 1, as the paper has it ("v1").
        shortcut, name: as in `basic_block`.

    Returns:
        (batch, ceil(height / stride), ceil(width / stride), 4 * filters).
    """
    return _block(x, _bottleneck(filters, stride, stride_conv), shortcut, name)


def preactivation_basic_block(
    x,
    filters: int,
    stride: int = 1,
    *,
    shortcut: str = "B",
    first: bool = False,
    name: str,
):
    """`basic_block` in full pre-activation order (He et al. 2016, fig. 1b).

    A shortcut that changes the shape starts from the pre-activated input, as in the
    authors' code (KaimingHe/resnet-1k-layers). A ReLU behind normalisation is still
    to follow the last block of a network.

    Args:
        first: of a network, right behind its first convolution: an identity shortcut
            too starts from the pre-activated input (He et al. 2016, appendix).
        x, filters, stride, shortcut, name: as in `basic_block`.
    """
    return _preactivation_block(x, _basic(filters, stride), shortcut, name, first)


def preactivation_bottleneck_block(
    x,
    filters: int,
    stride: int = 1,
    *,
    stride_conv: int = 2,
    shortcut: str = "B",
    name: str,
):
    """`bottleneck_block` in full pre-activation order; see the basic one."""
    branch = _bottleneck(filters, stride, stride_conv)
    return _preactivation_block(x, branch, shortcut, name)


def _basic(filters, stride):
    """(filters, kernel, stride) of each convolution."""
    return (filters, 3, stride), (filters, 3, 1)


def _bottleneck(filters, stride, stride_conv):
    if stride_conv not in (1, 2):
        raise InputError(f"stride_conv={stride_conv!r}: accepted are 1 and 2.")
    strides = (stride, 1) if stride_conv == 1 else (1, stride)
    return (filters, 1, strides[0]), (filters, 3, strides[1]), (4 * filters, 1, 1)


def _block(x, branch, shortcut, name):
    y = x
    for i, (filters, kernel, stride) in enumerate(branch, start=1):
        y = convolution(y, filters, kernel, stride, name=f"{name}-conv{i}")
        y = normalization(y, name=f"{name}-bn{i}")
        if i < len(branch):
            y = relu(y, name=f"{name}-relu{i}")
    stride, changed = _change(x, branch)
    if shortcut == "B" and changed:
        x = convolution(x, filters, 1, stride, name=f"{name}-downsample-0")
        x = normalization(x, name=f"{name}-downsample-1")
    else:
        x = _parameter_free(x, filters, stride, changed, shortcut, name)
    return relu(_add(x, y, shortcut, name), name=f"{name}-relu")


def _preactivation_block(x, branch, shortcut, name, first=False):
    y = x
    for i, (filters, kernel, stride) in enumerate(branch, start=1):
        y = normalization(y, name=f"{name}-norm{i}")
        y = relu(y, name=f"{name}-relu{i}")
        if i == 1:
            preactivated = y
        y = convolution(y, filters, kernel, stride, name=f"{name}-conv{i}")
    stride, changed = _change(x, branch)
    x = preactivated if changed or first else x
    if shortcut == "B" and changed:
        x = convolution(x, filters, 1, stride, name=f"{name}-downsample-conv")
    else:
        x = _parameter_free(x, filters, stride, changed, shortcut, name)
    return _add(x, y, shortcut, name)


def _change(x, branch):
    """The whole stride of a branch, and whether it changes the shape of `x`."""
    stride = max(stride for _, _, stride in branch)
    return stride, stride != 1 or x.shape[-1] != branch[-1][0]


def _parameter_free(x, filters, stride, changed, shortcut, name):
    if shortcut not in ("A", "B", "none"):
        raise InputError(f"shortcut={shortcut!r}: accepted are 'A', 'B' and 'none'.")
    if shortcut != "A" or not changed:
        return x
    if x.shape[-1] > filters:
        raise InputError(
            f"shortcut='A' of {name} cannot reduce {x.shape[-1]} channels to {filters}."
        )
    return IdentityShortcut(filters, stride, name=f"{name}-downsample")(x)


def _add(x, y, shortcut, name):
    return y if shortcut == "none" else layers.Add(name=f"{name}-add")([x, y])
