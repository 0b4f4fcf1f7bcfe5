"""Where the time of an ONNX file goes: by operator, and convolutions by form.

    python benchmarks/onnx_profile.py speed-files/resnet50-int8.onnx --batch 16

Half a minute. onnxruntime's own profile of its CPU provider: each node's lower quartile
over the runs, since a node is too short for contention to be told apart. Convolutions
come with the multiply-adds a second that they reach, to be set beside the large
products of `machine_limit.py`; what is not convolution is bound by memory.
"""

import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError

if TYPE_CHECKING:
    import onnx

WEIGHTS = {"Conv": 1, "FusedConv": 1, "QLinearConv": 3}  # which input the kernel is
SUFFIX = "_kernel_time"  # behind a node's name in onnxruntime's profile


@dataclass(frozen=True)
class Flags:
    """Shows where onnxruntime spends its time on a file, on the CPU."""

    file: Positional[Path]
    """An .onnx file whose height and width are fixed."""
    batch: int = 1
    """Images a call."""
    threads: int = os.cpu_count() or 1
    """Of one operator."""
    runs: int = 20
    """Calls that are profiled."""


def main(args: Sequence[str] | None = None) -> None:
    flags = parse(Flags, args)
    if min(flags.batch, flags.threads, flags.runs) < 1:
        raise InputError("batch, threads and runs: numbers from 1 are accepted.")
    events, proto = profile(flags)
    kinds, forms = defaultdict(list), defaultdict(list)
    kernels = _kernels(proto)
    for name, (kind, shape, milliseconds) in events.items():
        kinds[kind].append((milliseconds, 0))
        if name in kernels:
            dims, strides = kernels[name]
            work = prod(shape) * prod(dims[1:])
            form = f"{dims[2]}x{dims[3]}, stride {strides[0]}, {shape_name(dims)}"
            forms[form].append((milliseconds, work))
    print(f"{flags.file}, batch {flags.batch}, {flags.threads} threads")
    print("\n".join(table("Operator", kinds)))
    if forms:
        print("\n".join(["", *table("Convolutions", forms)]))


def shape_name(dims: Sequence[int]) -> str:
    """Of a kernel: "inputs to outputs"."""
    return f"{dims[1]} to {dims[0]}"


def table(heading: str, groups: dict[str, list[tuple[float, int]]]) -> Iterable[str]:
    """A Markdown table, the longest first.

    Args:
        heading: of the first column.
        groups: milliseconds and multiply-adds of each node, by the group's name.
    """
    yield f"| {heading} | Nodes | ms | Share | GMAC/s |"
    yield "|---|---:|---:|---:|---:|"
    sums = {
        k: [sum(column) for column in zip(*v, strict=True)] for k, v in groups.items()
    }
    total = sum(time for time, _ in sums.values())
    for name, (time, work) in sorted(sums.items(), key=lambda one: -one[1][0]):
        speed = f"{work / time / 1e6:.0f}" if work else "-"
        count = len(groups[name])
        yield f"| {name} | {count} | {time:.3f} | {time / total:.1%} | {speed} |"


def profile(
    flags: Flags,
) -> tuple[dict[str, tuple[str, list[int], float]], "onnx.ModelProto"]:
    """The operator, output shape and milliseconds of each node; the optimised graph."""
    import numpy as np
    import onnx
    import onnxruntime as ort

    from export.runtime import Session
    from keras_resnet.common.progress import Progress

    said = Session(flags.file, "cpu")  # reads it, or says what is wrong
    shape = said.input_shape
    if None in shape[1:] or shape[0] not in (None, flags.batch):
        raise InputError(
            f"batch={flags.batch}: {flags.file} takes {shape}, None being any; a "
            "fixed height and width and that batch are needed."
        )
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = flags.threads
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(
            str(flags.file), options, providers=["CPUExecutionProvider"]
        )
        images = np.ones((flags.batch, *shape[1:]), said.input_dtype)
        for _ in Progress(range(flags.runs), leave=False):
            session.run(None, {said.input_name: images})
        events = json.loads(Path(session.end_profiling()).read_text())
        return _summary(events), onnx.load(options.optimized_model_filepath)


def _summary(
    events: Iterable[dict[str, Any]],
) -> dict[str, tuple[str, list[int], float]]:
    import numpy as np

    times, known = defaultdict(list), {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(SUFFIX):
            name, facts = event["name"].removesuffix(SUFFIX), event["args"]
            times[name].append(event["dur"] / 1e3)
            (shape,) = facts["output_type_shape"][0].values()
            known[name] = facts["op_name"], shape
    return {k: (*known[k], float(np.percentile(v, 25))) for k, v in times.items()}


def _kernels(proto: "onnx.ModelProto") -> dict[str, tuple[list[int], list[int]]]:
    """Shape and strides of each convolution's constant kernel, by the node's name."""
    shapes = {one.name: list(one.dims) for one in proto.graph.initializer}
    found = {}
    for node in proto.graph.node:
        kernel = node.input[WEIGHTS[node.op_type]] if node.op_type in WEIGHTS else None
        if kernel in shapes:
            strides = [
                list(one.ints) for one in node.attribute if one.name == "strides"
            ]
            found[node.name] = shapes[kernel], strides[0] if strides else [1]
    return found


if __name__ == "__main__":
    run(main)
