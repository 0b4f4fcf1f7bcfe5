"""Times callables against each other in one process: interleaved, with percentiles.

One model measured alone gave anywhere from 25 to 114 ms on a shared machine. So
candidates take turns, in blocks of half a second and in an order drawn anew each
round, medians are compared, and blocks in which other processes were busy are
marked and counted.

    rows = measure([Candidate({"model": "a"}, 1, run_a), Candidate(...)])
"""

import math
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

from keras_resnet.common.errors import InputError
from keras_resnet.common.progress import Progress

BLOCK_SECONDS = 0.5  # long enough to read the kernel's 10 ms clock of processor time
BLOCK_CALLS = 3
CONTENDED = 0.1  # of the machine's processor time, taken by other processes
PERCENTILES = (50, 90, 95, 99)


@dataclass
class Candidate:
    """Something to be timed.

    Attributes:
        labels: what tells it from the others; the first columns of every table.
        batch: images a call; None where a call takes none.
        call: returns when its result is there.
        before: runs before each call and is not timed.
        facts: what else its row says.
        blocks: (seconds of each call, contended) of each round so far.
        joules: what the machine used in each round so far; None where it tells not.
        seconds, repetitions: timed so far.
    """

    labels: dict[str, Any]
    batch: int | None
    call: Callable[[], Any]
    before: Callable[[], Any] = lambda: None
    facts: dict[str, Any] = field(default_factory=dict)
    blocks: list[tuple[list[float], bool]] = field(default_factory=list)
    joules: list[float | None] = field(default_factory=list)
    seconds: float = 0.0
    repetitions: int = 0

    def take_block(self, meter: Callable[[], float | None] = lambda: None) -> None:
        times, contended, joules = self._block(meter)
        self.blocks.append((times, contended))
        self.joules.append(joules)
        self.seconds += sum(times)
        self.repetitions += len(times)

    def _block(self, meter) -> tuple[list[float], bool, float | None]:
        """Seconds a call; whether others had much of the processor; joules used."""
        self.before()
        self.call()
        times: list[float] = []
        energy = meter()
        others_share, start = watch_others(), time.perf_counter()
        while time.perf_counter() - start < BLOCK_SECONDS or len(times) < BLOCK_CALLS:
            self.before()
            begin = time.perf_counter()
            self.call()
            times.append(time.perf_counter() - begin)
        contended = others_share() > CONTENDED
        used = None if energy is None else meter() - energy
        return times, contended, used

    def row(self) -> dict[str, Any]:
        """Its labels, `batch`, `statistics`, the energy of an image, and its facts."""
        return {
            **self.labels,
            "batch": self.batch,
            **statistics(self.blocks, self.batch),
            "joules_per_image": self._joules_per_image(),
            **self.facts,
        }

    def _joules_per_image(self) -> float | None:
        """Over the quiet blocks, or over all where none was quiet."""
        known = [
            (joules, len(times), contended)
            for joules, (times, contended) in zip(self.joules, self.blocks, strict=True)
            if joules is not None
        ]
        if not known or not self.batch:
            return None
        chosen = [block for block in known if not block[2]] or known
        images = sum(calls for _, calls, _ in chosen) * self.batch
        return round(sum(joules for joules, _, _ in chosen) / images, 6)

    def progress(self, min_seconds: float, min_repetitions: int) -> float:
        """How much of its share it has, 0 to 1."""
        return min(1, self.seconds / min_seconds, self.repetitions / min_repetitions)


def measure(
    candidates: Sequence[Candidate],
    *,
    warmup_seconds: float = 1.0,
    warmup_repetitions: int = 5,
    min_seconds: float = 5.0,
    min_repetitions: int = 30,
    seed: int = 0,
    meter: Callable[[], float | None] = lambda: None,
) -> list[dict[str, Any]]:
    """Times the candidates in interleaved rounds, with a progress bar.

    Each is warmed up first. In a round each takes one block: a call that does not
    count (the others have just had the caches), then calls for half a second, at
    least 3. Whoever has its seconds and its repetitions leaves out further rounds.

    Args:
        candidates: what to time.
        warmup_seconds, warmup_repetitions: both are reached before timing.
        min_seconds, min_repetitions: both are reached for each candidate.
        seed: of the order within the rounds.
        meter: gives the joules used so far, as `energy.Meter.read` does.

    Returns:
        A row for each candidate: `Candidate.row`. What was measured stays with the
        candidates also where this is interrupted.

    Raises:
        InputError: min_seconds or min_repetitions is not above 0.
    """
    if not (min_seconds > 0 and min_repetitions > 0):
        raise InputError(
            f"min_seconds={min_seconds}, min_repetitions={min_repetitions}: numbers "
            "above 0 are accepted."
        )
    order = random.Random(seed)
    for candidate in Progress(candidates, desc="warming up", leave=False):
        end = time.perf_counter() + warmup_seconds
        calls = 0
        while time.perf_counter() < end or calls < warmup_repetitions:
            candidate.before()
            candidate.call()
            calls += 1
    form = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
    with Progress(total=len(candidates), desc="measuring", bar_format=form) as bar:
        waiting = list(candidates)
        while waiting:
            order.shuffle(waiting)
            for candidate in waiting:
                bar.set_postfix_str(" ".join(map(str, candidate.labels.values())))
                candidate.take_block(meter)
                done = [c.progress(min_seconds, min_repetitions) for c in candidates]
                bar.update(sum(done) - bar.n)
            waiting = [c for c, part in zip(candidates, done, strict=True) if part < 1]
    return [candidate.row() for candidate in candidates]


