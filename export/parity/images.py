"""Images that an artifact is verified on: the user's, noise and adversarial ones."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_resnet.images.files import check_images, find_images, read_image, read_npz

if TYPE_CHECKING:
    from export.model.signature import Signature

MAX_REAL_IMAGES = 64  # taken from a folder or a data set
BATCH = 64  # images that go through at once
NOISE_IMAGES = 4
EXTREME_IMAGES = 2  # in each set of noise at the ends of the range
OTHER_SIZE = (81, 67)  # verified as well where the model takes any size
WHITE = 3.0  # where nothing says how 255 is normalized; ImageNet's white is 2.6
SEED = 0

# Of one size (N, height, width, channels), or a list of any sizes.
ImageArrays = np.ndarray | Sequence[np.ndarray]


def real_images(
    images: np.ndarray | str | os.PathLike | None, signature: "Signature"
) -> ImageArrays | None:
    """The user's images, uint8 (N, height, width, channels).

    Args:
        images: an array of that form; an .npz file that holds one as `images`; a
            folder of images, of which 64, evenly spread, are resized and cropped to
            the input's size, unless the signature does that; None if there are none.
        signature: whose input they shall fit.

    Returns:
        The array; a list of (height, width, channels) where the signature takes
        images of any size from a folder; None if there are none.

    Raises:
        InputError: nothing is there, it cannot be read, or it has another form.
    """
    if images is None:
        return None
    source: str | os.PathLike = "an array"
    if not isinstance(images, np.ndarray):
        source = images
        if Path(source).is_dir():
            return _read_folder(Path(source), signature)
        images, _ = read_npz(source)
    check_images(images, signature.shape[1:], source=source)
    return images


def _read_folder(folder: Path, signature: "Signature") -> ImageArrays:
    from keras_resnet.images.preprocessing import Preprocessing

    channels = signature.shape[-1]
    paths = find_images([folder])
    step = -(-len(paths) // MAX_REAL_IMAGES)  # reaches all classes, if in folders
    images = [read_image(path, channels) for path in paths[::step]]
    if signature.preprocess == "full":
        return images
    size, mean, std = signature.sides, (0.0,) * channels, (1 / 255,) * channels
    known = signature.preprocessing or Preprocessing(size, 1.0, "bilinear", mean, std)
    levels = replace(known, size=size, mean=mean, std=std, channel_order="rgb")
    return np.round(np.asarray(levels(images))).astype("uint8")


def verification_images(
    signature: "Signature", real: ImageArrays | None = None
) -> dict[str, list[np.ndarray]]:
    """Batches of images as the signature's input, by the name of the set.

    Each set has one range of values, since differences are measured as a share of
    the spread of their set.

    Args:
        signature: whose input they shall fit.
        real: uint8 images: (N, height, width, channels), or a list of (height, width,
            channels) of any sizes; or floating-point images as the model takes them;
            None or empty if there are none.

    Returns:
        "real" where there are any; "noise", at each of `sizes`; "zeros", "largest"
        (all 255), and of 8-bit images "dark" and "bright", of others "large" and
        "negative": where nothing clips below zero before a pooling layer, wrong
        padding shows on them.
    """
    sets = {}
    if real is not None and len(real):
        sets["real"] = [as_input(signature, batch) for batch in _batches(real)]
    first, *others = sizes(signature)
    sets["noise"] = [_noise(signature, first)]
    for size in others:
        sets[f"noise {size[0]}x{size[1]}"] = [_noise(signature, size)]
    shape = (*first, signature.shape[-1])
    generator = np.random.default_rng(SEED + 1)
    extremes: dict[str, np.ndarray] = {"zeros": np.zeros((1, *shape))}
    white = np.full((1, *shape), 255, "uint8")
    if signature.takes_levels:
        extremes["largest"] = white
        extremes["dark"] = generator.integers(0, 32, (EXTREME_IMAGES, *shape))
        extremes["bright"] = generator.integers(224, 256, (EXTREME_IMAGES, *shape))
    else:
        known = signature.scaling_known
        extremes["largest"] = (
            as_input(signature, white) if known else white / 255 * WHITE
        )
        normal = generator.normal(size=(EXTREME_IMAGES, *shape))
        extremes["large"] = 50 * normal
        extremes["negative"] = -np.abs(normal)
    for name, images in extremes.items():
        sets[name] = [images.astype(signature.dtype)]
    return {name: _in_fixed_batches(signature, b) for name, b in sets.items()}


def sizes(signature: "Signature") -> list[tuple[int, int]]:
    """Heights and widths to verify at: two where the signature leaves them open."""
    if signature.preprocessing and signature.preprocess == "full":
        height, width = signature.preprocessing.size  # one shrinks and one grows
        return [(2 * height + 1, 3 * width // 2 + 2), (height // 2 + 1, width)]
    _, height, width, _ = signature.shape
    if height and width:
        return [(height, width)]
    return [signature.sides, (height or OTHER_SIZE[0], width or OTHER_SIZE[1])]


def as_input(signature: "Signature", images: np.ndarray) -> np.ndarray:
    """Images of 0..255 as the signature's input.

    They stay as they are where nothing says how they are normalized, or where they
    are floating-point numbers, which are prepared already.
    """
    levels = images.dtype == np.uint8
    if levels and signature.preprocessing and not signature.takes_levels:
        images = np.asarray(signature.preprocessing.normalize(images))
    return images.astype(signature.dtype)


def _noise(signature: "Signature", size: tuple[int, int]) -> np.ndarray:
    generator = np.random.default_rng(SEED)
    shape = (NOISE_IMAGES, *size, signature.shape[-1])
    if signature.takes_levels:
        return generator.integers(0, 256, shape).astype(signature.dtype)
    return generator.normal(size=shape).astype(signature.dtype)


def _batches(images: ImageArrays) -> list[np.ndarray]:
    if isinstance(images, np.ndarray):
        return [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
    return [image[None] for image in images]


def _in_fixed_batches(
    signature: "Signature", batches: list[np.ndarray]
) -> list[np.ndarray]:
    """The batches; where the signature fixes their size, of that size, with images
    repeated to fill the last one."""
    size = signature.shape[0]
    if size is None:
        return batches
    parts = [
        batch[i : i + size] for batch in batches for i in range(0, len(batch), size)
    ]
    return [np.resize(part, (size, *part.shape[1:])) for part in parts]
