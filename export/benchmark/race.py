"""The ways to run a file that `export.tune` tries, and the race between them."""

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from export.benchmark.judge import Judgement
from export.benchmark.measure import Candidate, measure
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


class Entry:
    """Settings in the race, with their session.

    Attributes:
        settings, session: what runs.
        candidate: for the timing.
        judgement: how accurate it is, once that was asked.
        row, milliseconds: what was measured last, and its median.
    """

    def __init__(self, path: str | Path, settings: Settings, images: np.ndarray):
        self.settings = settings
        self.session = Session(
            path, **settings.session_arguments(), largest_input=images.shape
        )
        self.candidate = Candidate(
            {"settings": name_of(settings)},
            len(images),
            functools.partial(self.session.run, images),
        )
        self.judgement: Judgement | None = None
        self.row: dict[str, Any] = {}
        self.milliseconds = math.inf


def enter(
    path: str | Path, settings: Iterable[Settings], images: np.ndarray
) -> list[Entry]:
    """Those that can run the images; says why others cannot."""
    found = []
    for one in settings:
        try:
            entry = Entry(path, one, images)
            entry.session.run(images)
        except InputError as error:
            print(f"without {name_of(one)}: {error}")
        else:
            found.append(entry)
    return found


def race(entries: Sequence[Entry]) -> list[Entry]:
    """The two fastest, best first.

    Interleaved: each round drops the slower half and takes twice as long; the last is
    between two.
    """
    seconds, left = FIRST_SECONDS, list(entries)
    while True:
        rows = measure(
            [one.candidate for one in left],
            warmup_seconds=seconds / 4,
            warmup_repetitions=2,
            min_seconds=seconds,
            min_repetitions=5,
        )
        # Quiet samples are compared with quiet ones alone.
        quiet = all(row["quiet_p50_ms"] for row in rows)
        for entry, row in zip(left, rows, strict=True):
            entry.row = row
            entry.milliseconds = row["quiet_p50_ms" if quiet else "p50_ms"]
        left.sort(key=lambda one: one.milliseconds)
        if len(left) <= FINALISTS:
            return left
        left = left[: max(FINALISTS, len(left) // 2)]
        seconds *= 2


def kinds(batch: int) -> list[Settings]:
    """One of each kind that loads here; says what does not."""
    found = []
    for one in KINDS:
        reasons = [f"{name}: {why}" for name in one.providers if (why := why_not(name))]
        if not reasons:
            found.append(replace(one, batch=batch))
        elif one.precision in (None, "float32"):
            print(f"without {reasons[0]}")
    return found


def variants(kind: Entry) -> list[Settings]:
    """What else can be set of a kind: threads, spinning, options."""
    first = kind.settings.providers[0]
    cores = psutil.cpu_count(logical=False) or 1
    threads = sorted({min(2**n, cores) for n in range(cores.bit_length() + 1)})
    on_gpu = first in ("cuda", "tensorrt")
    return [
        replace(kind.settings, threads=count, spinning=spinning, options=options)
        for count in ([None] if on_gpu else threads)
        for spinning in ((True, False) if first == "cpu" else (True,))
        for options in OPTIONS[first]
    ]


def name_of(settings: Settings) -> str:
    """As a person reads it: "cpu 2 threads"."""
    words = ["+".join(settings.providers), settings.precision]
    words.append(f"{settings.threads} threads" if settings.threads else None)
    words.append(None if settings.spinning else "no spinning")
    words += [f"{name}={value}" for name, value in settings.options.items()]
    return " ".join(filter(None, words))