def watch_others(ours: Sequence[int] = ()) -> Callable[[], float]:
    """A function that tells what share of the processors' time others have had since.

    Args:
        ours: ids of processes that belong to the measurement, beside this one.
    """
    before, start = _others_seconds(ours), time.perf_counter()

    def share() -> float:
        available = (time.perf_counter() - start) * (os.cpu_count() or 1)
        return (_others_seconds(ours) - before) / available

    return share


def _others_seconds(ours: Sequence[int]) -> float:
    """Processor seconds that others had since the start: processes, other guests."""
    machine = psutil.cpu_times()
    kinds = ("user", "nice", "system", "irq", "softirq", "steal")
    processes = [psutil.Process(), *map(psutil.Process, ours)]
    times = [process.cpu_times() for process in processes]
    busy = sum(getattr(machine, kind, 0) for kind in kinds)
    return busy - sum(process.user + process.system for process in times)


def statistics(
    blocks: Sequence[tuple[list[float], bool]], batch: int | None
) -> dict[str, Any]:
    """What is said of one candidate's samples.

    Args:
        blocks: (seconds of each call, contended) of each round.
        batch: images a call, or None.

    Returns:
        `n` calls; `p50_ms`, `p90_ms`, `p95_ms`, `p99_ms`, `mean_ms`, `min_ms`,
        `max_ms` and `std_ms` (None of one call) over all of them; `images_per_second`,
        from the mean; `contended`, how many of the calls fell into contended blocks;
        `quiet_p50_ms`, the median of the others (None without others);
        `rounds_p50_ms`, each round's median; `uncertain`, the percentiles that want
        more samples; `samples_ms`, each round's calls, to 4 digits, and
        `contended_rounds`, which of the rounds were contended.
    """
    times = np.concatenate([block for block, _ in blocks]) * 1e3
    quiet = [t * 1e3 for block, contended in blocks if not contended for t in block]
    values = {f"p{p}_ms": np.percentile(times, p) for p in PERCENTILES} | {
        "mean_ms": times.mean(),
        "min_ms": times.min(),
        "max_ms": times.max(),
    }
    return {
        "n": len(times),
        **{name: round(float(value), 4) for name, value in values.items()},
        "std_ms": round(float(times.std(ddof=1)), 4) if len(times) > 1 else None,
        "images_per_second": round(batch * 1e3 / times.mean(), 2) if batch else None,
        "contended": len(times) - len(quiet),
        "quiet_p50_ms": round(float(np.median(quiet)), 4) if quiet else None,
        "rounds_p50_ms": [round(float(np.median(b)) * 1e3, 4) for b, _ in blocks],
        "uncertain": [f"p{p}" for p in PERCENTILES if len(times) < samples_for(p)],
        "samples_ms": [[float(f"{t * 1e3:.4g}") for t in b] for b, _ in blocks],
        "contended_rounds": [contended for _, contended in blocks],
    }


def samples_for(percentile: float, confidence: float = 0.99) -> int:
    """How many samples a percentile wants: 11 for the 50th, 64 for the 90th, 662.

    The second largest of n samples is no less than the true percentile, but for the
    case that at most one of them exceeds it, whose probability is
    (1 + n q / p) p^n for p = percentile / 100 and q = 1 - p. Where that is more than
    1 - confidence, the sample does not reach far enough to bound the percentile.
    These are the floors of MLPerf LoadGen's early stopping (mlcommons/inference,
    loadgen/early_stopping.cc).
    """
    p = percentile / 100
    n = 1
    while math.log1p(n * (1 - p) / p) + n * math.log(p) > math.log(1 - confidence):
        n += 1
    return n
