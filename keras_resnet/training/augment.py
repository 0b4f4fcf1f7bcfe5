"""Random variations of training images, each a pure function of a seed.

A seed is an integer tensor of shape (2,), as `tf.random.stateless_uniform` takes it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from keras_resnet.common.errors import InputError, closest
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
        if self.name not in AUGMENTATIONS:
            raise InputError(
                f"augmentation={self.name!r}: accepted are "
                f"{', '.join(map(repr, AUGMENTATIONS))}."
                f"{closest(self.name, AUGMENTATIONS)}"
            )

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
    coins = tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 1), seed)
    return tf.where(coins < 0.5, tf.reverse(images, axis=[2]), images)


def central_window(shape: tf.Tensor, crop: float) -> tf.Tensor:
    """The central square of an image, `crop` times its shorter side wide.

    Returns:
        int32 (top, left, height, width), in pixels.
    """
    side = tf.cast(tf.reduce_min(shape[:2]), tf.float32) * crop
    extent = tf.repeat(tf.cast(tf.round(side), tf.int32), 2)
    return tf.concat([(shape[:2] - extent) // 2, extent], axis=0)


def whole_window(shape: tf.Tensor) -> tf.Tensor:
    """All of an image, as int32 (top, left, height, width)."""
    return tf.concat([[0, 0], shape[:2]], axis=0)


def cut(
    image: tf.Tensor,
    choose: Callable[[tf.Tensor], tf.Tensor],
    size: tuple[int, int],
    channels: int,
    interpolation: str,
) -> tf.Tensor:
    """The part of one image that `choose` names, resized with anti-aliasing.

    Args:
        image: uint8 (height, width, channels), or the content of a JPEG or PNG
            file as a string. Of a JPEG only the rows needed are decoded.
        choose: from the image's shape (height, width, channels) to int32 (top,
            left, height, width).
        size: (height, width) of the result.
        channels: of the result: 1 or 3. Transparency is dropped.
        interpolation: as `tf.image.resize` names it.

    Returns:
        uint8, (*size, channels).
    """

    def of_jpeg():
        window = choose(tf.io.extract_jpeg_shape(image))
        return tf.io.decode_and_crop_jpeg(image, window, channels=channels)

    def of_pixels(pixels):
        top, left, height, width = tf.unstack(choose(tf.shape(pixels)))
        return pixels[top : top + height, left : left + width]

    if image.dtype == tf.string:
        part = tf.cond(
            tf.io.is_jpeg(image),
            of_jpeg,
            lambda: of_pixels(decode(image, channels)),
        )
    else:
        part = of_pixels(image)
    part = tf.image.resize(part, size, interpolation, antialias=True)
    return tf.ensure_shape(
        tf.saturate_cast(tf.round(part), tf.uint8), (*size, channels)
    )


def decode(content: tf.Tensor, channels: int) -> tf.Tensor:
    """The content of an image file as uint8 (height, width, channels).

    A truncated or damaged file is an error, never a half-grey image.
    """
    return tf.io.decode_image(content, channels=channels, expand_animations=False)
