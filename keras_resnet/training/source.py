"""Where images come from, before anything is done to them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class Source:
    """Labelled images in two parts: to train on, and to validate with.

    An image is either pixels, uint8 (height, width, channels), or a string: the
    whole content of a JPEG or PNG file. A label is an int64 scalar.

    Attributes:
        labels: name of each class, in the order of the label numbers.
        size: (height, width) where all images have the same; None otherwise.
        channels: of the images, after decoding.
        mean, std: of each channel, on the scale 0..1.
        train_examples, validation_examples: their numbers.
        shuffled: from an int64 scalar, the seed of an epoch, to a data set of every
            training (image, label), once each, in an order that the seed alone
            determines.
        validation: data set of the validation (image, label), in a fixed order
            that mixes the classes.
    """

    labels: tuple[str, ...]
    size: tuple[int, int] | None
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train_examples: int
    validation_examples: int
    shuffled: "Callable[[tf.Tensor], tf.data.Dataset]"
    validation: "tf.data.Dataset"
