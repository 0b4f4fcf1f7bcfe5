"""Layers that Keras does not have, registered so that a saved model finds them."""

from typing import Any

import keras

ops: Any = keras.ops  # whose annotations say None where a tensor is returned
NHWC = "channels_last"
_register = keras.saving.register_keras_serializable(package="keras_resnet")


def _accurate(x):
    """In float32 at least: statistics overflow, and epsilons vanish, in halves."""
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


@_register
class LowestPadding2D(keras.layers.Layer):
    """Pads height and width with minus infinity, as torch's MaxPool2d does.

    Zeros would win against negative activations; after a ReLU they cannot, and
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


@_register
class BlurPool2D(keras.layers.Layer):
    """Blurs with the fixed kernel [1, 2, 1]^2 / 16, then subsamples.

    Zhang 2019, section 3.1, "Triangle-3"; the border is reflected, as in timm's
    BlurPool2d.

    Args:
        stride: of the subsampling.

    (batch, height, width, channels)
    -> (batch, ceil(height / stride), ceil(width / stride), channels).
    """

    def __init__(self, stride: int = 2, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, inputs):
        padded = ops.pad(inputs, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="reflect")
        line = ops.convert_to_tensor([0.25, 0.5, 0.25], dtype=inputs.dtype)
        kernel = ops.reshape(ops.outer(line, line), (3, 3, 1, 1))
        kernel = ops.tile(kernel, (1, 1, inputs.shape[-1], 1))
        return ops.depthwise_conv(
            padded, kernel, self.stride, data_format="channels_last"
        )

    def get_config(self):
        return super().get_config() | {"stride": self.stride}


@_register
class StandardizedConv2D(keras.layers.Conv2D):
    """A convolution whose kernels have mean 0 and variance 1 for each output channel.

    Qiao et al. 2019, section 3. The epsilon is added to the variance: 1e-8, as the
    BiT nets of timm's resnetv2.py have it.
    """

    epsilon = 1e-8

    def convolution_op(self, inputs, kernel):
        exact = _accurate(kernel)
        mean, variance = ops.moments(exact, axes=(0, 1, 2), keepdims=True)
        exact = (exact - mean) * ops.rsqrt(variance + self.epsilon)
        return super().convolution_op(inputs, ops.cast(exact, kernel.dtype))


class _ActivatingNorm(keras.layers.Layer):
    """A normalization with scale, offset and one further vector for its activation."""

    epsilon = 1e-5  # timm's for both layers
    extra: tuple[str, str]  # name and initializer of the further vector

    def build(self, input_shape):
        channels = (input_shape[-1],)
        self.gamma = self.add_weight(channels, "ones", name="gamma")
        self.beta = self.add_weight(channels, "zeros", name="beta")
        name, initializer = self.extra
        self.slope = self.add_weight(channels, initializer, name=name)


@_register
class EvoNormS0(_ActivatingNorm):
    """x * sigmoid(v * x) / the deviation in each of 32 groups of channels.

    Liu et al. 2020, table 2, "EvoNorm-S0". The shape stays.
    """

    extra = ("v", "ones")
    groups = 32  # the paper's section 4.1

    def call(self, inputs):
        _, height, width, channels = ops.shape(inputs)
        size = channels // self.groups
        groups = ops.reshape(_accurate(inputs), (-1, height, width, self.groups, size))
        variance = ops.var(groups, axis=(1, 2, 4), keepdims=True)
        inverse = ops.repeat(ops.rsqrt(variance + self.epsilon), size, axis=-1)
        inverse = ops.cast(ops.reshape(inverse, (-1, 1, 1, channels)), inputs.dtype)
        swish = inputs * ops.sigmoid(self.slope * inputs)
        return swish * inverse * self.gamma + self.beta


@_register
class FilterResponseNorm(_ActivatingNorm):
    """x / its root mean square over positions, then a maximum with a learned tau.

    Singh and Krishnan 2019, section 3, with the thresholded linear unit. The shape
    stays.
    """

    extra = ("tau", "zeros")

    def call(self, inputs):
        square = ops.mean(ops.square(_accurate(inputs)), axis=(1, 2), keepdims=True)
        normal = inputs * ops.cast(ops.rsqrt(square + self.epsilon), inputs.dtype)
        return ops.maximum(normal * self.gamma + self.beta, self.slope)


@_register
class ChannelSplit(keras.layers.Layer):
    """Cuts the channels into equal parts.

    A plain `keras.ops.split` names itself by a counter, and such names collide where a
    loaded model is joined with a new one.

    Args:
        parts: how many; a divisor of the channels.

    (batch, ..., channels) -> a list of tensors (batch, ..., channels / parts).
    """

    def __init__(self, parts: int, **kwargs):
        super().__init__(**kwargs)
        self.parts = parts

    def call(self, inputs):
        size = inputs.shape[-1] // self.parts
        # slices, since tf2onnx 1.17 mixes up the outputs of a split before a padding
        return [inputs[..., i * size : (i + 1) * size] for i in range(self.parts)]

    def get_config(self):
        return super().get_config() | {"parts": self.parts}
