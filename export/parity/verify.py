"""Proof that an artifact computes what the Keras model computes.

Real and adversarial images (`export.parity.probes`) go through both. The reference is
the serving function in float32 on the CPU. Every format and precision is held here,
each precision against a gate of its own.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from export.parity.differences import Figures, Run, compare
from export.parity.probes import probes
from keras_resnet.common.errors import InputError, ParityError

if TYPE_CHECKING:
    from export.model.signature import Signature

TYPICAL = ("real", "noise")  # the first of them that there is


@dataclass(frozen=True)
class Gate:
    """What an artifact must keep to; None where a figure is reported alone.

    Attributes:
        max_rel: most that `Figures.max_rel` may be.
        snr_db: least that `Figures.snr_db` may be.
        agreement: least that `Figures.clear_agreement` may be.
        everywhere: whether every set is held, or the typical images alone: the real
            ones, or noise where there are none. The others are reported.
    """

    max_rel: float | None = None
    snr_db: float | None = None
    agreement: float | None = None
    everywhere: bool = False

    def admits(self, found: Figures) -> bool:
        snr = math.inf if found.snr_db is None else found.snr_db
        agreement = 1 if found.clear_agreement is None else found.clear_agreement
        return (  # NaN is not
            (self.max_rel is None or found.max_rel <= self.max_rel)
            and (self.snr_db is None or snr >= self.snr_db)
            and (self.agreement is None or agreement >= self.agreement)
        )

    def __str__(self):
        parts = {
            "a difference of {:.0e} of the spread at most": self.max_rel,
            "{:.0f} dB at least": self.snr_db,
            "agreement of {:.0%} but for ties": self.agreement,
        }
        given = [text.format(one) for text, one in parts.items() if one is not None]
        return ", ".join(given)


# The figures are of noise through a small net of every mechanism in the table, with
# random weights, and with ranges of that same noise. There a kernel that is turned or
# transposed, and channels or statistics in another order, give 7 to 31 dB, and 2e-2 of
# the spread: only the first two gates can tell such damage from rounding, so that a
# lower precision is made of a float32 form that has passed the first.
GATES = {
    "float32": Gate(max_rel=1e-4, everywhere=True),  # 5e-7 at most
    "float16": Gate(snr_db=45, agreement=0.99),  # 62 dB at least
    # 26 dB at least; ResNet-50 itself, at 224x224: 25 dB
    "int8": Gate(snr_db=15, agreement=0.95),
    "int8-tensorrt": Gate(snr_db=15, agreement=0.95),
    "int8-weights": Gate(snr_db=25, agreement=0.98),  # 28 dB at least
}


@dataclass(frozen=True)
class Parity:
    """What the proof found.

    Attributes:
        precision: of the artifact.
        gate: what the figures were held against.
        held: names of the sets that were held against it; the others are reported.
        sets: figures by the name of the set.
    """

    precision: str
    gate: Gate
    held: tuple[str, ...]
    sets: dict[str, Figures]

    @property
    def worst(self) -> Figures:
        """The figures of all that was held, each at its worst."""
        found = [self.sets[name] for name in self.held]

        def worst(name, choose):
            values = [getattr(one, name) for one in found]
            return choose((one for one in values if one is not None), default=None)

        return Figures(
            images=sum(one.images for one in found),
            batches=tuple(sorted({size for one in found for size in one.batches})),
            max_abs=worst("max_abs", max),
            max_rel=worst("max_rel", max),
            snr_db=worst("snr_db", min),
            top1_agreement=worst("top1_agreement", min),
            clear_agreement=worst("clear_agreement", min),
        )

    def to_json(self) -> dict:
        """The worst figures, the gate, and the figures by set; None if not finite."""
        return _finite(asdict(self.worst) | asdict(self))

    def __str__(self):
        real = self.sets["real"].images if "real" in self.sets else "no"
        others = sum(one.images for name, one in self.sets.items() if name != "real")
        found = f"{real} real and {others} other images: {self.worst}"
        return f"{found} (gate: {self.gate})"


def prove(
    signature: "Signature",
    run: Run,
    real: Sequence[np.ndarray] | None = None,
    *,
    precision: str = "float32",
    tolerance: float | None = None,
) -> Parity:
    """Holds an artifact against the model, with batches of 1 and of several.

    Args:
        signature: the serving function that the artifact was made from.
        run: the artifact: images as the signature takes them, (N, height, width,
            channels), to arrays by the output's name.
        real: uint8 images: (N, height, width, channels), or a list of (height, width,
            channels) of any sizes; None or empty if there are none.
        precision: of the artifact; a key of `GATES`.
        tolerance: largest difference allowed, as a share of the outputs' spread; None
            takes the gate's.

    Raises:
        InputError: unknown precision, a tolerance that is no positive number, or a
            model that gives NaN or infinity.
        ParityError: the artifact does not keep to the gate.
    """
    gate = gate_of(precision, tolerance)
    sets = {
        name: compare(signature, run, batches)
        for name, batches in probes(signature, real).items()
    }
    typical = next(name for name in TYPICAL if name in sets)
    held = tuple(sets) if gate.everywhere else (typical,)
    for name in held:
        if not gate.admits(sets[name]):
            raise ParityError(
                f"the artifact differs from the model on {name!r} images: "
                f"{sets[name]}; the gate for {precision} is {gate}."
            )
    return Parity(precision, gate, held, sets)


def gate_of(precision: str, tolerance: float | None = None) -> Gate:
    """The gate of a precision, with another tolerance if one is given.

    Raises:
        InputError: unknown precision, or a tolerance that is no positive number.
    """
    if precision not in GATES:
        raise InputError(f"precision={precision!r}: accepted are {', '.join(GATES)}.")
    if tolerance is None:
        return GATES[precision]
    if not 0 < tolerance < math.inf:
        raise InputError(f"tolerance={tolerance}: a number above 0 is needed.")
    return replace(GATES[precision], max_rel=tolerance)


def _finite(value):
    """JSON has neither NaN nor infinity."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
