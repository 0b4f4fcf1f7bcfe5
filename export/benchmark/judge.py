"""Whether a way to run a file keeps to its accuracy: against the plain run on the CPU.

Images from a folder or an .npz, without TensorFlow or Keras.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_resnet.common.errors import InputError
from keras_resnet.images.files import find_images, read_image

FLOOR = 1e-30  # of a probability, so that it has a logarithm
CLASSES = ("logits", "probabilities")  # outputs whose largest value is the answer
SHARES = ("probabilities", "scores")  # outputs that are held by their logarithms

Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Judgement:
    """How far one run is from the plain one on the same images.

    Attributes:
        images: how many.
        snr_db: power of the outputs over that of their differences, in decibels, of
            the output with the lowest; infinite where nothing differs. Probabilities
            are held by their logarithms, and of classes each image's mean is taken
            out, which softmax does not see.
        agreement: share of the images with the same most probable class; None where
            no classes leave the file.
        drop_points: percentage points of top-1 accuracy that are lost; None without
            labels.
    """

    images: int
    snr_db: float
    agreement: float | None
    drop_points: float | None


def judge(
    plain: Outputs, other: Outputs, labels: np.ndarray | None = None
) -> Judgement:
    """Holds the outputs of the same images against each other.

    Args:
        plain, other: by name, (N, ...).
        labels: the right class of each image, if they are known.

    Raises:
        InputError: no output is of floating point.
    """
    drop, agreement = None, None
    expected, found = _best(plain), _best(other)
    if expected is not None:
        agreement = float(np.mean(expected == found))
        if labels is not None:
            drop = float(100 * (np.mean(expected == labels) - np.mean(found == labels)))
    names = [name for name, one in plain.items() if one.dtype.kind == "f"]
    if not names:
        raise InputError(f"outputs {', '.join(plain)}: none is of floating point.")
    return Judgement(
        images=len(plain[names[0]]),
        snr_db=min(_decibels(name, plain[name], other[name]) for name in names),
        agreement=agreement,
        drop_points=drop,
    )


def _best(outputs: Outputs) -> np.ndarray | None:
    """The most probable class of each image; None where none leaves."""
    if "classes" in outputs:
        return outputs["classes"][:, 0]
    for name in CLASSES:
        if name in outputs:
            return outputs[name].argmax(-1)
    return None


def _decibels(name: str, plain: np.ndarray, other: np.ndarray) -> float:
    expected, found = _levels(name, plain), _levels(name, other)
    signal, noise = np.square(expected).sum(), np.square(found - expected).sum()
    if noise == 0:
        return np.inf
    # NaN, of outputs that overflow, is below every floor.
    return float(10 * np.log10(signal / noise)) if signal / noise > 0 else -np.inf


def _levels(name: str, values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float64)
    if name in SHARES:
        values = np.log(np.maximum(values, FLOOR))
    return values - values.mean(-1, keepdims=True) if name in CLASSES else values


def read_images(
    source: str | Path, most: int, channels: int
) -> tuple[np.ndarray | list[np.ndarray], np.ndarray | None]:
    """Images, and the right class of each where it is known.

    Args:
        source: an .npz with `images`, as a predictor takes them, and perhaps `labels`;
            or a folder of images, or one image.
        most: the first so many are read.
        channels: of an image from a folder.

    Raises:
        InputError: not there, not readable, or labels that do not fit.
    """
    source = Path(source)
    if source.suffix != ".npz":
        paths = find_images([source])[:most]
        return [read_image(path, channels) for path in paths], None
    try:
        with np.load(source, allow_pickle=False) as arrays:
            images = arrays["images"][:most]
            labels = arrays["labels"][:most] if "labels" in arrays else None
    except (OSError, EOFError, LookupError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"images={source} cannot be read ({error}): a folder of images, or an "
            ".npz file with an array `images`, is needed."
        ) from error
    if labels is not None and (
        labels.shape != images.shape[:1] or labels.dtype.kind not in "iu"
    ):
        raise InputError(
            f"images={source}: labels are {labels.dtype} of {labels.shape}; a whole "
            f"number for each of {len(images)} images is needed."
        )
    return images, labels
