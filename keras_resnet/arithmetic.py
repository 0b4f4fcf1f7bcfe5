"""Parameters and multiply-adds of an architecture, counted without Keras.

The counts follow the papers' tables layer by layer; they share no code with the
builder, so that the one can check the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from keras_resnet.architectures import Architecture


@dataclass(frozen=True)
class Count:
    """What a network holds and does.

    Attributes:
        trainable: parameters that training changes.
        statistics: moving means and variances of batch normalisation.
        multiply_adds: of all convolutions and the classifier, for one picture.
    """

    trainable: int = 0
    statistics: int = 0
    multiply_adds: int = 0

    @property
    def parameters(self) -> int:
        """As `model.count_params()` counts: statistics included."""
        return self.trainable + self.statistics

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.trainable + other.trainable,
            self.statistics + other.statistics,
            self.multiply_adds + other.multiply_adds,
        )


def count(
    architecture: Architecture,
    size: int | None = None,
    channels: int = 3,
    classes: int | None = None,
) -> Count:
    """Counts a whole network with its classifier.

    Args:
        architecture: from `get_architecture` or your own.
        size: side of a square picture in pixels; None takes the source's.
        channels: of the picture.
        classes: outputs of the classifier; None takes the source's.
    """
    size = size or architecture.input_size
    classes = classes or architecture.classes
    return sum(_parts(architecture, size, channels, classes), Count())


def _convolution(kernel: int, inputs: int, outputs: int, size: int) -> Count:
    """A convolution without bias whose output is `size` x `size`."""
    weights = kernel * kernel * inputs * outputs
    return Count(trainable=weights, multiply_adds=weights * size * size)


def _norm(channels: int) -> Count:
    return Count(trainable=2 * channels, statistics=2 * channels)


def _parts(net: Architecture, size: int, channels: int, classes: int):
    width = net.widths[0]
    if net.stem == "imagenet":
        size = _half(size)
        yield _convolution(7, channels, width, size)
        size = _half(size)
    else:
        yield _convolution(3, channels, width, size)
    if not net.preactivation:
        yield _norm(width)
    for stage, depth in enumerate(net.depths):
        for block in range(depth):
            stride = 2 if stage > 0 and block == 0 else 1
            yield from _block(net, width, net.widths[stage], size, stride)
            width = net.widths[stage] * net.expansion
            size = _half(size) if stride == 2 else size
    if net.preactivation:
        yield _norm(width)
    weights = width * classes
    yield Count(trainable=weights + classes, multiply_adds=weights)


def _block(
    net: Architecture, inputs: int, width: int, size: int, stride: int
) -> Iterator[Count]:
    outputs = width * net.expansion
    end = _half(size) if stride == 2 else size
    if net.block == "basic":
        yield _convolution(3, inputs, width, end)
        yield _convolution(3, width, width, end)
        norms = (inputs, width) if net.preactivation else (width, width)
    else:
        middle = end if net.stride_conv == 1 else size
        yield _convolution(1, inputs, width, middle)
        yield _convolution(3, width, width, end)
        yield _convolution(1, width, outputs, end)
        norms = (inputs if net.preactivation else outputs, width, width)
    yield sum(map(_norm, norms), Count())
    if net.shortcut == "B" and (stride != 1 or inputs != outputs):
        yield _convolution(1, inputs, outputs, end)
        if not net.preactivation:
            yield _norm(outputs)


def _half(size: int) -> int:
    return (size + 1) // 2
