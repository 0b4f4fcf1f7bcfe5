"""Latency of ONNX files under onnxruntime: percentiles, images/s, the machine.

    python -m export.benchmark exported/resnet20.onnx
    python -m export.benchmark a.onnx b.onnx --providers cpu --batch-sizes 1 16

Runs without TensorFlow and Keras: whatever is to be known of a file stands in it.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from tyro.conf import Positional

from export.measure import Candidate, measure, table
from export.providers import AUTO, provider_names, short_name, why_not
from export.results import refuse_results, write_results
from export.runtime import Session
from keras_resnet.command import parse, run
from keras_resnet.errors import InputError
from keras_resnet.fingerprint import fingerprint, sha256


def benchmark(
    paths: Annotated[Sequence[Path], Positional],
    *,
    providers: Sequence[str] = ("auto",),
    batch_sizes: Sequence[int] = (1, 8, 32),
    threads: Sequence[int] = (),
    spinning: bool = True,
    tf32: bool = False,
    input_size: Sequence[int] = (),
    warmup_seconds: float = 1.0,
    warmup_repetitions: int = 5,
    min_seconds: float = 5.0,
    min_repetitions: int = 30,
    out: Path | None = None,
    force: bool = False,
) -> list[dict[str, Any]]:
    """Measures the latency of ONNX files, interleaved in one process.

    Every file with every provider, number of threads and batch size is a candidate.
    Prints a table; writes it with the fingerprint of the machine as JSON lines and
    CSV, and a picture.

    Args:
        paths: the .onnx files.
        providers: `auto` for tensorrt, cuda and cpu, those that load, each helped by
            the slower ones; or names. `cuda` alone keeps the whole model on the GPU,
            `cuda+cpu` leaves to the CPU what CUDA cannot do. A named one that does
            not load is an error.
        batch_sizes: images a call.
        threads: of one operator on the CPU; onnxruntime's choice, one a physical
            core, where none is given.
        spinning: idle threads wait busily: best on a quiet machine, bad on a shared.
        tf32: let CUDA compute float32 in TF32, less exactly.
        input_size: height and width, or one number for both, of files that take
            pictures of any size.
        warmup_seconds: each candidate runs that long before it is timed,
        warmup_repetitions: and that often.
        min_seconds: each candidate is timed that long,
        min_repetitions: and that often. A p99 wants 662.
        out: path without suffix of the .jsonl, .csv and .png. Default: beside the
            first file, with "-latency" behind its name.
        force: replace existing results.
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
    paths = [Path(one) for one in ([paths] if isinstance(paths, str | Path) else paths)]
    if out is None:
        out = paths[0].with_name(f"{paths[0].stem}-latency")
    refuse_results(out, force)
    machine = fingerprint()
    stacks = _stacks(providers)
    inputs = {path: _inputs(path, batch_sizes, input_size) for path in paths}

    candidates, descriptions = [], []
    for path, stack, count in itertools.product(paths, stacks, threads or [None]):
        largest = inputs[path][-1].shape
        session = Session(
            path, stack, count, spinning=spinning, tf32=tf32, largest_input=largest
        )
        found = _candidates(session, stack, count, inputs[path])
        candidates += found
        descriptions += [_description(session, spinning, tf32)] * len(found)
    rows = measure(
        candidates,
        warmup_seconds=warmup_seconds,
        warmup_repetitions=warmup_repetitions,
        min_seconds=min_seconds,
        min_repetitions=min_repetitions,
    )
    print(table(rows))
    rows = [{**row, **more} for row, more in zip(rows, descriptions, strict=True)]
    for path in write_results(rows, out, machine, force):
        print(f"wrote {path}")
    return rows


def _check_numbers(**numbers: Sequence[float]) -> None:
    for name, values in numbers.items():
        if any(value <= 0 for value in values):
            raise InputError(
                f"{name}: {' '.join(map(str, values))}; numbers above 0 are accepted."
            )


def _stacks(providers: Sequence[str]) -> list[list[str]]:
    """Each candidate's providers, best first; says what "auto" leaves out."""
    stacks = []
    for one in providers:
        if one != "auto":
            stacks.append(provider_names(one.split("+")))
            continue
        reasons = {name: why_not(name) for name in AUTO}
        for name, why in reasons.items():
            if why:
                print(f"without {name}: {why}")
        loading = [name for name, why in reasons.items() if not why]
        stacks += [loading[i:] for i in range(len(loading))]
    return stacks


def _inputs(
    path: Path, batch_sizes: Sequence[int], input_size: Sequence[int]
) -> list[np.ndarray]:
    """Random images for each batch size, in ascending order, as the file takes them."""
    session = Session(path, "cpu")
    if not session.input_shape:
        raise InputError(f"{path} does not say what shape its input has.")
    batch, *picture = session.input_shape
    free = picture.count(None)
    if free and len(input_size) not in (1, free):
        raise InputError(
            f"{path} takes pictures of any size: input_size needs 1 number or {free}, "
            f"received {len(input_size)}."
        )
    if input_size and not free:
        raise InputError(f"input_size: {path} takes pictures of {picture} alone.")
    sizes = iter([*input_size] * free)
    picture = [next(sizes) if size is None else size for size in picture]
    if batch is not None and set(batch_sizes) != {batch}:
        raise InputError(
            f"{path} takes batches of {batch} alone: --batch-sizes {batch}."
        )
    draw = np.random.default_rng(0)
    images = draw.uniform(0, 255, (max(batch_sizes), *picture))
    images = images.astype(session.input_dtype)
    return [images[:size] for size in sorted(set(batch_sizes))]


def _candidates(
    session: Session, stack: list[str], threads: int | None, inputs: list[np.ndarray]
) -> list[Candidate]:
    """Host to host for every batch; on a GPU beside it without the copies."""
    labels = {
        "model": session.path.stem,
        "provider": "+".join(stack),
        "threads": threads or "default",
        "timing": "host",
    }
    found = []
    for images in inputs:
        call = functools.partial(session.run, images)
        found.append(Candidate(labels, len(images), call))
        if stack[0] in ("cuda", "tensorrt"):
            on_device = labels | {"timing": "device"}
            found.append(Candidate(on_device, len(images), session.bind(images)))
    return found


def _description(session: Session, spinning: bool, tf32: bool) -> dict[str, Any]:
    """What a row says of its file and session beside the numbers."""
    return {
        "file": str(session.path),
        "bytes": session.path.stat().st_size,
        "sha256": sha256(session.path),
        "input_shape": list(session.input_shape),
        "input_dtype": str(session.input_dtype),
        "loaded": [short_name(name) for name in session.providers],
        "spinning": spinning,
        "tf32": tf32,
        # A thousand names of classes tell nothing of a latency.
        "metadata": {k: v for k, v in session.metadata.items() if k != "labels"},
    }


def main(args: Sequence[str] | None = None) -> None:
    """The command line; `args` in place of sys.argv."""
    parse(_later(benchmark), args)()


def _later(function: Callable) -> Callable:
    """`function` to tyro, but returns the call instead of making it.

    `parse` keeps standard error to itself, where the progress bar goes.
    """

    @functools.wraps(function)
    def described(*args, **kwargs):
        return functools.partial(function, *args, **kwargs)

    return described


if __name__ == "__main__":
    run(main)
