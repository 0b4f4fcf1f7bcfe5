"""The search of `export.tune`: ways to run a file, their accuracy and their speed."""

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from export.benchmark.measure import Candidate, measure
from export.parity.compare import output_snr_db, top1_classes
from export.runtime import Predictor
from export.runtime.providers import why_not
from export.runtime.session import Session
from export.runtime.settings import OPENVINO_PRECISIONS, Settings
from keras_resnet.common.errors import InputError

FINALISTS = 2
FIRST_SECONDS = 0.5  # of each candidate's first round; doubled in each that follows

# One of each kind. What CUDA cannot do is left to the CPU.
KINDS = (
    Settings(providers=("cpu",)),
    *(
        Settings(providers=("openvino",), precision=name)
        for name in OPENVINO_PRECISIONS
    ),
    Settings(providers=("cuda", "cpu")),
    Settings(providers=("tensorrt", "cuda", "cpu")),
)
OPTIONS: dict[str, tuple[dict[str, str], ...]] = {  # tried of each first provider
    "cpu": ({},),
    "openvino": ({}, {"ENABLE_CPU_PINNING": "NO"}, {"PERFORMANCE_HINT": "LATENCY"}),
    "cuda": (
        {},
        {"prefer_nhwc": "1"},
        {"fuse_conv_bias": "1"},
        {"prefer_nhwc": "1", "fuse_conv_bias": "1"},
    ),
    "tensorrt": ({}, {"trt_builder_optimization_level": "5"}),
}


class SettingsCandidate(Candidate):
    """Settings of a file to be timed, with their session.

    Attributes:
        settings, session: what runs.
        accuracy: None until `Requirement.accepts` measured it.
        measured, milliseconds: the row that `rank` measured last, and its median.
    """

    def __init__(self, path: str | Path, settings: Settings, images: np.ndarray):
        self.settings = settings
        self.session = Session(
            path, **settings.session_arguments(), largest_input=images.shape
        )
        super().__init__(
            {"settings": describe(settings)},
            len(images),
            functools.partial(self.session.run, images),
        )
        self.accuracy: Accuracy | None = None
        self.measured: dict[str, Any] = {}
        self.milliseconds = math.inf


def load_candidates(
    path: str | Path, settings: Iterable[Settings], images: np.ndarray
) -> list[SettingsCandidate]:
    """Those that can run the images; prints why others cannot."""
    candidates = []
    for choice in settings:
        try:
            candidate = SettingsCandidate(path, choice, images)
            candidate.call()
        except InputError as error:
            print(f"without {describe(choice)}: {error}")
        else:
            candidates.append(candidate)
    return candidates


def rank(candidates: Sequence[SettingsCandidate]) -> list[SettingsCandidate]:
    """The two fastest, best first.

    Interleaved: each round drops the slower half and takes twice as long; the last is
    between two.
    """
    seconds, left = FIRST_SECONDS, list(candidates)
    while True:
        rows = measure(
            left,
            warmup_seconds=seconds / 4,
            warmup_repetitions=2,
            min_seconds=seconds,
            min_repetitions=5,
        )
        # Quiet samples are compared with quiet ones alone.
        quiet = all(row["quiet_p50_ms"] for row in rows)
        for candidate, row in zip(left, rows, strict=True):
            candidate.measured = row
            candidate.milliseconds = row["quiet_p50_ms" if quiet else "p50_ms"]
        left.sort(key=lambda candidate: candidate.milliseconds)
        if len(left) <= FINALISTS:
            return left
        left = left[: max(FINALISTS, len(left) // 2)]
        seconds *= 2


def kinds(batch: int) -> list[Settings]:
    """One of each kind that loads here; prints what does not."""
    loading = []
    for kind in KINDS:
        reasons = [
            f"{name}: {why}" for name in kind.providers if (why := why_not(name))
        ]
        if not reasons:
            loading.append(replace(kind, batch=batch))
        elif kind.precision in (None, "float32"):
            print(f"without {reasons[0]}")
    return loading


def variants(kind: Settings) -> list[Settings]:
    """What else can be set of a kind: threads, spinning, options."""
    first = kind.providers[0]
    cores = psutil.cpu_count(logical=False) or 1
    threads = sorted({min(2**n, cores) for n in range(cores.bit_length() + 1)})
    on_gpu = first in ("cuda", "tensorrt")
    return [
        replace(kind, threads=count, spinning=spinning, options=options)
        for count in ([None] if on_gpu else threads)
        for spinning in ((True, False) if first == "cpu" else (True,))
        for options in OPTIONS[first]
    ]


def describe(settings: Settings) -> str:
    """As a person reads it: "cpu 2 threads"."""
    words = ["+".join(settings.providers), settings.precision]
    words.append(f"{settings.threads} threads" if settings.threads else None)
    words.append(None if settings.spinning else "no spinning")
    words += [f"{name}={value}" for name, value in settings.options.items()]
    return " ".join(filter(None, words))


@dataclass(frozen=True)
class Accuracy:
    """How far a run is from the plain run on the CPU, on the same images.

    Attributes:
        images: how many.
        snr_db: power of the outputs over that of their differences, in decibels, of
            the output with the lowest; infinite where nothing differs.
        agreement: share of the images with the same most probable class; None where
            no classes leave the file.
        drop_points: percentage points of top-1 accuracy that are lost; None without
            labels.
    """

    images: int
    snr_db: float
    agreement: float | None
    drop_points: float | None


def accuracy_of(
    actual: dict[str, np.ndarray],
    expected: dict[str, np.ndarray],
    labels: np.ndarray | None = None,
) -> Accuracy:
    """Compares outputs, by name, of the same images; with labels if they are known."""
    drop, agreement = None, None
    right, classes = top1_classes(expected), top1_classes(actual)
    if right is not None and classes is not None:
        agreement = float(np.mean(right == classes))
        if labels is not None:
            drop = float(100 * (np.mean(right == labels) - np.mean(classes == labels)))
    names = [name for name, output in expected.items() if output.dtype.kind == "f"]
    if not names:
        raise InputError(f"outputs {', '.join(expected)}: none is of floating point.")
    return Accuracy(
        images=len(expected[names[0]]),
        snr_db=min(output_snr_db(name, expected[name], actual[name]) for name in names),
        agreement=agreement,
        drop_points=drop,
    )


@dataclass(frozen=True)
class Requirement:
    """How accurate settings must be.

    Attributes:
        images, labels: evaluation images as a predictor takes them; labels or None.
        expected: outputs of the plain run on the CPU, by name.
        floor: the least SNR in dB where there are no labels.
        max_drop: the most points of top-1 accuracy lost where there are labels.
    """

    images: Any
    labels: np.ndarray | None
    expected: dict[str, np.ndarray]
    floor: float
    max_drop: float

    def accepts(self, candidate: SettingsCandidate) -> bool:
        """Measures its accuracy; prints where it is too low."""
        predictor = Predictor(candidate.session, candidate.settings.batch)
        outputs = predictor.outputs(self.images)
        accuracy = accuracy_of(outputs, self.expected, self.labels)
        candidate.accuracy = accuracy
        if accuracy.drop_points is None:
            good = accuracy.snr_db >= self.floor
            figure = f"{accuracy.snr_db:.1f} dB"
        else:
            finite = accuracy.snr_db > -math.inf
            good = finite and accuracy.drop_points <= self.max_drop
            figure = f"-{accuracy.drop_points:.2f} points" if finite else "not finite"
        if not good:
            print(f"not accurate enough: {describe(candidate.settings)} ({figure})")
        return good
