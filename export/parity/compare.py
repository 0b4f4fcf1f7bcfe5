"""How far one set of outputs is from another, in figures. Needs numpy alone.

    snr_db(expected, actual)                       # 68.3, in decibels
    max_rel(expected, actual)                      # 2.1e-06 of the expected spread
    top1_agreement(expected_logits, actual_logits) # 0.998

The functions take whole arrays. `Differences` adds up batches, so that feature maps of
many images never lie in memory together.

Classes are compared as softmax sees them. Probabilities are compared by their
logarithms, since softmax saturates and would hide a difference; from logits and from
these logarithms each image's mean is taken out (`centered`), which softmax does not
see. So the logits and the probabilities of one model have the same SNR.
"""

import math
from dataclasses import dataclass

import numpy as np

MIN_PROBABILITY = 1e-30  # so that every probability has a logarithm
# Another class counts as a tie where the reference has both within so many times the
# root mean square of the differences: two errors of that size in opposite directions
# come to 2.8 times it, and a thousand classes have a longer tail.
TIE = 6

CENTERED = ("logits", "probabilities")  # outputs with a value for every class
BY_LOGARITHM = ("probabilities", "scores")  # outputs that hold probabilities


def snr_db(
    expected: np.ndarray, actual: np.ndarray, *, centered: bool = False
) -> float:
    """The power of the expected values over that of the differences, in decibels.

    Args:
        expected, actual: of one shape, (N, ...).
        centered: take each image's mean over the last axis out of both.

    Returns:
        Infinity where nothing differs; minus infinity where `actual` holds NaN or
        infinity, or `expected` nothing but zeros.
    """
    return Differences.between(expected, actual, centered=centered).snr_db


def max_rel(expected: np.ndarray, actual: np.ndarray) -> float:
    """The largest absolute difference as a share of the expected values' spread.

    The spread is the largest value less the smallest one, or the value itself where
    all are equal. NaN where an array holds NaN.
    """
    return Differences.between(expected, actual).max_rel


def top1_agreement(expected: np.ndarray, actual: np.ndarray) -> float:
    """The share of images whose largest value is the same class.

    Args:
        expected, actual: logits or probabilities, (N, classes).
    """
    return float(np.mean(expected.argmax(-1) == actual.argmax(-1)))


def top1_classes(outputs: dict[str, np.ndarray]) -> np.ndarray | None:
    """The most probable class of each image, (N,); None where no classes are given.

    Args:
        outputs: by name: "classes", (N, k), best first; "logits" or "probabilities",
            (N, classes).
    """
    if "classes" in outputs:
        return outputs["classes"][:, 0]
    for name in CENTERED:
        if name in outputs:
            return outputs[name].argmax(-1)
    return None


def output_snr_db(name: str, expected: np.ndarray, actual: np.ndarray) -> float:
    """`snr_db` of the output of that name: by logarithms and centered where it asks."""
    return snr_db(
        comparable(name, expected),
        comparable(name, actual),
        centered=name in CENTERED,
    )


def comparable(name: str, values: np.ndarray) -> np.ndarray:
    """An output's values in float64; of probabilities and scores their logarithms."""
    if name in BY_LOGARITHM:
        return log_probability(values)
    return values.astype(np.float64)


def log_probability(values: np.ndarray) -> np.ndarray:
    """The logarithms of probabilities, in float64, of 1e-30 at least."""
    return np.log(np.maximum(values.astype(np.float64), MIN_PROBABILITY))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """`log_probability` of the softmax of logits (N, classes)."""
    logits = logits.astype(np.float64)
    logits = logits - logits.max(-1, keepdims=True)
    logarithms = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return np.maximum(logarithms, math.log(MIN_PROBABILITY))


@dataclass
class Differences:
    """The differences of one output, added up over batches."""

    max_abs: float = 0.0
    lowest: float = math.inf  # expected values
    highest: float = -math.inf
    signal: float = 0.0  # sum of squares of the expected values
    values: int = 0
    noise: float = 0.0  # sum of squares of the differences
    count: int = 0

    @classmethod
    def between(
        cls, expected: np.ndarray, actual: np.ndarray, *, centered: bool = False
    ) -> "Differences":
        """The differences of one pair of arrays."""
        expected = expected.astype(np.float64)
        total = cls()
        total.add(expected, actual.astype(np.float64) - expected, centered=centered)
        return total

    def add(
        self, expected: np.ndarray, difference: np.ndarray, *, centered: bool = False
    ) -> None:
        """Adds a batch.

        Args:
            expected: in float64, (N, ...).
            difference: as many, or fewer where an artifact gives its best classes only.
            centered: as `snr_db` takes it; it leaves `max_abs` and `max_rel` alone.
        """
        self.max_abs = float(np.maximum(self.max_abs, np.abs(difference).max()))
        self.lowest = min(self.lowest, float(expected.min()))
        self.highest = max(self.highest, float(expected.max()))
        if centered:
            expected = expected - expected.mean(-1, keepdims=True)
            if difference.shape == expected.shape:
                with np.errstate(invalid="ignore"):  # infinity less infinity
                    difference = difference - difference.mean(-1, keepdims=True)
        self.signal += float(np.square(expected).sum())
        self.noise += float(np.square(difference).sum())
        self.values += expected.size
        self.count += difference.size

    @property
    def max_rel(self) -> float:
        spread = self.highest - self.lowest
        spread = spread or max(abs(self.highest), abs(self.lowest))
        if spread:
            return self.max_abs / spread
        return math.inf if self.max_abs else 0.0

    @property
    def power(self) -> float:
        """The mean square of the differences."""
        return self.noise / self.count

    @property
    def snr_db(self) -> float:
        if self.noise == 0:
            return math.inf
        ratio = self.signal / self.values / self.power
        return 10 * math.log10(ratio) if ratio > 0 else -math.inf  # NaN is not above 0

    def is_tie(self, margins: np.ndarray) -> np.ndarray:
        """Whether differences of this size explain that another class came first.

        Args:
            margins: by how much the reference has its best class above that class.
        """
        return margins <= TIE * math.sqrt(self.power)
