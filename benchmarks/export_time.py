"""Making an ONNX file: this package beside Keras's own `model.export(format="onnx")`.

    python benchmarks/export_time.py

Seven minutes on 2 cores. Both sides export the same built model, each export in a
process of its own, in turns; the libraries are imported before the clock starts. Ours
is timed without the proof, which Keras has none of. The growth with depth follows, ours
alone, in one process a family. Processor time stands beside wall time, which depends on
who else has the machine.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError

EXPORTER = Path(__file__).with_name("exporter.py")
SIDES = ("keras_resnet", "keras")
GROWTH = (
    ("resnet20", "resnet56", "resnet110", "resnet1001_v2"),
    ("resnet18", "resnet34", "resnet101", "resnetrs420"),
)


@dataclass(frozen=True)
class Flags:
    """Times exports to ONNX, beside Keras's own."""

    models: tuple[str, ...] = ("resnet50", "resnet152")
    """What both sides export."""
    repetitions: int = 3
    """Exports of each model by each side."""
    growth: bool = True
    """Measure the growth with depth too."""
    out: Path = Path("benchmarks/results/export_time")
    """Path without suffix of the results."""
    force: bool = False
    """Replace existing results."""


def exported(side: str, *names: str) -> list[dict]:
    """One row a model, all of one process."""
    command = [sys.executable, str(EXPORTER), side, *names]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise InputError(f"{side} cannot export {', '.join(names)}; see above.")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return [json.loads(line) for line in lines]


def row(side: str, name: str, exports: list[dict]) -> dict:
    """The figures of a model's exports by a side."""
    from export.benchmark.measure import statistics

    first = exports[0]
    peaks = [export["peak"] for export in exports if export["peak"] is not None]
    blocks = [([export["wall"]], export["contended"]) for export in exports]
    return {
        "export": f"{name}, {side}",
        "batch": None,
        **statistics(blocks, None),
        "processor_p50_ms": round(median(e["processor"] for e in exports) * 1e3, 1),
        "weights_mb": round(first["weights"] / 1e6, 1),
        "peak_mb": round(max(peaks) / 1e6, 1) if peaks else None,
        "peak_over_weights": round(max(peaks) / first["weights"], 2) if peaks else None,
        "file_mb": round(first["file"] / 1e6, 1),
        "nodes": first["nodes"],
    }


def remarks(rows: list[dict]) -> list[str]:
    lines = [
        f"{row['export']}: {row['p50_ms'] / 1e3:.2f} s, of the processor "
        f"{row['processor_p50_ms'] / 1e3:.2f} s; {row['nodes']} nodes; memory rose by "
        f"{row['peak_over_weights']} times the weights"
        for row in rows
    ]
    by_name = {row["export"]: row for row in rows}
    for label, ours in by_name.items():
        theirs = by_name.get(label.replace(*SIDES))
        if theirs and theirs is not ours:
            wall = theirs["p50_ms"] / ours["p50_ms"]
            processor = theirs["processor_p50_ms"] / ours["processor_p50_ms"]
            name = label.split(",")[0]
            lines.append(
                f"{name}: ours is faster by {wall:.1f}, {processor:.1f} in "
                "processor time"
            )
    return lines


def main() -> None:
    flags = parse(Flags)
    from export.benchmark.results import refuse_results, write_results

    refuse_results(flags.out, flags.force)
    from keras_resnet.common.fingerprint import fingerprint
    from keras_resnet.common.progress import Progress

    machine = fingerprint()
    exports: dict[tuple[str, str], list[dict]] = {}
    turns = [
        (s, n) for _ in range(flags.repetitions) for n in flags.models for s in SIDES
    ]
    for side, name in Progress(turns, desc="exports"):
        exports.setdefault((side, name), []).extend(exported(side, name))
    for names in Progress(GROWTH if flags.growth else (), desc="growth"):
        for name, export in zip(names, exported(SIDES[0], *names), strict=True):
            exports[SIDES[0], name] = [export]
    rows = [row(*key, records) for key, records in exports.items()]
    print("\n".join(remarks(rows)))
    write_results(rows, flags.out, machine, flags.force)


if __name__ == "__main__":
    run(main)
