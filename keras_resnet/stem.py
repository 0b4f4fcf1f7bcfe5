"""What comes before the stages: the first convolutions and the pool."""

from keras import layers

from keras_resnet.architectures import Architecture
from keras_resnet.layers import BlurPool2D, LowestPadding2D
from keras_resnet.style import NHWC, Style


def stem(x, net: Architecture, style: Style, name: str):
    """Images to the first stage's input, a quarter a side (a CIFAR form: as large).

    Layers are named as in torchvision's resnet.py or, in v2, timm's resnetv2.py.
    """
    widths = net.stem_widths or net.widths[:1]
    kernel, stride = {"imagenet": (7, 2), "deep": (3, 2), "cifar": (3, 1)}[net.stem]
    for i, (width, names) in enumerate(zip(widths, _names(net, name), strict=True)):
        if i:
            x = style.norm_activation(x, norm=names[1], activation=names[2])
        x = style.convolution(
            *(x, width, kernel, 1 if i else stride), outer=True, name=names[0]
        )
    if not net.preactivation:
        x = style.normalization(x, name=f"{name}-bn1")
        x = style.activate(x, name=f"{name}-relu")
    return x if net.stem == "cifar" else _pool(x, net, style, f"{name}-maxpool")


def _names(net: Architecture, name: str):
    """Of each convolution, and of the normalisation and activation before it."""
    if net.stem != "deep":
        return ((f"{name}-stem-conv" if net.preactivation else f"{name}-conv1",),)
    if net.preactivation:
        kinds = (("conv1",), ("conv2", "norm1", "relu1"), ("conv3", "norm2", "relu2"))
        return [[f"{name}-stem-{kind}" for kind in names] for names in kinds]
    places = ((0,), (3, 1, 2), (6, 4, 5))  # in timm's Sequential
    return [[f"{name}-conv1-{place}" for place in names] for names in places]


def _pool(x, net: Architecture, style: Style, name: str):
    """The second halving."""
    if net.stem_pool == "convolution":  # Bello et al. 2021, section 6, as in timm
        blurs = net.antialias is not None
        x = style.convolution(*(x, x.shape[-1], 3, 1 if blurs else 2), name=f"{name}-0")
        if blurs:
            x = _antialias(x, net.antialias, name=f"{name}-1")
        x = style.normalization(x, name=f"{name}-{1 + blurs}")
        return style.activate(x, name=f"{name}-relu")
    if net.antialias == "average":
        return _antialias(x, net.antialias, name)
    if net.antialias == "blur":  # Zhang 2019, section 3.2
        x = layers.MaxPooling2D(3, 1, "same", data_format=NHWC, name=name)(x)
        return _antialias(x, net.antialias, name=f"{name}-1")
    padding = f"{name}-padding"
    # zeros are exact behind a ReLU
    behind_relu = not net.preactivation and net.activation == "relu"
    if net.stem_pool == "zero_max" or behind_relu:
        x = layers.ZeroPadding2D(1, data_format=NHWC, name=padding)(x)
    else:
        x = LowestPadding2D(1, name=padding)(x)
    return layers.MaxPooling2D(3, 2, data_format=NHWC, name=name)(x)


def _antialias(x, kind, name):
    if kind == "blur":
        return BlurPool2D(2, name=name)(x)
    return layers.AveragePooling2D(2, data_format=NHWC, name=name)(x)
