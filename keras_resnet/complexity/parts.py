"""The parts that networks are counted from. Standard library only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Count:
    """What a network holds and does.

    Attributes:
        trainable: parameters that training changes (in batch normalisation that is
            frozen, would change).
        statistics: moving means and variances of batch normalisation.
        multiply_adds: of all 2-D convolutions and the classifier, for one image.
    """

    trainable: int = 0
    statistics: int = 0
    multiply_adds: int = 0

    @property
    def parameters(self) -> int:
        """As `model.count_params()` counts: statistics included."""
        return self.trainable + self.statistics

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.trainable + other.trainable,
            self.statistics + other.statistics,
            self.multiply_adds + other.multiply_adds,
        )


def convolution(
    kernel: int, inputs: int, outputs: int, size: int, groups: int = 1, bias=False
) -> Count:
    """A convolution whose output is `size` x `size`."""
    weights = kernel * kernel * (inputs // groups) * outputs
    return Count(
        trainable=weights + bool(bias) * outputs, multiply_adds=weights * size * size
    )


def norm(channels: int, kind: str = "batch") -> Count:
    """A normalisation of the kind that `Architecture.norm` names."""
    vectors = 3 if kind in ("evonorm", "frn") else 2
    batch = kind in ("batch", "frozen")
    return Count(trainable=vectors * channels, statistics=2 * channels * batch)


def half(size: int) -> int:
    """Positions a side behind a stride of 2."""
    return (size + 1) // 2
