"""How far a way to run a file is from the plain run on the CPU."""

from dataclasses import dataclass

import numpy as np

from export.parity.compare import output_snr_db, top1_classes
from keras_resnet.common.errors import InputError

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
    expected, found = top1_classes(plain), top1_classes(other)
    if expected is not None and found is not None:
        agreement = float(np.mean(expected == found))
        if labels is not None:
            drop = float(100 * (np.mean(expected == labels) - np.mean(found == labels)))
    names = [name for name, one in plain.items() if one.dtype.kind == "f"]
    if not names:
        raise InputError(f"outputs {', '.join(plain)}: none is of floating point.")
    return Judgement(
        images=len(plain[names[0]]),
        snr_db=min(output_snr_db(name, plain[name], other[name]) for name in names),
        agreement=agreement,
        drop_points=drop,
    )
