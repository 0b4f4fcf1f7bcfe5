"""ResNets on an NVIDIA GPU: onnxruntime on CUDA and TensorRT, beside PyTorch.

    python benchmarks/speed_files.py gpu gpu-files        # where Keras is
    python benchmarks/gpu.py gpu-files --torch-python /path/to/torch/bin/python

The second line needs onnxruntime-gpu with its CUDA libraries, numpy, this repository
and the folder of files: neither TensorFlow nor Keras nor onnx, so the folder can be
carried to any machine. Every file is timed with every variant and batch, host to host
and, with inputs and outputs bound, on the device alone; the files of one architecture
are interleaved. TF32 is off: a variant whose float32 does not agree with float32 on the
CPU is named and not timed, and how far float16 is from it stands in each row.

PyTorch's networks of the same depths, channels_last float16, eager and compiled, run
after ours in a process of the Python that is named (`torch_gpu.py`).

It was written without a GPU at hand: `--variants cpu` is what was run of it.
"""

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tyro.conf import Positional

from export.benchmark.measure import Candidate, measure, statistics
from export.benchmark.results import refuse_results, write_results
from export.benchmark.tables import table
from export.parity.compare import max_rel, snr_db
from export.runtime import Session
from export.runtime.providers import why_not
from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError
from keras_resnet.common.fingerprint import fingerprint, sha256

# The providers of each variant, and their options; which of them is best differs by
# GPU, batch and precision. A CUDA graph wants bound images and one shape a session.
Variant = Literal[
    "cuda", "cuda-nhwc", "cuda-graph", "cuda-nhwc-graph", "tensorrt", "cpu"
]
VARIANTS: dict[Variant, tuple[tuple[str, ...], dict[str, str]]] = {
    "cuda": (("cuda",), {}),
    "cuda-nhwc": (("cuda",), {"prefer_nhwc": "1"}),
    "cuda-graph": (("cuda",), {"enable_cuda_graph": "1"}),
    "cuda-nhwc-graph": (("cuda",), {"enable_cuda_graph": "1", "prefer_nhwc": "1"}),
    "tensorrt": (("tensorrt", "cuda"), {}),
    "cpu": (("cpu",), {}),
}
PARITY = 1e-4  # of the outputs' spread, in float32, as `export.parity.verify` has it
COMPARED = 4  # images that the outputs are compared on


@dataclass(frozen=True)
class Flags:
    """Times the ONNX files of a folder on a GPU."""

    files: Positional[Path]
    """Folder of the .onnx files, each architecture's float32 file among them."""
    variants: tuple[Variant, ...] = tuple(VARIANTS)[:-1]
    """Providers with their options."""
    batch_sizes: tuple[int, ...] = (1, 8, 32, 128)
    """Images a call."""
    torch_python: Path | None = None
    """A Python with torch and torchvision; without it, PyTorch is left out."""
    torch_models: tuple[str, ...] = ("resnet18", "resnet50", "resnet152")
    """Of torchvision."""
    torch_device: str = "cuda"
    """Where PyTorch runs them."""
    min_seconds: float = 2.0
    """Each candidate is timed that long,"""
    min_repetitions: int = 30
    """and that often."""
    out: Path = Path("benchmarks/results/gpu")
    """Path without suffix of the results."""
    force: bool = False
    """Replace existing results."""


def main(args: Sequence[str] | None = None) -> None:
    flags = parse(Flags, args)
    refuse_results(flags.out, flags.force)
    if flags.torch_python and not shutil.which(flags.torch_python):
        raise InputError(f"torch_python={flags.torch_python}: it cannot be run.")
    machine = fingerprint()
    variants = _loading(flags.variants)
    rows = []
    for files in _by_architecture(flags.files).values():
        rows += _measure(files, variants, flags)
    if flags.torch_python:
        rows += _torch_rows(flags)
    else:
        print("without PyTorch: --torch-python names a Python that has it")
    if not rows:
        raise InputError(f"files={flags.files}: no variant runs any of them.")
    print(table(rows))
    write_results(rows, flags.out, machine, flags.force)


def _loading(variants: Sequence[Variant]) -> list[Variant]:
    """Those whose providers load here; an InputError that says why if none does."""
    reasons = {
        name: next(filter(None, map(why_not, VARIANTS[name][0])), "")
        for name in variants
    }
    for name, why in reasons.items():
        if why:
            print(f"without {name}: {why}")
    loading: list[Variant] = [name for name in variants if not reasons[name]]
    if not loading:
        raise InputError(
            f"variants={' '.join(variants)}: none of them loads on this machine, which "
            f"has {', '.join(fingerprint()['gpus']) or 'no NVIDIA GPU'}."
        )
    return loading


