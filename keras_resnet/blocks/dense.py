"""DenseNet's stem, dense blocks and transitions.

Huang et al. 2017, "Densely Connected Convolutional Networks", arXiv:1608.06993: the BC
form of section 3, in the order normalization, activation, convolution.
"""

from collections.abc import Sequence

from keras import layers

from keras_resnet.blocks.parts import stem_max_pool
from keras_resnet.common.errors import InputError
from keras_resnet.layers import NHWC
from keras_resnet.style import DEFAULT_STYLE, Style


def dense_features(
    x,
    depths: Sequence[int],
    widths: Sequence[int],
    growth: int,
    *,
    style: Style = DEFAULT_STYLE,
    name: str,
):
    """A DenseNet from the image to its last feature map (table 1).

    Args:
        x: a Keras tensor of (batch, height, width, channels).
        depths: layers of each dense block.
        widths: channels that enter each dense block.
        growth: channels that each layer adds (k in the paper).
        style: of convolutions, normalizations and activations.
        name: prefix of the layers' names.

    Returns:
        The last feature map, normalized and activated: (batch, h, w, channels). Its
        sides are a 2^(stages + 1)-th of the input's; the first two halves are rounded
        up, the others down, as in torch.
    """
    prefix = f"{name}-features"
    x = style.convolution(x, widths[0], 7, 2, name=f"{prefix}-conv0")
    x = style.norm_activation(x, norm=f"{prefix}-norm0", activation=f"{prefix}-relu0")
    x = stem_max_pool(x, zeros=style.ends_in_relu, name=f"{prefix}-pool0")
    for i, (depth, width) in enumerate(zip(depths, widths, strict=True), start=1):
        if i > 1:
            x = transition(x, width, style=style, name=f"{prefix}-transition{i - 1}")
        x = dense_block(x, depth, growth, style=style, name=f"{prefix}-denseblock{i}")
    names = {"norm": f"{prefix}-norm5", "activation": f"{prefix}-relu5"}
    return style.norm_activation(x, **names)


def dense_block(x, depth: int, growth: int, *, style: Style = DEFAULT_STYLE, name: str):
    """Layers that each see the input and all that the layers before them made.

    A layer is a 1x1 convolution to `4 * growth` channels and a 3x3 to `growth`, with
    normalization and activation before each (section 3, "Bottleneck layers"); there
    are `depth` layers, and each adds `growth` channels.
    """
    if min(depth, growth) < 1:
        raise InputError(f"depth={depth}, growth={growth} of {name}: 1 or more needed.")
    for i in range(1, depth + 1):
        layer = f"{name}-denselayer{i}"
        y = x
        for j, (filters, kernel) in enumerate(((4 * growth, 1), (growth, 3)), start=1):
            names = {"norm": f"{layer}-norm{j}", "activation": f"{layer}-relu{j}"}
            y = style.norm_activation(y, **names)
            y = style.convolution(y, filters, kernel, name=f"{layer}-conv{j}")
        x = layers.Concatenate(name=f"{layer}-concat")([x, y])
    return x


def transition(x, filters: int, *, style: Style = DEFAULT_STYLE, name: str):
    """A 1x1 convolution to `filters` channels and a 2x2 average pool (section 3)."""
    x = style.norm_activation(x, norm=f"{name}-norm", activation=f"{name}-relu")
    x = style.convolution(x, filters, 1, name=f"{name}-conv")
    return layers.AveragePooling2D(2, 2, data_format=NHWC, name=f"{name}-pool")(x)
