"""Images and data sets that tests train on, and batches to compare."""

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_resnet.training.augment import Augmentation

PLAIN = Augmentation("none")
PART = Augmentation("random-resized-crop")


class _Test(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS data set of a few random images."""

    VERSION = tfds.core.Version("1.0.0")
    image = tfds.features.Image(shape=(None, None, 3), encoding_format="png")

    def _info(self):
        features = {
            "image": self.image,
            "label": tfds.features.ClassLabel(names=["first", "second"]),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples(40),
            "validation": self._generate_examples(10),
        }

    def _generate_examples(self, count):
        generator = np.random.default_rng(count)
        for index in range(count):
            shape = (*generator.integers(12, 40, 2), 3)
            image = generator.integers(0, 256, shape, "uint8")
            yield index, {"image": image, "label": index % 2}


class AssortedImages(_Test):
    """Images of many sizes."""


class TrainOnly(_Test):
    """No split to validate with."""

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(4)}


class UndefinedImages(_Test):
    """Floating-point images, with NaN."""

    image = tfds.features.Tensor(shape=(8, 8, 1), dtype=np.float32)

    def _generate_examples(self, count):
        for index in range(count):
            yield index, {"image": np.full((8, 8, 1), np.nan, "float32"), "label": 0}


class FullDisk(_Test):
    """Stops in the middle of its preparation."""

    def _generate_examples(self, count):
        yield from list(super()._generate_examples(count))[:3]
        raise OSError(28, "No space left on device")


def write_image(path, height=40, width=50, channels=3, seed=0):
    """A random image, in the format of the path's suffix."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (4, 4, channels))
    image = tf.cast(tf.image.resize(coarse, (height, width)), tf.uint8)
    encode = tf.io.encode_png if path.suffix == ".png" else tf.io.encode_jpeg
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(image).numpy())


def batches(data, first_epoch=0, epochs=2, seed=0, augmentation=PLAIN, batch_size=8):
    return [
        (images.numpy(), labels.numpy())
        for images, labels in data.training(
            batch_size=batch_size,
            seed=seed,
            first_epoch=first_epoch,
            epochs=epochs,
            augmentation=augmentation,
        )
    ]


def same(some, others):
    return len(some) == len(others) and all(
        np.array_equal(one, other)
        for pair, other_pair in zip(some, others, strict=True)
        for one, other in zip(pair, other_pair, strict=True)
    )
