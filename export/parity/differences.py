"""How far an artifact's outputs are from its model's, in figures."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from export.parity.compare import Differences, log_probability, log_softmax
from keras_resnet.common.errors import InputError, ParityError

if TYPE_CHECKING:
    from export.model.signature import Signature

Run = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Figures:
    """What one set of images found.

    Attributes:
        images: how many.
        batches: sizes that went through at once.
        max_abs: largest absolute difference of any output.
        max_rel: largest difference over the reference's spread (largest minus smallest)
            within the set. Of probabilities and of top_k's scores, logarithms are held
            against each other: softmax saturates, and would hide a difference.
        snr_db: power of the reference over power of the difference, in decibels; None
            where nothing differs. Of logits and logarithms each image's mean is taken
            out, which softmax does not see, so that both give the same figure.
        top1_agreement: share of the images whose largest output is the same class;
            None where no classes leave.
        clear_agreement: the same without ties: another class counts as the same if the
            reference has both within 6 times the root mean square of the differences.
    """

    images: int
    batches: tuple[int, ...]
    max_abs: float
    max_rel: float
    snr_db: float | None
    top1_agreement: float | None
    clear_agreement: float | None

    def __str__(self):
        parts = [
            f"largest difference {self.max_abs:.1e}",
            f"{self.max_rel:.1e} of the spread",
            "no noise" if self.snr_db is None else f"SNR {self.snr_db:.0f} dB",
        ]
        if self.top1_agreement is not None:
            parts.append(f"top-1 agreement {self.top1_agreement:.2%}")
        return ", ".join(parts)


@dataclass
class _Set:
    """What the batches of one set add up to."""

    outputs: dict[str, Differences] = field(default_factory=dict)
    absolute: float = 0.0
    images: int = 0
    batches: set[int] = field(default_factory=set)
    margins: list[np.ndarray] = field(default_factory=list)  # 0 where top-1 is equal

    def add(self, name: str, expected, difference, centered: bool = False) -> None:
        total = self.outputs.setdefault(name, Differences())
        total.add(expected, difference, centered=centered)

    def see(self, actual: np.ndarray, expected: np.ndarray) -> None:
        """Takes part in the largest absolute difference."""
        self.absolute = np.maximum(self.absolute, np.abs(actual - expected).max())

    def figures(self) -> Figures:
        outputs = list(self.outputs.values())
        snr_db = min(output.snr_db for output in outputs)
        agreement = clear = None
        if self.margins:
            margins = np.concatenate(self.margins)
            agreement = float(np.mean(margins == 0))
            clear = float(np.mean(outputs[0].is_tie(margins)))
        return Figures(
            images=self.images,
            batches=tuple(sorted(self.batches)),
            max_abs=float(self.absolute),
            max_rel=float(np.max([output.max_rel for output in outputs])),
            snr_db=None if snr_db == math.inf else snr_db,
            top1_agreement=agreement,
            clear_agreement=clear,
        )


def compare(signature: "Signature", run: Run, batches: list[np.ndarray]) -> Figures:
    """One set's images through the artifact and the model.

    Where the batch is open the first image goes through alone as well, so that batch 1
    is seen.

    Raises:
        InputError: the model itself gives NaN or infinity.
        ParityError: the artifact's outputs have other names or shapes.
    """
    found = _Set(images=sum(map(len, batches)))
    if signature.shape[0] is None and len(batches[0]) > 1:
        batches = [*batches, batches[0][:1]]
    for images in batches:
        expected, scores = _expected(signature, images)
        actual = run(images)
        _require_shapes(actual, expected)
        found.batches.add(len(images))
        if signature.output == "top_k":
            _compare_top(found, actual, scores)
        elif scores is not None:
            _compare_classes(found, actual[signature.output], scores, signature.output)
        else:
            for name, value in expected.items():
                value = value.astype("float64")
                found.see(actual[name], value)
                found.add(name, value, actual[name] - value)
    return found.figures()


def _expected(signature, images) -> tuple[dict, np.ndarray | None]:
    """The model's outputs; logits, or logarithms of probabilities, if classes leave."""
    import keras

    with keras.device("cpu"):
        expected = {k: np.asarray(v) for k, v in signature(images).items()}
        scores = None
        if signature.output in ("probabilities", "top_k"):
            logits = replace(signature, output="logits")(images)["logits"]
            scores = log_softmax(np.asarray(logits))
        elif signature.output == "logits":
            scores = expected["logits"].astype("float64")
    if not all(np.isfinite(one).all() for one in expected.values()):
        raise InputError(
            f"model {signature.model.name!r} gives NaN or infinite outputs: there is "
            "nothing to hold an artifact against."
        )
    return expected, scores


def _compare_classes(found: _Set, actual, scores, output: str) -> None:
    best = actual.argmax(-1)
    if output == "probabilities":
        found.see(actual, np.exp(scores))
        actual = log_probability(actual)
    else:
        found.see(actual, scores)
    found.add(output, scores, actual - scores, centered=True)
    found.margins.append(scores.max(-1) - _at(scores, best[:, None])[:, 0])


def _compare_top(found: _Set, actual: dict, scores: np.ndarray) -> None:
    """Holds each place's score against the model's own of that place, and its class by
    the score that the model gives to it: two that are as near may change places."""
    classes = actual["classes"]
    if classes.min() < 0 or classes.max() >= scores.shape[-1]:
        raise ParityError(
            f"the artifact gives classes {classes.min()} to {classes.max()}, and there "
            f"are {scores.shape[-1]}."
        )
    own = -np.sort(-scores, -1)[:, : classes.shape[-1]]
    given = _at(scores, classes)
    found.see(actual["scores"], np.exp(own))
    actual = log_probability(actual["scores"])
    for difference in (actual - own, given - own):
        found.add("top_k", scores, difference, centered=True)
    found.margins.append(own[:, 0] - given[:, 0])


def _at(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, places, -1)


def _require_shapes(actual: dict, expected: dict) -> None:
    shapes = [{k: v.shape for k, v in one.items()} for one in (actual, expected)]
    if shapes[0] != shapes[1]:
        raise ParityError(
            f"the artifact gives {shapes[0]} where the model gives {shapes[1]}."
        )
