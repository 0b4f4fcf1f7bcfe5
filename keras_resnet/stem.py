"""What comes before the stages: the first convolutions and the pool."""

from keras import layers

from keras_resnet.architectures import Architecture
from keras_resnet.architectures.records import CifarStem, DeepStem
from keras_resnet.blocks.pools import antialias_pool, stem_max_pool
from keras_resnet.layers import NHWC
from keras_resnet.style import Style

# Names of the layers of a deep stem: each convolution, and the normalization and
# activation before it. In the original order they are places in timm's Sequential.
_DEEP_NAMES = (
    ("conv1-0",),
    ("conv1-3", "conv1-1", "conv1-2"),
    ("conv1-6", "conv1-4", "conv1-5"),
)
_DEEP_V2_NAMES = (
    ("stem-conv1",),
    ("stem-conv2", "stem-norm1", "stem-relu1"),
    ("stem-conv3", "stem-norm2", "stem-relu2"),
)


def stem(x, net: Architecture, style: Style, name: str):
    """Images to the first stage's input, a quarter a side (a CIFAR form: as large).

    Layers are named as in torchvision's resnet.py or, in v2, timm's resnetv2.py.
    """
    names = (("stem-conv" if net.preactivation else "conv1",),)
    if isinstance(net.stem, DeepStem):
        names = _DEEP_V2_NAMES if net.preactivation else _DEEP_NAMES
    stride = 1 if isinstance(net.stem, CifarStem) else 2
    widths = net.stem.convolutions(net.widths[0])
    for width, (convolution, *before) in zip(widths, names, strict=True):
        if before:
            norm, activation = (f"{name}-{layer}" for layer in before)
            x = style.norm_activation(x, norm=norm, activation=activation)
        x = style.convolution(
            x, width, net.stem.kernel, stride, outer=True, name=f"{name}-{convolution}"
        )
        stride = 1
    if not net.preactivation:
        x = style.normalization(x, name=f"{name}-bn1")
        x = style.activate(x, name=f"{name}-relu")
    if isinstance(net.stem, CifarStem):
        return x
    if net.stem.pool == "convolution":
        return _convolution_pool(x, net, style, f"{name}-maxpool")
    return _pool(x, net, net.stem.pool, f"{name}-maxpool")


def _convolution_pool(x, net: Architecture, style: Style, name: str):
    """A 3x3 convolution as the second halving (Bello et al. 2021, section 6; timm)."""
    antialias = net.antialias
    x = style.convolution(x, x.shape[-1], 3, 1 if antialias else 2, name=f"{name}-0")
    if antialias:
        x = antialias_pool(x, antialias, 2, padding="valid", name=f"{name}-1")
    x = style.normalization(x, name=f"{name}-{2 if antialias else 1}")
    return style.activate(x, name=f"{name}-relu")


def _pool(x, net: Architecture, pool: str, name: str):
    """A pool as the second halving."""
    if net.antialias == "average":
        return antialias_pool(x, net.antialias, 2, padding="valid", name=name)
    if net.antialias == "blur":  # Zhang 2019, section 3.2
        x = layers.MaxPooling2D(3, 1, "same", data_format=NHWC, name=name)(x)
        return antialias_pool(x, net.antialias, 2, name=f"{name}-1")
    after_relu = not net.preactivation and net.activation == "relu"
    return stem_max_pool(x, zeros=pool == "zero_max" or after_relu, name=name)
