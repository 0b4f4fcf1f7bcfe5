"""Times callables against each other in one process: interleaved, with percentiles.

One model measured alone gave anywhere from 25 to 114 ms on a shared machine. So
candidates take turns, in blocks of half a second and in an order drawn anew each
round, medians are compared, and blocks in which other processes were busy are
marked and counted.

    rows = measure([Candidate({"model": "a"}, 1, run_a), Candidate(...)])
    print(table(rows))
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
from tqdm import tqdm

BLOCK_SECONDS = 0.5  # long enough to read the kernel's 10 ms clock of processor time
BLOCK_CALLS = 3
CONTENDED = 0.1  # of the machine's processor time, taken by other processes
PERCENTILES = (50, 90, 99)


@dataclass
class Candidate:
    """Something to be timed.

    Attributes:
        labels: what tells it from the others; the first columns of every table.
        batch: images a call; None where a call takes none.
        call: returns when its result is there.
        before: runs before each call and is not timed.
        blocks: (seconds of each call, contended) of each round so far.
        seconds, repetitions: timed so far.
    """

    labels: dict[str, Any]
    batch: int | None
    call: Callable[[], Any]
    before: Callable[[], Any] = lambda: None
    blocks: list[tuple[list[float], bool]] = field(default_factory=list)
    seconds: float = 0.0
    repetitions: int = 0

    def take_block(self) -> None:
        times, contended = self._block()
        self.blocks.append((times, contended))
        self.seconds += sum(times)
        self.repetitions += len(times)

    def _block(self) -> tuple[list[float], bool]:
        """Seconds of each call, and whether others had much of the processor."""
        self.before()
        self.call()
        times: list[float] = []
        others, start = _others_seconds(), time.perf_counter()
        while time.perf_counter() - start < BLOCK_SECONDS or len(times) < BLOCK_CALLS:
            self.before()
            begin = time.perf_counter()
            self.call()
            times.append(time.perf_counter() - begin)
        available = (time.perf_counter() - start) * os.cpu_count()
        return times, _others_seconds() - others > CONTENDED * available

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

    Returns:
        A row for each candidate: its labels, `batch`, and as in `statistics`.
    """
    order = random.Random(seed)
    for candidate in tqdm(candidates, desc="warming up", leave=False):
        end = time.perf_counter() + warmup_seconds
        calls = 0
        while time.perf_counter() < end or calls < warmup_repetitions:
            candidate.before()
            candidate.call()
            calls += 1
    form = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
    with tqdm(total=len(candidates), desc="measuring", bar_format=form) as bar:
        waiting = list(candidates)
        while waiting:
            order.shuffle(waiting)
            for candidate in waiting:
                bar.set_postfix_str(" ".join(map(str, candidate.labels.values())))
                candidate.take_block()
                done = [c.progress(min_seconds, min_repetitions) for c in candidates]
                bar.update(sum(done) - bar.n)
            waiting = [c for c, part in zip(candidates, done, strict=True) if part < 1]
    return [
        {**c.labels, "batch": c.batch, **statistics(c.blocks, c.batch)}
        for c in candidates
    ]


def _others_seconds() -> float:
    """Processor seconds that others had since the start: processes, other guests."""
    machine, own = psutil.cpu_times(), psutil.Process().cpu_times()
    kinds = ("user", "nice", "system", "irq", "softirq", "steal")
    return sum(getattr(machine, kind, 0) for kind in kinds) - own.user - own.system


def statistics(
    blocks: Sequence[tuple[list[float], bool]], batch: int | None
) -> dict[str, Any]:
    """What is said of one candidate's samples.

    Args:
        blocks: (seconds of each call, contended) of each round.
        batch: images a call, or None.

    Returns:
        `n` calls; `p50_ms`, `p90_ms`, `p99_ms`, `mean_ms`, `std_ms`, `min_ms` and
        `max_ms` over all of them; `images_per_second`, from the mean; `contended`,
        how many of the calls fell into contended blocks; `quiet_p50_ms`, the median
        of the others (None without others); `rounds_p50_ms`, each round's median;
        `uncertain`, the percentiles that want more samples.
    """
    times = np.concatenate([block for block, _ in blocks]) * 1e3
    quiet = [one * 1e3 for block, contended in blocks if not contended for one in block]
    values = {f"p{p}_ms": np.percentile(times, p) for p in PERCENTILES} | {
        "mean_ms": times.mean(),
        "std_ms": times.std(ddof=1),
        "min_ms": times.min(),
        "max_ms": times.max(),
    }
    return {
        "n": len(times),
        **{name: round(float(value), 4) for name, value in values.items()},
        "images_per_second": round(batch * 1e3 / times.mean(), 2) if batch else None,
        "contended": len(times) - len(quiet),
        "quiet_p50_ms": round(float(np.median(quiet)), 4) if quiet else None,
        "rounds_p50_ms": [round(float(np.median(b)) * 1e3, 4) for b, _ in blocks],
        "uncertain": [f"p{p}" for p in PERCENTILES if len(times) < samples_for(p)],
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


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as aligned text, with what is uncertain or contended said below."""
    labels = list(rows[0])[: list(rows[0]).index("n")]
    labels = [one for one in labels if any(row[one] is not None for row in rows)]
    measured = [f"p{p}" for p in PERCENTILES] + ["mean", "std", "min", "max"]
    cells = [[*labels, *measured, "n", "images/s", "contended", "quiet p50"]]
    for row in rows:
        marked = [
            f"{row[f'{name}_ms']:.3f}{'?' if name in row['uncertain'] else ''}"
            for name in measured
        ]
        share, quiet = row["contended"] / row["n"], row["quiet_p50_ms"]
        speed = row["images_per_second"]
        cells.append(
            [str(row[label]) for label in labels]
            + [*marked, str(row["n"]), f"{speed:.1f}" if speed else "-"]
            + [f"{share:.0%}", f"{quiet:.3f}" if quiet else "-"]
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for line in cells:
        texts = (
            text.ljust(width) if i < len(labels) - 1 else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        lines.append("  ".join(texts).rstrip())
    return "\n".join([*lines, *_remarks(rows)])


def _remarks(rows: Sequence[dict[str, Any]]) -> list[str]:
    remarks = ["milliseconds a call; images/s from the mean"]
    uncertain = sorted({name for row in rows for name in row["uncertain"]})
    if uncertain:
        wants = ", ".join(f"{p} wants {samples_for(float(p[1:]))}" for p in uncertain)
        remarks.append(f"warning: ? marks a percentile of too few calls: {wants}")
    contended = sum(row["contended"] for row in rows)
    if contended:
        remarks.append(
            f"warning: {contended} of {sum(row['n'] for row in rows)} calls ran while "
            f"other processes had over {CONTENDED:.0%} of the processor"
        )
    return remarks
