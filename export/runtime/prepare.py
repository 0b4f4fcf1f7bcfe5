"""From images to a network's input with numpy and Pillow alone.

What `keras_resnet.images.preprocessing` computes with Keras: there, Pillow's
resize is imitated; here, Pillow itself resizes.
"""

from math import floor
from typing import Any

import numpy as np
from PIL import Image

from keras_resnet.common.errors import InputError
from keras_resnet.images.preprocessing import Preprocessing

MOST_PIXELS = 2**28  # of a resized image, 800 MB in colour
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def read_record(record: Any) -> Preprocessing:
    """The preprocessing that a file records; an InputError if it is anything else."""
    try:
        return Preprocessing.from_json(record)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        reason = error if isinstance(error, InputError) else repr(error)
        raise InputError(f"its preprocessing cannot be read: {reason}") from error


def checked(images: Any, dtype: Any = np.uint8) -> np.ndarray:
    """`images`, an array or a Pillow image, as one (height, width, channels) or a
    batch.

    Raises:
        InputError: not an array of that dtype, or of another form.
    """
    array = np.asarray(images)
    if array.dtype != dtype or array.ndim not in (3, 4) or 0 in array.shape:
        levels = "uint8 images of 0..255" if dtype == np.uint8 else f"{dtype} images"
        raise InputError(
            f"images: {array.dtype} of {array.shape}; {levels}, one of (height, width, "
            "channels), a batch or a list of them, are needed."
        )
    return array


def resize_and_crop(image: np.ndarray, record: Preprocessing) -> np.ndarray:
    """The centre of an image, resized with the aspect kept.

    Args:
        image: uint8 (height, width, channels).
        record: says the size, the share that the crop keeps, and the filter.

    Returns:
        uint8 (*record.size, channels).

    Raises:
        InputError: another number of channels, or more than 2^28 pixels after the
            resize: a damaged record, or an image hardly wider than a line.
    """
    if image.shape[-1] != len(record.mean):
        raise InputError(
            f"images: {image.shape[-1]} channels (the last axis of {image.shape}); "
            f"the weights take {len(record.mean)}."
        )
    height, width = image.shape[:2]
    tall, wide = (floor(side / record.crop) for side in record.size)
    rows, columns = max(tall, height * wide // width), max(wide, width * tall // height)
    # Halves go to the even neighbour, as in torchvision's CenterCrop.
    top = round((rows - record.size[0]) / 2)
    left = round((columns - record.size[1]) / 2)
    if rows * columns > MOST_PIXELS:
        raise InputError(
            f"images: one of {height}x{width} would be resized to {rows}x{columns}; up "
            f"to {MOST_PIXELS} pixels are accepted."
        )
    image = _resize(image, columns, rows, FILTERS[record.interpolation])
    return image[top : top + record.size[0], left : left + record.size[1]]


def _resize(image: np.ndarray, columns: int, rows: int, kernel: int) -> np.ndarray:
    """Across and then down, whatever the image: some releases of Pillow turn the two
    around for tall ones, and the rounding between them shows.
    """
    # A fourth channel would be taken as transparency: other images go by channels.
    parts = [image] if image.shape[-1] == 3 else np.moveaxis(image, -1, 0)
    across = [Image.fromarray(one).resize((columns, len(one)), kernel) for one in parts]
    resized = [np.asarray(one.resize((columns, rows), kernel)) for one in across]
    return resized[0] if resized[0].ndim == 3 else np.stack(resized, axis=-1)


def normalize(images: np.ndarray, record: Preprocessing) -> np.ndarray:
    """uint8 (..., channels) to float32, as `Preprocessing.normalize` does it."""
    if record.channel_order == "bgr":
        images = images[..., ::-1]
    scale, shift = np.array(record.scale_and_shift(), np.float32)
    return images.astype(np.float32) * scale + shift
