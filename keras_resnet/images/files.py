"""Images from files, with NumPy and Pillow alone.

paths = find_images(["photos", "cat.jpg"])
image = read_image(paths[0])                       # uint8 (height, width, 3)
images, labels = read_npz("validation.npz", 100)   # the first 100 of each
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_resnet.common.errors import InputError
from keras_resnet.common.numbers import check_choice

if TYPE_CHECKING:
    import numpy as np

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_PILLOW_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # by the number of channels


def find_images(paths: Iterable[str | os.PathLike]) -> list[Path]:
    """The files among `paths`, and the images in the folders among them, sorted.

    Raises:
        InputError: no such file or folder, or a folder without images.
    """
    images = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise InputError(f"{path}: no images in it ({', '.join(SUFFIXES)}).")
            images += inside
        elif path.exists():
            images.append(path)
        else:
            raise InputError(f"{path}: no such file or folder.")
    return images


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
    check_choice("channels", channels, _PILLOW_MODES)
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I;16"):  # Pillow would clip, not scale
                image = Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
            if image.mode in ("I", "F"):
                raise ValueError(f"values of Pillow's mode {image.mode!r}")
            converted = np.asarray(image.convert(_PILLOW_MODES[channels]))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as an image: {error}.") from error
    return converted.reshape(*converted.shape[:2], channels)


def read_npz(
    path: str | os.PathLike, count: int | None = None
) -> tuple["np.ndarray", "np.ndarray | None"]:
    """The array `images` of an .npz file, and the array `labels` if it has one.

    Args:
        path: of the .npz file.
        count: how many images to take at most, from the first; all by default.

    Returns:
        (images, labels): an array of any shape and type, for `check_images` to hold
        against what is wanted; whole numbers, one an image, or None.

    Raises:
        InputError: the file cannot be read, has no array `images`, has objects in it
            (which would be unpickled), or has labels that do not fit the images.
    """
    import numpy as np

    try:
        # NumPy leaves a damaged file open if it has opened it by itself.
        with (
            Path(path).open("rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            images = arrays["images"]
            labels = arrays.get("labels")
        first = images[:count]  # an IndexError where `images` is a single number
    except Exception as error:  # a file can be wrong in any way
        raise InputError(
            f"images={path} cannot be read ({error}): an .npz file with an array "
            "`images`, or a folder of images, is needed."
        ) from error
    if labels is not None and (
        labels.shape != images.shape[:1] or labels.dtype.kind not in "iu"
    ):
        raise InputError(
            f"images={path}: labels are {labels.dtype} of {labels.shape}; a whole "
            f"number for each of {len(images)} images is needed."
        )
    return first, None if labels is None else labels[:count]


def check_images(
    images: "np.ndarray",
    shape: Sequence[int | None],
    dtype: "np.typing.DTypeLike" = "uint8",
    source: str | os.PathLike = "an array",
) -> None:
    """Raises an InputError for a batch of another shape or type, or of no images.

    `shape` is of one image, such as (224, 224, 3), None standing for any number; the
    error names the source, what it holds and what is needed.
    """
    import numpy as np

    wanted = (None, *shape)
    fits = images.ndim == len(wanted) and all(
        size in (None, actual)
        for size, actual in zip(wanted, images.shape, strict=True)
    )
    if images.dtype != np.dtype(dtype) or not fits or not len(images):
        raise InputError(
            f"images={source}: {images.dtype} of {images.shape}; {np.dtype(dtype)} of "
            f"{wanted} is needed, None standing for any number."
        )


def read_images(
    source: str | os.PathLike, count: int | None = None, channels: int = 3
) -> tuple["np.ndarray | list[np.ndarray]", "np.ndarray | None"]:
    """The images of an .npz file, of a folder or of one image file, and their labels.

    Args:
        source: an .npz file as `read_npz` takes it, or what `find_images` takes.
        count: how many images to take at most, from the first; all by default.
        channels: of each image of a folder, as for `read_image`.

    Returns:
        (images, labels): an array from an .npz file, else a list of uint8 (height,
        width, channels) of any sizes; labels are known from an .npz file only.

    Raises:
        InputError: nothing is there, or it cannot be read.
    """
    if Path(source).suffix == ".npz":
        return read_npz(source, count)
    paths = find_images([source])[:count]
    return [read_image(path, channels) for path in paths], None
