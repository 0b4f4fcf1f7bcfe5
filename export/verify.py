"""Proof that an artifact computes what the Keras model computes.

Real and random images go through both. The reference is the serving function in
float32 on the CPU. The gate is on the difference alone: where it is within the
tolerance, another top-1 can only come from a tie that is as narrow.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from keras_resnet.errors import InputError

if TYPE_CHECKING:
    from export.signature import Signature

# Of the logits' spread. Rounding in float32 was measured at up to 2e-6 for random
# weights of every family; a permuted kernel gives 1e-2 and more.
TOLERANCE = 1e-4
FLOOR = 1e-30  # of a probability, so that it has a logarithm
BATCH = 64  # images that go through at once
RANDOM = 4  # images in each random set
OPEN_SIZE = (65, 96)  # tried where the model takes any size: an odd and an even side
SEED = 0


class ParityError(InputError):
    """An artifact differs from its model by more than the tolerance.

    At the command line this is one line and exit status 2, as every InputError is.
    """


@dataclass(frozen=True)
class Parity:
    """What the proof found.

    Attributes:
        images: how many, by kind: "real" and "random".
        max_abs: largest absolute difference of any output.
        max_rel: largest difference of the logits over their spread (largest minus
            smallest) within a set of images. Logarithms stand for the logits where
            probabilities leave: softmax saturates, and would hide a difference.
        top1_agreement: share of the images whose largest output is the same class.
        tolerance: what max_rel was held against.
    """

    images: dict[str, int]
    max_abs: float
    max_rel: float
    top1_agreement: float
    tolerance: float

    def to_json(self) -> dict:
        return asdict(self)

    def __str__(self):
        real = self.images["real"] or "no"
        return (
            f"{real} real and {self.images['random']} random images: largest "
            f"difference {self.max_abs:.1e}, {self.max_rel:.1e} of the logits' spread "
            f"(tolerance {self.tolerance:.0e}), top-1 agreement "
            f"{self.top1_agreement:.2%}"
        )


def prove(
    signature: "Signature",
    run: Callable[[np.ndarray], np.ndarray],
    real: np.ndarray | None = None,
    tolerance: float = TOLERANCE,
) -> Parity:
    """Holds an artifact against the model, with batches of 1 and of several.

    Args:
        signature: the serving function that the artifact was made from.
        run: the artifact: (N, height, width, channels) to (N, classes).
        real: uint8 pictures, (N, height, width, channels); None or empty if there
            are none.
        tolerance: largest difference allowed, as a share of the logits' spread.

    Raises:
        ParityError: the difference is larger, or the outputs' shape is another.
        InputError: the model's own outputs are not finite, or the tolerance is not a
            finite number above 0.
    """
    if not 0 < tolerance < np.inf:
        raise InputError(f"tolerance={tolerance}: a finite number above 0 is needed.")
    sets = _random_sets(signature)
    count = {"real": 0, "random": sum(map(len, sets))}
    if real is not None and len(real):
        count["real"] = len(real)
        sets.append(entering(signature, real))
    found = np.array([_compare(signature, run, images) for images in sets])
    parity = Parity(
        images=count,
        max_abs=float(found[:, 0].max()),
        max_rel=float(found[:, 1].max()),
        top1_agreement=float(found[:, 2].sum() / sum(count.values())),
        tolerance=tolerance,
    )
    if not parity.max_rel <= tolerance:  # so that NaN fails as well
        raise ParityError(f"the artifact differs from the model: {parity}.")
    return parity


def sides(signature: "Signature") -> tuple[int, int]:
    """Height and width to prove at, where the signature leaves them open too."""
    known = signature.preprocessing.size if signature.preprocessing else OPEN_SIZE
    return tuple(a or b for a, b in zip(signature.shape[1:3], known, strict=True))


def entering(signature: "Signature", pictures: np.ndarray) -> np.ndarray:
    """Pictures of 0..255 as the signature's input; as they are if nothing says how."""
    if signature.preprocessing and not signature.baked_in:
        pictures = np.asarray(signature.preprocessing.normalize(pictures))
    return pictures.astype(signature.dtype)


def _random_sets(signature: "Signature") -> list[np.ndarray]:
    """Sets of one range each, since a set's spread is what its differences are
    held against: pictures as such, dark and bright; or normal, large, negative."""
    generator = np.random.default_rng(SEED)
    shape = (RANDOM, *sides(signature), signature.shape[-1])
    if np.issubdtype(np.dtype(signature.dtype), np.integer):
        ranges = (0, 256), (0, 32), (224, 256)
        sets = [generator.integers(*limits, shape) for limits in ranges]
    else:
        normal = generator.normal(size=shape)
        sets = [normal, 50 * generator.normal(size=shape), -np.abs(normal)]
    return [one.astype(signature.dtype) for one in sets]


def _compare(signature, run, images) -> tuple[float, float, int]:
    """Largest difference, largest share of the spread, number of equal top-1."""
    import keras

    batches = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
    with keras.device("cpu"):
        expected = np.concatenate([np.asarray(signature(one)) for one in batches])
    if not np.isfinite(expected).all():
        raise InputError(
            f"model {signature.model.name!r} gives NaN or infinite outputs: there is "
            "nothing to hold an artifact against."
        )
    actual = np.concatenate([run(one) for one in batches])
    if actual.shape != expected.shape:
        raise ParityError(
            f"the artifact gives {actual.shape} where the model gives {expected.shape}."
        )
    # The first image alone as well, so that batch 1 is seen.
    pair = np.concatenate([actual, run(images[:1])])
    reference = np.concatenate([expected, expected[:1]])
    absolute = np.abs(pair - reference).max()
    if signature.output == "probabilities":
        pair, reference = (np.log(np.maximum(x, FLOOR)) for x in (pair, reference))
    difference, spread = np.abs(pair - reference).max(), np.ptp(reference)
    relative = difference / spread if spread else np.where(difference, np.inf, 0)
    return absolute, relative, (actual.argmax(-1) == expected.argmax(-1)).sum()
