"""Images from files, and as a set of weights expects them."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_resnet.common.errors import InputError
from keras_resnet.images.preprocessing import Preprocessing

if TYPE_CHECKING:
    import numpy as np

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's, by the number of channels


def preprocess(images: Any, weights: Any) -> Any:
    """Images as a set of weights expects them: `Preprocessing` of those weights.

    Args:
        images: uint8 images, as `Preprocessing.__call__` takes them: one, a batch, or
            a list of any sizes. On the TensorFlow backend also inside a `tf.data` map.
        weights: a model with a card; a tag with its architecture,
            "resnet50.a1_in1k" or "timm/resnet50.a1_in1k"; a record of the catalogue;
            or a `Preprocessing`.

    Returns:
        float32 (batch, height, width, channels), normalised.

    Raises:
        InputError: images or weights of another kind, an unknown tag, or weights of
            which nobody has recorded what they expect.
    """
    return preprocessing_of(weights)(images)


def preprocessing_of(weights: Any) -> Preprocessing:
    """What `weights` expect, which are named as for `preprocess`.

    A model of a fixed input size has it at that size.
    """
    if isinstance(weights, str):
        weights = _find(weights)
    if isinstance(weights, Preprocessing):
        return weights
    record = getattr(getattr(weights, "card", weights), "preprocessing", None)
    if not isinstance(record, Preprocessing):
        name = getattr(weights, "name", type(weights).__name__)
        raise InputError(
            f"weights={name!r} say nothing of how images are prepared: a model with "
            "it on its card, a tag such as 'resnet50.a1_in1k' or a Preprocessing is "
            "needed."
        )
    size = getattr(weights, "input_shape", (None, None, None))[1:3]
    return replace(record, size=size) if None not in size else record


def _find(weights: str) -> Any:
    """The catalogue's record of a tag with its architecture."""
    from keras_resnet.weights import catalogue

    architecture, dot, _ = weights.rpartition("/")[2].partition(".")
    if not dot:
        raise InputError(
            f"weights={weights!r}: the architecture and a tag are needed, such as "
            "'resnet50.a1_in1k'."
        )
    return catalogue.find(architecture, weights)


def find_images(paths: Iterable[str | os.PathLike]) -> list[Path]:
    """The files among `paths`, and the images in the folders among them, sorted.

    Raises:
        InputError: no such file or folder, or a folder without images.
    """
    found = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise InputError(f"{path}: no images in it ({', '.join(SUFFIXES)}).")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise InputError(f"{path}: no such file or folder.")
    return found


def read_image(path: str | os.PathLike, channels: int = 3) -> "np.ndarray":
    """One image as uint8 (height, width, channels), upright as EXIF says.

    Grey, indexed, transparent and CMYK images are converted; of several frames the
    first is taken.

    Args:
        path: of a file that Pillow reads.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).

    Raises:
        InputError: not an image, truncated, of more pixels than Pillow takes for
            safe, or of values that are neither 8 nor 16 bits wide.
    """
    if channels not in _MODES:
        raise InputError(f"channels={channels}: images have {sorted(_MODES)}.")
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I;16"):  # Pillow would clip, not scale
                image = Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
            if image.mode in ("I", "F"):
                raise ValueError(f"values of Pillow's mode {image.mode!r}")
            converted = np.asarray(image.convert(_MODES[channels]))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as an image: {error}.") from error
    return converted.reshape(*converted.shape[:2], channels)
