"""What a fresh process pays: loading a file, its first run, the memory it takes.

`measure_cold` starts this module as a program, once a sample, and takes medians. The
file is in the page cache by then, so the disk has no part in it; nor have the imports
of numpy and onnxruntime, which come before the clock starts.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from keras_resnet.common.errors import InputError

_ROOT = str(Path(__file__).parents[2])
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def measure_cold(
    path: Path, options: dict[str, Any], inputs: Sequence[np.ndarray], times: int
) -> dict[int, dict[str, Any]]:
    """Medians over `times` fresh processes, each of which loads and runs the file.

    Args:
        path: an .onnx file.
        options: `providers`, `threads` and the like, of `export.runtime.Session`.
        inputs: images, (N, H, W, C), from the smallest batch to the largest; their
            shapes and dtype alone are used.
        times: how many processes.

    Returns:
        By batch: `load_ms` and `first_run_ms` (of the smallest batch) with their
        samples, and `peak_rss_mb`, how far that process's resident memory had risen
        above what it was before loading when batches up to this one had run (None
        but on Linux); `device_mb`, the same for the memory of all NVIDIA GPUs (None
        without nvidia-smi). All None where `times` is 0.

    Raises:
        InputError: a process failed; its own line.
    """
    request = {
        "path": str(path),
        "options": options,
        "shapes": [list(images.shape) for images in inputs],
        "dtype": str(inputs[0].dtype),
    }
    what = f"{path}: a fresh process with {options}"
    answers = [
        run_module("export.benchmark.coldstart", request, what) for _ in range(times)
    ]
    loads = [answer["load_ms"] for answer in answers]
    first_runs = [answer["first_run_ms"] for answer in answers]
    return {
        len(images): {
            "load_ms": _median(loads),
            "first_run_ms": _median(first_runs),
            "cold_load_ms": loads,
            "cold_first_run_ms": first_runs,
            "peak_rss_mb": _median([answer["rss_mb"][i] for answer in answers]),
            "device_mb": _median([answer["device_mb"][i] for answer in answers]),
        }
        for i, images in enumerate(inputs)
    }


def _median(figures: Sequence[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return round(median(known), 3) if known else None


def run_module(
    module: str,
    request: dict[str, Any],
    what: str,
    while_waiting: Callable[[], Any] = lambda: None,
    every: float | None = None,
) -> Any:
    """The JSON that `python -m module REQUEST`, a fresh process, prints last.

    Meanwhile `while_waiting` is called, `every` so many seconds.

    Raises:
        InputError: `what` failed; the process's own last line.
    """
    places = filter(None, [_ROOT, os.environ.get("PYTHONPATH")])
    process = subprocess.Popen(
        [sys.executable, "-m", module, json.dumps(request)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while True:
            try:
                output, errors = process.communicate(timeout=every)
                break
            except subprocess.TimeoutExpired:
                while_waiting()
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        lines = errors.strip().splitlines() or [f"status {process.returncode}"]
        raise InputError(f"{what} failed: {lines[-1].removeprefix('error: ')}")
    return json.loads(output.splitlines()[-1])


def measure_here(
    path: str, options: dict[str, Any], shapes: Sequence[Sequence[int]], dtype: str
) -> dict[str, Any]:
    """This process's figures, before which nothing of the file was loaded."""
    from export.runtime.session import Session

    inputs = [np.ones(shape, dtype) for shape in shapes]
    device = _device_mb()
    _forget_peak()
    before = _status_mb("VmRSS")
    start = time.perf_counter()
    session = Session(path, **options)
    loaded = time.perf_counter()
    session.run(inputs[0])
    end = time.perf_counter()
    rss_mb, device_mb = [], []
    for images in inputs:
        session.run(images)
        rss_mb.append(_rise(before, _status_mb("VmHWM")))
        device_mb.append(_rise(device, _device_mb()))
    return {
        "load_ms": round((loaded - start) * 1e3, 3),
        "first_run_ms": round((end - loaded) * 1e3, 3),
        "rss_mb": rss_mb,
        "device_mb": device_mb,
    }


def _rise(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _status_mb(name: str) -> float | None:
    """Megabytes of a line of /proc/self/status; None where there is no such file."""
    if not _STATUS.exists():
        return None
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines[name].split()[0]) * 1024 / 1e6


def _forget_peak() -> None:
    """Has the kernel measure the peak of resident memory anew, where it lets us."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")


def _device_mb() -> float | None:
    """Memory in use on all NVIDIA GPUs; None where nvidia-smi does not tell."""
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30)
        used = [float(line) * 2**20 / 1e6 for line in done.stdout.splitlines()]
        return None if done.returncode else sum(used)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def main() -> None:
    print(json.dumps(measure_here(**json.loads(sys.argv[1]))))


if __name__ == "__main__":
    from keras_resnet.common.command import run

    run(main)
