"""Data for training: a spec such as `digits` or `folder:PATH` to tf.data pipelines.

The order of the images and every random variation are a pure function of (seed,
epoch): a run that starts at epoch k sees what an uninterrupted one sees from there.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_resnet.common.errors import InputError
from keras_resnet.images.preprocessing import Preprocessing
from keras_resnet.training import augment
from keras_resnet.training.augment import Augmentation as Augmentation
from keras_resnet.training.source import Source

CROP = 0.875  # of the shorter side, at evaluation: 224 of 256 (He2015, section 3.4)
IMAGE_SIZE = 224  # where images have no common size (He2015, section 3.4)
# What a seed is folded with, so that no two uses draw the same numbers.
_ORDER, _WINDOW, _BATCH = range(3)


def load(
    spec: str,
    *,
    image_size: int | None = None,
    data_dir: Path | None = None,
    strict: bool = False,
) -> "Data":
    """Labelled images to train on and to validate with.

    Args:
        spec: `digits` (embedded), any TFDS name (`cifar10`, `imagenet2012`, ...), or
            `folder:PATH`, images in a folder a class.
        image_size: side of the network's input, in pixels. None: that of the
            images where all have the same, else 224. Images of a common size are
            resized whole; of others the central part is taken at evaluation.
        data_dir: folder of prepared TFDS data sets; None: ~/tensorflow_datasets.
        strict: a broken image in a folder is an error, not left out.

    Raises:
        InputError: no such data, or it cannot be used; the message says why.
    """
    if image_size is not None and image_size < 1:
        raise InputError(f"image_size={image_size}: 1 or more is needed.")
    kind, _, path = spec.partition(":")
    if kind == "folder":
        from keras_resnet.training import folder

        if not path:
            raise InputError(f"data={spec!r}: folder:PATH is needed.")
        source = folder.read(Path(path), strict)
    else:
        from keras_resnet.training import tfds_source

        source = tfds_source.read(spec, data_dir)
    size = (image_size, image_size) if image_size else source.size
    preprocessing = Preprocessing(
        size=size or (IMAGE_SIZE, IMAGE_SIZE),
        crop=1.0 if source.size else CROP,
        interpolation="bilinear",  # as torchvision's reference transforms
        mean=source.mean,
        std=source.std,
    )
    return Data(spec, source, preprocessing)


@dataclass(frozen=True)
class Data:
    """Labelled images, and how they become a network's input.

    Attributes:
        name: the spec they were loaded by.
        source: the images as they come.
        preprocessing: from an image to the network's input.
    """

    name: str
    source: Source
    preprocessing: Preprocessing

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of each class, in the order of the label numbers."""
        return self.source.labels

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the network's input, in pixels."""
        return self.preprocessing.size

    @property
    def channels(self) -> int:
        """Channels of the network's input: 1 or 3."""
        return self.source.channels

    @property
    def train_examples(self) -> int:
        """Number of images to train on."""
        return self.source.train_examples

    @property
    def validation_examples(self) -> int:
        """Number of images to validate with."""
        return self.source.validation_examples

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

        # TFDS's reader is no code that autograph can convert.
        @tf.autograph.experimental.do_not_convert
        def one_epoch(epoch):
            # Dataset.shuffle mixes the global seed in; this fixes it, in this
            # function's own graph alone (not 0: TensorFlow gives (0, 0) a meaning).
            tf.compat.v1.set_random_seed(1)
            order = tf.random.stateless_uniform(
                (), _fold(seed, _ORDER, epoch), minval=None, maxval=None, dtype=tf.int64
            )
            return self.source.shuffled(order).take(steps * batch_size)

        def one_example(position, example):
            image, label = example
            return self._cut(image, random_window(position)), label

        def random_window(position):
            if augmentation.name != "random-resized-crop":
                return self._window
            example_seed = _fold(seed, _WINDOW, position)
            return lambda shape: augmentation.random_window(shape, example_seed)

        def one_batch(step, batch):
            images, labels = batch
            images = augmentation.vary_batch(images, _fold(seed, _BATCH, step))
            return self._normalize(images), labels

        examples = tf.data.Dataset.range(first_epoch, epochs).flat_map(one_epoch)
        if not self._ready or augmentation.name == "random-resized-crop":
            position = first_epoch * steps * batch_size
            examples = examples.enumerate(position).map(one_example, tf.data.AUTOTUNE)
        batches = examples.batch(batch_size, drop_remainder=True)
        batches = batches.enumerate(first_epoch * steps)
        return (
            batches.map(one_batch, tf.data.AUTOTUNE)
            .apply(
                tf.data.experimental.assert_cardinality((epochs - first_epoch) * steps)
            )
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
    def _ready(self) -> bool:
        """Whether the source's images are the network's input as they are."""
        pixels = self.source.validation.element_spec[0].dtype == tf.uint8
        return pixels and self.source.size == self.image_size

    def _evaluated(self) -> tf.data.Dataset:
        """The validation images, cropped and resized, and their labels."""
        if self._ready:
            return self.source.validation
        return self.source.validation.map(
            lambda image, label: (self._cut(image, self._window), label),
            tf.data.AUTOTUNE,
        )

    def _window(self, shape: tf.Tensor) -> tf.Tensor:
        """The part of an image that evaluation sees."""
        if self.source.size:
            return augment.whole_window(shape)
        return augment.central_window(shape, self.preprocessing.crop)

    def _cut(self, image, choose) -> tf.Tensor:
        record = self.preprocessing
        return augment.cut(
            image, choose, record.size, self.channels, record.interpolation
        )

    def _normalize(self, images: tf.Tensor) -> tf.Tensor:
        """`Preprocessing.normalize` in TensorFlow, whatever Keras's backend is."""
        scale, shift = self.preprocessing.scale_and_shift()
        return tf.cast(images, tf.float32) * scale + shift


def _fold(seed: int, use: int, position: tf.Tensor) -> tf.Tensor:
    """The seed of one use of randomness at one position of the run."""
    return tf.random.fold_in(tf.constant([seed, use], tf.int64), position)
