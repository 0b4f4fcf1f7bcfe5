"""Random variations of training images, each a pure function of a seed.

A seed is an integer tensor of shape (2,), as `tf.random.stateless_uniform` takes it.
"""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from keras_resnet.common.numbers import check_choice
from keras_resnet.training.recipes import AUGMENTATIONS


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied.

    Attributes:
        name: "none"; "pad-crop-flip" (He2015, section 4.2: a border of zeros, then a
            random crop of the original size); or "random-resized-crop" (a random part
            of the image, resized; "Going Deeper with Convolutions",
            arXiv:1409.4842, section 6).
        padding: width of the border of "pad-crop-flip", in pixels. He2015: 4 at 32x32.
        scale: smallest and largest share of the image's area in a random crop
            (arXiv:1409.4842, and torchvision's RandomResizedCrop).
        ratio: smallest and largest width over height of a random crop (likewise).
        flip: mirror half of the images, left to right. Not for digits or letters.

    Raises:
        InputError: no augmentation has this name.
    """

    name: str = "none"
    padding: int = 4
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True

    def __post_init__(self):
        check_choice("augmentation", self.name, AUGMENTATIONS)

    def vary_batch(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Border, crop and flip of a batch (n, height, width, channels)."""
        if self.name == "none":
            return images
        crop_seed, flip_seed = tf.unstack(tf.random.split(seed))
        if self.name == "pad-crop-flip":
            images = pad_and_crop(images, crop_seed, self.padding)
        return flip_half(images, flip_seed) if self.flip else images

    def random_window(self, shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """A part of an image of `shape` (height, width, channels).

        Returns:
            int32 (top, left, height, width), in pixels; the whole image where no
            part fits `scale` and `ratio`.
        """
        start, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            shape,
            bounding_boxes=tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
            seed=seed,
            min_object_covered=0.0,
            aspect_ratio_range=self.ratio,
            area_range=self.scale,
        )
        return tf.concat([start[:2], extent[:2]], axis=0)


def pad_and_crop(images: tf.Tensor, seed: tf.Tensor, padding: int) -> tf.Tensor:
    """Each image of a batch moved by up to `padding` pixels; black comes in."""
    count, height, width = tf.unstack(tf.shape(images)[:3])
    border = [padding, padding]
    padded = tf.pad(images, [[0, 0], border, border, [0, 0]])
    shift = tf.random.stateless_uniform(
        (2, count, 1), seed, maxval=2 * padding + 1, dtype=tf.int32
    )
    rows = tf.gather(padded, shift[0] + tf.range(height), axis=1, batch_dims=1)
    return tf.gather(rows, shift[1] + tf.range(width), axis=2, batch_dims=1)


def flip_half(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirrors each image of a batch, left to right, with probability 1/2."""
    count: Any = tf.shape(images)[0]
    coins = tf.random.stateless_uniform((count, 1, 1, 1), seed)
    return tf.where(coins < 0.5, tf.reverse(images, axis=[2]), images)