def _by_architecture(folder: Path) -> dict[str, list[Path]]:
    """The files of each architecture, that in float32 first."""
    precisions: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.glob("*.onnx")):
        metadata = Session(path, "cpu").metadata
        try:
            name, precision = metadata["architecture"], metadata["precision"]
        except KeyError:
            raise InputError(f"{path} is not from python -m export.onnx.") from None
        precisions.setdefault(name, {})[precision] = path
    for name, files in precisions.items():
        if "float32" not in files:
            raise InputError(f"files={folder} has no {name} in float32.")
    if not precisions:
        raise InputError(f"files={folder}: there is no .onnx file.")
    return {
        name: [files.pop("float32"), *files.values()]
        for name, files in precisions.items()
    }


def _measure(
    files: list[Path], variants: list[Variant], flags: Flags
) -> list[dict[str, Any]]:
    """Rows of one architecture; its sessions are gone afterwards."""
    exact = Session(files[0], "cpu")
    shape = [224 if side is None else side for side in exact.input_shape[1:]]
    count = max(COMPARED, *flags.batch_sizes)
    images = np.random.default_rng(0).standard_normal((count, *shape), np.float32)
    expected = exact.run(images[:COMPARED].astype(exact.input_dtype))
    if isinstance(expected, dict):
        raise InputError(f"{files[0]} has {len(expected)} outputs; one is needed.")
    return measure(
        [
            candidate
            for path in files
            for variant in variants
            for candidate in _candidates(path, variant, images, expected, flags)
        ],
        min_seconds=flags.min_seconds,
        min_repetitions=flags.min_repetitions,
    )


def _candidates(
    path: Path, variant: Variant, images: np.ndarray, expected: np.ndarray, flags: Flags
) -> list[Candidate]:
    """What is to be timed of a file; its facts: how far it is from float32 on the CPU.

    A variant that cannot run the file, or computes something else, is named and left
    out.
    """
    providers, options = VARIANTS[variant]
    graph = "enable_cuda_graph" in options
    largest = (max(flags.batch_sizes), *images.shape[1:])
    load = partial(
        Session, path, providers, largest_input=largest, options=options, tf32=False
    )
    candidates = []
    try:
        session = load()
        images = images.astype(session.input_dtype)
        precision = session.metadata["precision"]
        outputs = session.bind(images[:COMPARED])().numpy()
        difference, snr = max_rel(expected, outputs), snr_db(expected, outputs)
        if precision == "float32" and not difference <= PARITY:  # NaN fails as well
            raise InputError(
                f"it differs from the CPU by {difference:.1e} of the outputs' spread; "
                f"{PARITY:.0e} is allowed with TF32 off"
            )
        facts = {
            "precision": precision,
            "sha256": sha256(path),
            "max_rel": difference,
            "snr_db": round(snr, 1) if isfinite(snr) else None,
        }
        for batch in flags.batch_sizes:
            calls: dict[str, Callable] = {}
            if variant != "cpu":
                bound = load() if graph else session
                calls["device"] = bound.bind(images[:batch])
            if not graph:
                calls["host"] = partial(session.run, images[:batch])
            for timing, call in calls.items():
                call()
                labels = {"model": path.stem, "variant": variant, "timing": timing}
                candidates.append(Candidate(labels, batch, call, facts=facts))
    except Exception as error:  # onnxruntime's errors have no base class
        print(f"without {path.stem} by {variant}: {' '.join(str(error).split())}")
        return []
    return candidates


def _torch_rows(flags: Flags) -> list[dict[str, Any]]:
    """PyTorch's rows, measured in its own process, with the same statistics."""
    words = [str(flags.torch_python), str(Path(__file__).with_name("torch_gpu.py"))]
    words += ["--device", flags.torch_device, "--seconds", str(flags.min_seconds)]
    words += ["--repetitions", str(flags.min_repetitions)]
    words += ["--models", *flags.torch_models]
    words += ["--batch-sizes", *map(str, flags.batch_sizes)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    if done.returncode:  # ours are not lost, nor what it measured before
        print(
            f"PyTorch ended with status {done.returncode}, see above: rows are missing"
        )
    rows = []
    for line in done.stdout.splitlines():
        record = json.loads(line)
        blocks = [(record.pop("seconds"), record.pop("contended"))]
        labels = {name: record.pop(name) for name in ("model", "variant", "timing")}
        batch = record.pop("batch")
        rows.append({**labels, "batch": batch, **statistics(blocks, batch), **record})
    return rows


if __name__ == "__main__":
    run(main)
