"""Verifies that an artifact computes what the Keras model computes.

    parity = verify(signature, run, images)
    parity.worst.max_rel      # 2.1e-06, of the outputs' spread

The user's images, noise and adversarial images (`export.parity.images`) go through the
artifact and through the serving function in float32 on the CPU. Every precision has a
tolerance of its own; the formats share them.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from export.parity.compare import Differences, log_probability, log_softmax
from export.parity.images import ImageArrays, verification_images
from keras_resnet.common.errors import InputError, ParityError
from keras_resnet.common.numbers import check_choice, check_number

if TYPE_CHECKING:
    from export.model.signature import Signature

TYPICAL_SETS = ("real", "noise")  # the first of them that there is

# An artifact: images as the signature takes them, NHWC, to the outputs by name.
Run = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Figures:
    """How far an artifact is from the model on one set of images.

    Attributes:
        images: how many.
        batches: sizes that went through at once.
        max_abs: largest absolute difference of any output.
        max_rel: largest difference over the reference's spread (largest minus smallest)
            within the set; of probabilities and of top_k's scores, of their logarithms,
            as `export.parity.compare` has it.
        snr_db: power of the reference over power of the difference, in decibels, of the
            output with the lowest; None where nothing differs.
        top1_agreement: share of the images whose largest output is the same class;
            None where the outputs are not of classes.
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


@dataclass(frozen=True)
class Tolerance:
    """How far an artifact may be from the model; None where a figure is not limited.

    Attributes:
        max_rel: most that `Figures.max_rel` may be.
        snr_db: least that `Figures.snr_db` may be.
        agreement: least that `Figures.clear_agreement` may be.
        all_sets: whether every set must keep to it, or the typical images alone: the
            real ones, or noise where there are none. The others are reported.
    """

    max_rel: float | None = None
    snr_db: float | None = None
    agreement: float | None = None
    all_sets: bool = False

    def allows(self, figures: Figures) -> bool:
        snr_db = math.inf if figures.snr_db is None else figures.snr_db
        agreement = 1 if figures.clear_agreement is None else figures.clear_agreement
        return (  # NaN is not allowed
            (self.max_rel is None or figures.max_rel <= self.max_rel)
            and (self.snr_db is None or snr_db >= self.snr_db)
            and (self.agreement is None or agreement >= self.agreement)
        )

    def __str__(self):
        parts = []
        if self.max_rel is not None:
            parts.append(f"a difference of {self.max_rel:.0e} of the spread at most")
        if self.snr_db is not None:
            parts.append(f"{self.snr_db:.0f} dB at least")
        if self.agreement is not None:
            parts.append(f"agreement of {self.agreement:.0%} except for ties")
        return ", ".join(parts)


# The figures in comments are of noise through a small net of every mechanism in the
# table, with random weights, and with calibration ranges of that same noise. There a
# kernel that is flipped or transposed, and channels or statistics in another order,
# give 7 to 31 dB, and 2e-2 of the spread: only the first two tolerances can tell such
# damage from rounding. That is why a lower precision is made of a float32 form that
# has passed the first.
TOLERANCES = {
    "float32": Tolerance(max_rel=1e-4, all_sets=True),  # 5e-7 at most
    "float16": Tolerance(snr_db=45, agreement=0.99),  # 62 dB at least
    # 26 dB at least; ResNet-50 itself, at 224x224: 25 dB
    "int8": Tolerance(snr_db=15, agreement=0.95),
    "int8-tensorrt": Tolerance(snr_db=15, agreement=0.95),
    "int8-weights": Tolerance(snr_db=25, agreement=0.98),  # 28 dB at least
}


@dataclass(frozen=True)
class Parity:
    """What the verification measured.

    Attributes:
        precision: of the artifact.
        tolerance: what the artifact had to keep to.
        checked: names of the sets that had to keep to it; the others are reported.
        sets: figures by the name of the set.
    """

    precision: str
    tolerance: Tolerance
    checked: tuple[str, ...]
    sets: dict[str, Figures]

    @property
    def worst(self) -> Figures:
        """The figures of all sets that were checked, each at its worst."""
        checked = [self.sets[name] for name in self.checked]

        def worst(name: str, choose: Callable) -> Any:
            values = [getattr(f, name) for f in checked]
            return choose((v for v in values if v is not None), default=None)

        return Figures(
            images=sum(f.images for f in checked),
            batches=tuple(sorted({size for f in checked for size in f.batches})),
            max_abs=worst("max_abs", max),
            max_rel=worst("max_rel", max),
            snr_db=worst("snr_db", min),
            top1_agreement=worst("top1_agreement", min),
            clear_agreement=worst("clear_agreement", min),
        )

    def to_json(self) -> dict:
        """The worst figures, the tolerance, and the figures by set; None for numbers
        that are not finite."""
        return _finite(asdict(self.worst) | asdict(self))

    def __str__(self):
        real = self.sets["real"].images if "real" in self.sets else "no"
        others = sum(f.images for name, f in self.sets.items() if name != "real")
        images = f"{real} real and {others} other images"
        return f"{images}: {self.worst} (tolerance: {self.tolerance})"


