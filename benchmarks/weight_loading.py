"""Loading a safetensors file into a model that is there: this package beside timm.

    python benchmarks/weight_loading.py --timm-python ../timm/bin/python

Half a minute. The file is written first, by `export_weights`, so both read it from the
page cache. Each side is a process of its own, since torch and TensorFlow need not share
an environment; they take turns, and the times are taken inside them. Processor time
stands beside wall time, which depends on who else has the machine. The first load,
before which nothing has been used, stands apart.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from export.benchmark.measure import CONTENDED, statistics, watch_others
from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError

LOADER = Path(__file__).with_name("weight_loader.py")


@dataclass(frozen=True)
class Flags:
    """Times loading a safetensors file, beside timm."""

    timm_python: str | None = None
    """A Python that has torch and timm; without one this package is timed alone."""
    model: str = "resnet50"
    """A name that both know."""
    repetitions: int = 66
    """Loads of each side, behind the first, in rounds of 3."""
    out: Path = Path("benchmarks/results/weight_loading")
    """Path without suffix of the results."""
    force: bool = False
    """Replace existing results."""


class Side:
    """A process that loads when it is asked to."""

    def __init__(self, library: str, python: str, model: str, path: Path):
        command = [python, str(LOADER), library, model, str(path)]
        self.library = library
        self.blocks = []
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        except OSError as error:
            raise InputError(f"{python} cannot be run: {error.strerror}.") from error
        self._answer()
        self.first = self._load()

    def _load(self) -> dict:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise InputError(f"{self.library}: its process has ended; see above.")
        return json.loads(line)

    def take_round(self, processes: Sequence[int]) -> None:
        """One load that does not count, for the caches, and three that do.

        Args:
            processes: ids of all sides.
        """
        self._load()
        others_share = watch_others(processes)
        loads = [self._load() for _ in range(3)]
        self.blocks.append((loads, others_share() > CONTENDED))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def summarize(side: Side, size: int) -> dict:
    """What is said of a side."""
    loads = [load for block, _ in side.blocks for load in block]
    walls = [
        ([load["wall"] for load in block], contended)
        for block, contended in side.blocks
    ]
    peaks = [load["peak"] for load in [side.first, *loads] if load["peak"] is not None]
    return {
        "load": side.library,
        "batch": None,
        **statistics(walls, None),
        "processor_p50_ms": round(median(load["processor"] for load in loads) * 1e3, 3),
        "first_ms": round(side.first["wall"] * 1e3, 3),
        "file_mb": round(size / 1e6, 1),
        "peak_mb": round(max(peaks) / 1e6, 1) if peaks else None,
    }


def remarks(rows: Sequence[dict]) -> list[str]:
    lines = [
        f"{row['load']}: first {row['first_ms']:.0f} ms; then {row['p50_ms']:.1f} ms, "
        f"of the processor {row['processor_p50_ms']:.1f} ms; memory rose by at most "
        f"{row['peak_mb']} MB for a file of {row['file_mb']} MB"
        for row in rows
    ]
    if len(rows) == 2:
        wall, processor = (
            rows[0][key] / rows[1][key] for key in ("p50_ms", "processor_p50_ms")
        )
        lines.append(f"ours over timm's: wall {wall:.2f}, processor {processor:.2f}")
    else:
        lines.append("timm was not timed: --timm-python names a Python that has it")
    return lines


def main() -> None:
    flags = parse(Flags)
    from export.benchmark.results import refuse_results, write_results

    refuse_results(flags.out, flags.force)
    import keras_resnet
    from export.benchmark.tables import table
    from keras_resnet.common.fingerprint import fingerprint
    from keras_resnet.common.progress import Progress

    machine = fingerprint()
    pythons = {"keras_resnet": sys.executable, "timm": flags.timm_python}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{flags.model}.safetensors"
        keras_resnet.export_weights(keras_resnet.build(flags.model), path)
        sides = [
            Side(library, python, flags.model, path)
            for library, python in pythons.items()
            if python
        ]
        for _ in Progress(range(-(-flags.repetitions // 3)), desc="rounds"):
            for side in sides:
                side.take_round([other.process.pid for other in sides])
        size = path.stat().st_size
    for side in sides:
        side.close()
    rows = [summarize(side, size) for side in sides]
    print("\n".join([table(rows), *remarks(rows)]))
    write_results(rows, flags.out, machine, flags.force)


if __name__ == "__main__":
    run(main)
