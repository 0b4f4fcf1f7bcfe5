"""Parameters and multiply-adds of an architecture, counted without Keras.

The counts follow the papers' tables layer by layer; they share no code with the
builder, so that the one can check the other.
"""

from collections.abc import Iterator

from keras_resnet.architectures import Architecture
from keras_resnet.complexity import relatives, residual
from keras_resnet.complexity.parts import Count as Count
from keras_resnet.complexity.parts import half, norm


def count(
    architecture: Architecture,
    size: int | None = None,
    channels: int = 3,
    classes: int | None = None,
) -> Count:
    """Counts a whole network with its classifier.

    Args:
        architecture: from `get_architecture` or your own.
        size: side of a square image in pixels; None takes the source's.
        channels: of the image.
        classes: outputs of the classifier; None takes the source's.
    """
    size = size or architecture.input_size
    classes = classes or architecture.classes
    return sum(_parts(architecture, size, channels, classes), Count())


def _parts(
    net: Architecture, size: int, channels: int, classes: int
) -> Iterator[Count]:
    if "dense" in net.blocks:
        parts, width = relatives.dense(net, channels, size)
        yield from parts
    else:
        parts, width, size = residual.stem(net, channels, size)
        yield from parts
        for stage, index, stride in residual.places(net):
            yield from residual.block(net, stage, index, width, size, stride)
            width = net.stage_outputs(stage)
            size = half(size) if stride == 2 else size
        if net.preactivation:
            yield norm(width, net.norm)
    weights = width * classes
    yield Count(trainable=weights + classes, multiply_adds=weights)
