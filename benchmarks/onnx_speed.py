"""How fast the exported ResNet-50 runs: peers, precisions, runtimes, and the limit.

    python benchmarks/onnx_speed.py --files speed-files --torch-python /path/to/python

Five minutes on 2 cores, and three more for the files where they are not there yet
(`speed_files.py`). Everything is timed interleaved in one process, in onnxruntime
unless another runtime is named, on the same images:

    torchvision          ResNet-50 from torch.onnx, input NCHW
    resnet50, nchw       ours, the same network (stride in the 3x3), with that input
    resnet50             the same with input NHWC, which has to be turned
    keras.applications   its ResNet50 from Keras's own exporter
    resnet50_v1          ours, that network (stride in the first 1x1)
    resnet50 int8        ours, quantised (random weights: the speed alone counts)

OpenVINO, as onnxruntime's provider and as a runtime of its own, gets files of a fixed
batch, with which it is faster. Every speed is set beside the product of two large
matrices in the same precision (`machine_limit.py`), timed in the same rounds.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speed_tables import OWN, PLUGIN, STOCK, Key, against_targets, speeds, with_rates

from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import refuse_existing, write_beside

if TYPE_CHECKING:
    import numpy as np

    from export.runtime import Session

# The file, `{batch}` for the number of images, of each row.
ROWS: dict[Key, str] = {
    ("torchvision", STOCK, "float32"): "torchvision",
    ("resnet50, nchw", STOCK, "float32"): "resnet50-nchw",
    ("resnet50", STOCK, "float32"): "resnet50",
    ("keras.applications", STOCK, "float32"): "keras_applications",
    ("resnet50_v1", STOCK, "float32"): "resnet50_v1",
    ("resnet50", STOCK, "int8"): "resnet50-int8",
    ("resnet50", PLUGIN, "float32"): "resnet50-batch{batch}",
    ("resnet50", PLUGIN, "bfloat16"): "resnet50-batch{batch}",
    ("resnet50", PLUGIN, "int8"): "resnet50-int8-batch{batch}",
    ("resnet50", OWN, "float32"): "resnet50-batch{batch}",
    ("resnet50", OWN, "bfloat16"): "resnet50-batch{batch}",
    ("resnet50", OWN, "int8"): "resnet50-int8-batch{batch}",
}


@dataclass(frozen=True)
class Flags:
    """Times ResNet-50 as ONNX file against peers, targets and the machine's limit."""

    files: Path
    """Folder of the files; those that are missing are made there."""
    torch_python: Path | None = None
    """A Python with torch, torchvision, onnx and onnxscript, to make torchvision's."""
    batch_sizes: tuple[int, ...] = (1, 16)
    """Images a call, of 1 and 16."""
    threads: int = os.cpu_count() or 1
    """Of one operator, in every runtime."""
    min_seconds: float = 4.0
    """Each candidate is timed that long,"""
    min_repetitions: int = 11
    """and that often."""
    out: Path = Path("benchmarks/results/onnx_speed")
    """Path without suffix of the results; the targets go to <out>-targets.md."""
    force: bool = False
    """Replace existing results."""


def main(args: Sequence[str] | None = None) -> None:
    flags = parse(Flags, args)
    from machine_limit import products
    from speed_files import BATCHES, files_for_cpu

    from export.benchmark.measure import measure
    from export.benchmark.results import refuse_results, write_results
    from export.benchmark.tables import remarks, table
    from keras_resnet.common.fingerprint import fingerprint

    if not flags.batch_sizes or set(flags.batch_sizes) - set(BATCHES):
        raise InputError(f"batch_sizes={flags.batch_sizes}: accepted are {BATCHES}.")
    targets = flags.out.with_name(f"{flags.out.name}-targets.md")
    refuse_results(flags.out, flags.force)
    refuse_existing(targets, flags.force)
    files = files_for_cpu(flags.files, flags.torch_python)
    machine = fingerprint()
    with tempfile.TemporaryDirectory() as folder:
        candidates = products(Path(folder), flags.threads) + networks(files, flags)
        rows = measure(
            candidates,
            min_seconds=flags.min_seconds,
            min_repetitions=flags.min_repetitions,
        )
    rows = with_rates(rows, multiply_adds(files))
    print(table(rows))
    notes = [f"- {remark}" for remark in remarks(rows)]
    summary = "\n".join([*speeds(rows), "", *against_targets(rows), "", *notes, ""])
    print(summary)
    write_results(rows, flags.out, machine, flags.force)
    with write_beside(targets, flags.force) as part:
        part.write_text(summary)
    print(f"wrote {targets}")


def networks(files: dict[str, Path], flags: Flags) -> list:
    """A candidate for each row and batch that can run here; prints what cannot."""
    from export.benchmark.measure import Candidate
    from export.runtime.providers import why_not

    missing = {STOCK: "", PLUGIN: why_not("openvino"), OWN: _no_openvino()}
    for runtime, why in missing.items():
        if why:
            print(f"without {runtime}: {why}")
    candidates = []
    for (model, runtime, computes), name in ROWS.items():
        for batch in flags.batch_sizes:
            path = files.get(name.format(batch=batch))
            if path is None or missing[runtime]:
                continue
            session = _session(path, runtime, computes, flags.threads)
            if runtime != OWN and (ran := session.ran["precision"]) != computes:
                print(f"without {model} by {runtime} in {computes}: it runs in {ran}")
                continue
            labels = {
                "model": model,
                "runtime": runtime,
                "computes": computes,
                "threads": flags.threads,
            }
            call = _call(session, runtime, computes, batch, flags.threads)
            candidates.append(Candidate(labels, batch, call))
    return candidates


def _no_openvino() -> str:
    from importlib.util import find_spec

    return "" if find_spec("openvino") else "it needs pip install openvino"


def _session(path: Path, runtime: str, computes: str, threads: int) -> "Session":
    from export.runtime import Session

    if runtime == PLUGIN:
        return Session(path, "openvino", threads, precision=_of_floats(computes))
    return Session(path, "cpu", threads)


def _of_floats(computes: str) -> str:
    """What an int8 file has in float, such as its end, goes through AMX too."""
    return "bfloat16" if computes == "int8" else computes


def _call(
    session: "Session", runtime: str, computes: str, batch: int, threads: int
) -> Callable[[], Any]:
    """Runs a session's file on `batch` images from a numpy array to a numpy array."""
    import numpy as np

    shape = (batch, *(side or 224 for side in session.input_shape[1:]))
    images = np.random.default_rng(0).normal(size=shape).astype(session.input_dtype)
    if runtime == OWN:
        return _own_runtime(session.name, _of_floats(computes), threads, images)
    return partial(session.run, images)


def _own_runtime(
    path: str, precision: str, threads: int, images: "np.ndarray"
) -> Callable[[], Any]:
    """OpenVINO without onnxruntime, as its own examples run it for low latency."""
    import openvino

    from export.runtime.settings import OPENVINO_PRECISIONS

    settings = {
        "INFERENCE_PRECISION_HINT": OPENVINO_PRECISIONS[precision],
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    request = compiled.create_infer_request()

    def call():
        request.infer([images], share_inputs=True)
        return request.get_output_tensor(0).data.copy()

    return call


def multiply_adds(files: dict[str, Path]) -> dict[str, int]:
    """Of one image, by the model's name in the rows."""
    import onnx

    from export.graph.counts import count

    return {
        model: count(onnx.load(files[name]))["multiply_adds"]
        for (model, runtime, computes), name in ROWS.items()
        if (runtime, computes) == (STOCK, "float32") and name in files
    }


if __name__ == "__main__":
    run(main)
