"""Layers that Keras does not have, registered so that a saved model finds them."""

import sys

import keras
from keras import ops

# Keras walks a graph by recursion, up to seven frames a block, when it builds or
# loads a model: the 600 blocks of the deepest nets need more than Python's 1,000.
sys.setrecursionlimit(max(sys.getrecursionlimit(), 10_000))

_register = keras.saving.register_keras_serializable(package="keras_resnet")


@_register
class LowestPadding2D(keras.layers.Layer):
    """Pads height and width with minus infinity, as torch's MaxPool2d does.

    Zeros would win against negative activations; behind a ReLU they cannot, and
    `keras.layers.ZeroPadding2D` serves.

    Args:
        padding: rows and columns added on each side.

    (batch, height, width, channels) -> (batch, height + 2p, width + 2p, channels).
    """

    def __init__(self, padding: int, **kwargs):
        super().__init__(**kwargs)
        self.padding = padding

    def call(self, inputs):
        sides = [self.padding, self.padding]
        widths = [[0, 0], sides, sides, [0, 0]]
        return ops.pad(inputs, widths, constant_values=float("-inf"))

    def get_config(self):
        return super().get_config() | {"padding": self.padding}


@_register
class IdentityShortcut(keras.layers.Layer):
    """Shortcut A of He et al. 2015, section 3.3: subsample, then pad channels.

    Every `stride`-th position is kept and the new channels are zero, so the
    shortcut stays an identity and has no parameters.

    Args:
        filters: channels that leave; at least as many as enter.
        stride: of the subsampling.

    (batch, height, width, channels)
    -> (batch, ceil(height / stride), ceil(width / stride), filters).
    """

    def __init__(self, filters: int, stride: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.stride = stride

    def call(self, inputs):
        kept = inputs[:, :: self.stride, :: self.stride, :]
        new = self.filters - inputs.shape[-1]
        return ops.pad(kept, [[0, 0], [0, 0], [0, 0], [0, new]])

    def get_config(self):
        return super().get_config() | {"filters": self.filters, "stride": self.stride}