def verify(
    signature: "Signature",
    run: Run,
    real: ImageArrays | None = None,
    *,
    precision: str = "float32",
    tolerance: float | None = None,
) -> Parity:
    """Compares an artifact with the model, in batches of 1 and of several.

    Args:
        signature: the serving function that the artifact was made from.
        run: the artifact: images as the signature takes them, (N, height, width,
            channels), to arrays by the output's name.
        real: uint8 images: (N, height, width, channels), or a list of (height, width,
            channels) of any sizes; None or empty if there are none.
        precision: of the artifact; a key of `TOLERANCES`.
        tolerance: largest difference allowed, as a share of the outputs' spread; None
            takes the precision's.

    Raises:
        InputError: unknown precision, a tolerance that is no positive number, or a
            model that gives NaN or infinity.
        ParityError: the artifact does not keep to the tolerance.
    """
    check_choice("precision", precision, TOLERANCES)
    allowed = TOLERANCES[precision]
    if tolerance is not None:
        check_number("tolerance", tolerance, above=0)
        allowed = replace(allowed, max_rel=tolerance)
    sets = {
        name: compare_on(signature, run, batches)
        for name, batches in verification_images(signature, real).items()
    }
    typical = next(name for name in TYPICAL_SETS if name in sets)
    checked = tuple(sets) if allowed.all_sets else (typical,)
    for name in checked:
        if not allowed.allows(sets[name]):
            raise ParityError(
                f"the artifact differs from the model on {name!r} images: "
                f"{sets[name]}; the tolerance for {precision} is {allowed}."
            )
    return Parity(precision, allowed, checked, sets)


@dataclass
class _Totals:
    """What the batches of one set add up to."""

    outputs: dict[str, Differences] = field(
        default_factory=lambda: defaultdict(Differences)
    )
    max_abs: float = 0.0
    # By how much the model has its best class above the artifact's best one.
    margins: list[np.ndarray] = field(default_factory=list)

    def add_absolute(self, expected: np.ndarray, actual: np.ndarray) -> None:
        self.max_abs = np.maximum(self.max_abs, np.abs(actual - expected).max())

    def add_classes(self, name: str, scores: np.ndarray, actual: np.ndarray) -> None:
        """Adds logits or probabilities; `scores` are the model's logits, or the
        logarithms of its probabilities."""
        best = actual.argmax(-1)[:, None]
        if name == "probabilities":
            self.add_absolute(np.exp(scores), actual)
            actual = log_probability(actual)
        else:
            self.add_absolute(scores, actual)
        self.outputs[name].add(scores, actual - scores, centered=True)
        self.margins.append(scores.max(-1) - np.take_along_axis(scores, best, -1)[:, 0])

    def add_top_k(self, scores: np.ndarray, actual: dict) -> None:
        """Compares each place's score with the model's score of that place, and each
        place's class by the score that the model gives to it, since two classes that
        are as near may change places. `scores` are logarithms of probabilities."""
        classes = actual["classes"]
        if classes.min() < 0 or classes.max() >= scores.shape[-1]:
            raise ParityError(
                f"the artifact gives classes {classes.min()} to {classes.max()}, and "
                f"there are {scores.shape[-1]}."
            )
        best = -np.sort(-scores, -1)[:, : classes.shape[-1]]
        of_classes = np.take_along_axis(scores, classes, -1)
        self.add_absolute(np.exp(best), actual["scores"])
        for values in (log_probability(actual["scores"]), of_classes):
            self.outputs["top_k"].add(scores, values - best, centered=True)
        self.margins.append(best[:, 0] - of_classes[:, 0])


def compare_on(signature: "Signature", run: Run, batches: list[np.ndarray]) -> Figures:
    """The figures of one set, whose images go through the artifact and the model.

    Where the batch is open the first image goes through alone as well, so that batch 1
    is compared too.

    Raises:
        InputError: the model itself gives NaN or infinity.
        ParityError: the artifact's outputs have other names or shapes.
    """
    images = sum(map(len, batches))
    if signature.shape[0] is None and len(batches[0]) > 1:
        batches = [*batches, batches[0][:1]]
    totals = _Totals()
    for batch in batches:
        expected, scores = _expected(signature, batch)
        actual = run(batch)
        shapes, needed = (
            {name: values.shape for name, values in outputs.items()}
            for outputs in (actual, expected)
        )
        if shapes != needed:
            raise ParityError(
                f"the artifact gives {shapes} where the model gives {needed}."
            )
        if scores is None:
            for name, value in expected.items():
                value = value.astype("float64")
                totals.add_absolute(value, actual[name])
                totals.outputs[name].add(value, actual[name] - value)
        elif signature.output == "top_k":
            totals.add_top_k(scores, actual)
        else:
            totals.add_classes(signature.output, scores, actual[signature.output])
    outputs = list(totals.outputs.values())
    snr_db = min(output.snr_db for output in outputs)
    top1_agreement = clear_agreement = None
    if totals.margins:
        margins = np.concatenate(totals.margins)
        top1_agreement = float(np.mean(margins == 0))
        clear_agreement = float(np.mean(outputs[0].is_tie(margins)))
    return Figures(
        images=images,
        batches=tuple(sorted({len(batch) for batch in batches})),
        max_abs=float(totals.max_abs),
        max_rel=float(np.max([output.max_rel for output in outputs])),
        snr_db=None if snr_db == math.inf else snr_db,
        top1_agreement=top1_agreement,
        clear_agreement=clear_agreement,
    )


def _expected(signature, images) -> tuple[dict, np.ndarray | None]:
    """The model's outputs; logits, or logarithms of probabilities, of outputs of
    classes, else None."""
    import keras

    with keras.device("cpu"):
        expected = {k: np.asarray(v) for k, v in signature(images).items()}
        scores = None
        if signature.output in ("probabilities", "top_k"):
            logits = replace(signature, output="logits")(images)["logits"]
            scores = log_softmax(np.asarray(logits))
        elif signature.output == "logits":
            scores = expected["logits"].astype("float64")
    if not all(np.isfinite(values).all() for values in expected.values()):
        raise InputError(
            f"model {signature.model.name!r} gives NaN or infinite outputs: there is "
            "nothing to compare an artifact with."
        )
    return expected, scores


def _finite(value: Any) -> Any:
    """JSON has neither NaN nor infinity."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
