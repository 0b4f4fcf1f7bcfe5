"""Labelled images as tf.data pipelines, to train on and to validate with.

The order of the images and every random variation are a pure function of (seed,
epoch): a run that starts at epoch k sees what an uninterrupted one sees from there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from keras_resnet.common.errors import InputError
from keras_resnet.images.preprocessing import Preprocessing
from keras_resnet.training.augment import Augmentation

IMAGE_SIZE = 224  # where images have no common size (He2015, section 3.4)
# Of the shorter side, at evaluation: 224 of 256 pixels, as in fb.resnet.torch's
# datasets/imagenet.lua and torchvision's references/classification/presets.py.
CROP = 0.875
# What a seed is folded with, so that no two uses draw the same numbers.
_ORDER, _WINDOW, _BATCH = range(3)


@dataclass(frozen=True)
class Data:
    """Labelled images, and how they become a network's input.

    An image of `shuffled` and `held_out` is either pixels, uint8 (height, width,
    channels), or a string, the whole content of an image file. A label is an int64
    scalar.

    Attributes:
        name: the spec they were loaded by.
        labels: name of each class, in the order of the label numbers.
        common_size: (height, width) where all images have the same; None otherwise.
        train_examples, validation_examples: their numbers.
        shuffled: from an int64 scalar, the seed of an epoch, to a data set of every
            training (image, label), once each, in an order that the seed alone
            determines.
        held_out: data set of the validation (image, label), in a fixed order that
            mixes the classes.
        preprocessing: from an image to the network's input.
    """

    name: str
    labels: tuple[str, ...]
    common_size: tuple[int, int] | None
    train_examples: int
    validation_examples: int
    shuffled: Callable[[Any], tf.data.Dataset]
    held_out: tf.data.Dataset
    preprocessing: Preprocessing

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the network's input; 1 or 3 channels."""
        return (*self.preprocessing.size, len(self.preprocessing.mean))

    def steps_per_epoch(self, batch_size: int) -> int:
        """Whole batches in the training images.

        Raises:
            InputError: there is none.
        """
        if not 1 <= batch_size <= self.train_examples:
            raise InputError(
                f"batch_size={batch_size}: 1 to {self.train_examples} are possible, "
                f"the number of training images in {self.name!r}."
            )
        return self.train_examples // batch_size

    def training(
        self,
        *,
        batch_size: int,
        seed: int,
        first_epoch: int,
        epochs: int,
        augmentation: Augmentation,
    ) -> tf.data.Dataset:
        """The training batches of the epochs first_epoch ... epochs - 1, in a row.

        Every epoch has `steps_per_epoch(batch_size)` batches and sees no image
        twice; the remainder, another one each epoch, is left out.

        Args:
            batch_size: images a batch.
            seed: of order and variations; with the epoch's number it determines them.
            first_epoch: where to start, from 0.
            epochs: where to end.
            augmentation: how to vary the images.

        Returns:
            (images, labels): float32 (batch_size, height, width, channels),
            normalised; and int64 (batch_size,).

        Raises:
            InputError: fewer training images than `batch_size`.
        """
        steps = self.steps_per_epoch(batch_size)
        take_parts = augmentation.name == "random-resized-crop"

        # TFDS's reader is no code that autograph can convert.
        @tf.autograph.experimental.do_not_convert
        def order(epoch):
            # Dataset.shuffle mixes the global seed in; this fixes it, in this
            # function's own graph alone (not 0: TensorFlow gives (0, 0) a meaning).
            tf.compat.v1.set_random_seed(1)
            whole_range: Any = {"minval": None, "maxval": None}  # of int64
            epoch_seed = tf.random.stateless_uniform(
                (), _fold(seed, _ORDER, epoch), dtype=tf.int64, **whole_range
            )
            return self.shuffled(epoch_seed).take(steps * batch_size)

        def resize(position, example):
            image, label = example
            if not take_parts:
                return self._cut(image, self._evaluated_part), label
            example_seed = _fold(seed, _WINDOW, position)
            return self._cut(
                image, lambda shape: augmentation.random_window(shape, example_seed)
            ), label

        def vary(step, batch):
            images, labels = batch
            images = augmentation.vary_batch(images, _fold(seed, _BATCH, step))
            return self._normalize(images), labels

        examples = tf.data.Dataset.range(first_epoch, epochs).flat_map(order)
        if take_parts or not self._sized:
            position = first_epoch * steps * batch_size
            examples = examples.enumerate(position).map(resize, tf.data.AUTOTUNE)
        count = (epochs - first_epoch) * steps
        return (
            examples.batch(batch_size, drop_remainder=True)
            .enumerate(first_epoch * steps)
            .map(vary, tf.data.AUTOTUNE)
            .apply(tf.data.experimental.assert_cardinality(count))
            .prefetch(tf.data.AUTOTUNE)
        )

    def validation(self, *, batch_size: int) -> tf.data.Dataset:
        """All validation batches, always in the same order; the last may be smaller.

        Returns:
            (images, labels): float32 (n, height, width, channels), normalised; and
            int64 (n,).
        """
        return (
            self._evaluated()
            .batch(batch_size)
            .map(lambda images, labels: (self._normalize(images), labels))
            .prefetch(tf.data.AUTOTUNE)
        )

    def sample(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The first `n` validation images (or all, if fewer), not yet normalised.

        Returns:
            (images, labels): uint8 (n, height, width, channels), cropped and resized
            as at evaluation; and int64 (n,).
        """
        images, labels = next(iter(self._evaluated().take(n).batch(n)))
        return images.numpy(), labels.numpy()

    @property
    def _sized(self) -> bool:
        """Whether the images have the network's size as they come."""
        spec: Any = self.held_out.element_spec
        image, _ = spec
        return image.dtype == tf.uint8 and self.common_size == self.preprocessing.size

    def _evaluated(self) -> tf.data.Dataset:
        """The validation images, cropped and resized, and their labels."""
        if self._sized:
            return self.held_out
        return self.held_out.map(
            lambda image, label: (self._cut(image, self._evaluated_part), label),
            tf.data.AUTOTUNE,
        )

    def _evaluated_part(self, shape: Any) -> tf.Tensor:
        """All of an image of a common size; of another, the central square."""
        if self.common_size:
            return tf.concat([[0, 0], shape[:2]], axis=0)
        side = tf.cast(tf.reduce_min(shape[:2]), tf.float32) * self.preprocessing.crop
        extent = tf.repeat(tf.cast(tf.round(side), tf.int32), 2)
        return tf.concat([(shape[:2] - extent) // 2, extent], axis=0)

    def _cut(self, image: tf.Tensor, choose: Callable[[Any], tf.Tensor]) -> tf.Tensor:
        """The part of one image that `choose` names, resized with anti-aliasing.

        Args:
            image: as in `held_out`. Of a JPEG file only the rows needed are decoded.
            choose: from the image's shape (height, width, channels) to int32 (top,
                left, height, width), in pixels.

        Returns:
            uint8, of the network's input shape.
        """
        height, width, channels = self.input_shape

        def of_jpeg():
            window = choose(tf.io.extract_jpeg_shape(image))
            return tf.io.decode_and_crop_jpeg(image, window, channels=channels)

        def of_pixels(pixels):
            top, left, rows, columns = tf.unstack(choose(tf.shape(pixels)))
            return pixels[top : top + rows, left : left + columns]

        if image.dtype == tf.string:
            part = tf.cond(
                tf.io.is_jpeg(image),
                of_jpeg,
                lambda: of_pixels(decode(image, channels)),
            )
        else:
            part = of_pixels(image)
        interpolation = self.preprocessing.interpolation
        part = tf.image.resize(part, (height, width), interpolation, antialias=True)
        part = tf.saturate_cast(tf.round(part), tf.uint8)
        return tf.ensure_shape(part, self.input_shape)

    def _normalize(self, images: tf.Tensor) -> tf.Tensor:
        """`Preprocessing.normalize` in TensorFlow, whatever Keras's backend is."""
        scale, shift = self.preprocessing.scale_and_shift()
        return tf.cast(images, tf.float32) * scale + shift


def evaluation_preprocessing(
    common_size: tuple[int, int] | None,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Preprocessing:
    """How a network sees images: of a common size whole, of others the central part.

    Args:
        common_size: as `Data` has it.
        mean, std: of each channel, on the scale 0..1.
    """
    return Preprocessing(
        size=common_size or (IMAGE_SIZE, IMAGE_SIZE),
        crop=1.0 if common_size else CROP,
        interpolation="bilinear",  # as torchvision's reference transforms
        mean=mean,
        std=std,
    )


def decode(content: tf.Tensor, channels: int) -> tf.Tensor:
    """The content of an image file as uint8 (height, width, channels).

    Transparency is dropped. A truncated or damaged file is an error, never a half-grey
    image.
    """
    return tf.io.decode_image(content, channels=channels, expand_animations=False)


def _fold(seed: int, use: int, position: Any) -> Any:
    """The seed of one use of randomness at one position of the run."""
    return tf.random.fold_in(tf.constant([seed, use], tf.int64), position)
