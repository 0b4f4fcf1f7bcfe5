"""A tensor of a file, read when it is asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Stored:
    """What `numpy.asarray` reads and lays out as Keras has it.

    Attributes:
        source: array-like in the file's own layout and type.
        shape: in Keras's layout.
        convert: from an array like `source` to a new one, float32 in Keras's layout.
            Where it gave a view into a mapped file, TensorFlow would keep that as the
            value of a variable, which then changes with the file.
    """

    source: Any
    shape: tuple[int, ...]
    convert: Callable[[np.ndarray], np.ndarray]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self.convert(np.asarray(self.source)), dtype)


def copied(array: np.ndarray) -> np.ndarray:
    """For a `source` that lies as Keras has it."""
    return array.astype("float32")


def is_finite(array: Any) -> bool:
    """Whether every number is finite as a float32; the layout does not matter."""
    array = np.asarray(array.source if isinstance(array, Stored) else array)
    with np.errstate(over="ignore", invalid="ignore"):
        array = array.astype("float32", copy=False).reshape(-1)
        # One pass, at the speed of memory; large numbers alone need the second look.
        return bool(np.isfinite(np.vdot(array, array)) or np.isfinite(array).all())
