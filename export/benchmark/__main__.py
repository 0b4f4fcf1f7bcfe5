"""Latency of ONNX files under onnxruntime: percentiles, images/s, the machine.

    python -m export.benchmark exported/resnet20.onnx
    python -m export.benchmark a.onnx b.onnx --providers cpu --batch-sizes 1 16
    python -m export.benchmark a.onnx --providers cpu openvino openvino:bfloat16

Runs without TensorFlow and Keras: whatever is to be known of a file stands in it.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, Suppress

from export.benchmark.candidates import list_cases, prepare
from export.benchmark.energy import Meter
from export.benchmark.measure import measure
from export.benchmark.results import refuse_results, write_results
from export.benchmark.tables import cold_table, table
from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError
from keras_resnet.common.fingerprint import fingerprint

PROG = "python -m export.benchmark"


def benchmark(
    paths: Annotated[Sequence[Path], Positional],
    *,
    providers: Sequence[str] = ("auto",),
    require_provider: str | None = None,
    batch_sizes: Sequence[int] = (1, 8, 32),
    threads: Sequence[int] = (),
    spinning: bool = True,
    tf32: bool = False,
    input_size: Sequence[int] = (),
    warmup_seconds: float = 1.0,
    warmup_repetitions: int = 5,
    min_seconds: float = 5.0,
    min_repetitions: int = 30,
    cold_starts: int = 3,
    out: Path | None = None,
    force: bool = False,
    command: Annotated[str, Suppress] = "",
) -> list[dict[str, Any]]:
    """Measures the latency of ONNX files, interleaved in one process.

    Every file with every provider, number of threads and batch size is a candidate.
    Prints a table; writes it with the fingerprint of the machine and the samples as
    JSON lines, CSV and a page of charts (export.page makes other forms). Where it is
    interrupted or a candidate fails, what was measured until then is written, too, with
    "-incomplete" behind the name.

    Args:
        paths: the .onnx files.
        providers: `auto` for tensorrt, cuda and cpu, those that load, each helped by
            the slower ones; or names. `cuda` alone keeps the whole model on the GPU,
            `cuda+cpu` leaves to the CPU what CUDA cannot do. `openvino:bfloat16` names
            the precision in which OpenVINO computes, float32 where none is named. A
            named one that does not load is an error.
        require_provider: an error where a file ran on this one in no row.
        batch_sizes: images a call.
        threads: of one operator on the CPU; onnxruntime's choice, one a physical
            core, where none is given.
        spinning: idle threads wait busily: best on a quiet machine, bad on a shared.
        tf32: let CUDA compute float32 in TF32, less exactly.
        input_size: height and width, or one number for both, of files that take
            images of any size.
        warmup_seconds: each candidate runs that long before it is timed,
        warmup_repetitions: and that often.
        min_seconds: each candidate is timed that long,
        min_repetitions: and that often. A p99 wants 662, a p95 130.
        cold_starts: fresh processes in which loading, the first run and memory are
            measured, for each file, provider and number of threads; 0 for none.
        out: path without suffix of the results. Default: beside the first file, with
            "-latency" behind its name.
        force: replace existing results.
        command: what stands in the results as the command.
    """
    _check_numbers(
        batch_sizes=batch_sizes,
        threads=threads,
        input_size=input_size,
        min_seconds=[min_seconds],
        min_repetitions=[min_repetitions],
    )
    if not paths or not providers or not batch_sizes:
        raise InputError(
            "paths, providers and batch_sizes: at least one of each is needed."
        )
    files = [paths] if isinstance(paths, str | Path) else paths
    paths = [Path(file) for file in files]
    if out is None:
        out = paths[0].with_name(f"{paths[0].stem}-latency")
    refuse_results(out, force)
    meter = Meter()
    energy = ", ".join(meter.sources) or f"unknown ({'; '.join(meter.missing)})"
    machine = {**fingerprint(), "command": command, "energy": energy}
    settings = {"spinning": spinning, "tf32": tf32}
    cases = list_cases(paths, providers, threads, batch_sizes, input_size, settings)
    candidates = prepare(cases, require_provider, cold_starts)
    try:
        measure(
            candidates,
            warmup_seconds=warmup_seconds,
            warmup_repetitions=warmup_repetitions,
            min_seconds=min_seconds,
            min_repetitions=min_repetitions,
            meter=meter.read,
        )
    finally:
        rows = []
        for candidate in candidates:
            if candidate.blocks:
                done = candidate.progress(min_seconds, min_repetitions) == 1
                rows.append({**candidate.row(), "complete": done, **settings})
        if rows and all(row["complete"] for row in rows):
            _report(rows, out, machine, force)
        elif rows:  # finished results of an earlier run stay
            _report(rows, Path(f"{out}-incomplete"), machine, force=True)
    return rows


def _report(rows, out: Path, machine: dict[str, Any], force: bool) -> None:
    print(table(rows))
    if cold := cold_table(rows):
        print(cold)
    print(f"energy: {machine['energy']}")
    write_results(rows, out, machine, force)


def _check_numbers(**numbers: Sequence[float]) -> None:
    for name, values in numbers.items():
        if not all(value > 0 for value in values):  # NaN is not
            raise InputError(
                f"{name}: {' '.join(map(str, values))}; numbers above 0 are accepted."
            )


def main(args: Sequence[str] | None = None) -> None:
    """The command line; `args` in place of sys.argv."""
    words = sys.argv[1:] if args is None else args
    command = f"{PROG} {shlex.join(words)}"
    parse(benchmark, args, prog=PROG)(command=command)


if __name__ == "__main__":
    run(main)
