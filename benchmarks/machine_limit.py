"""What this processor reaches at most: the multiply-adds a second of large products.

    python benchmarks/machine_limit.py

A minute on 2 cores. No network can be faster than the arithmetic underneath, and the
product of two large matrices is the arithmetic with next to nothing around it: each
number read takes part in thousands of multiply-adds. The product of two 2048 x 2048
matrices, the second one constant as a network's weights are, runs in float32, in
bfloat16 and in int8 through the libraries that run the networks: onnxruntime's own
kernels, and OpenVINO's where the plugin is installed. The faster of the two is taken as
the limit of a precision. `onnx_speed.py` measures it between its own rows.
"""

import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from keras_resnet.common.command import parse, run
from keras_resnet.common.files import write_beside

SIDE = 2048
KIND = "matrix product"  # the label of a row that is one

# What is computed in; the file; the provider; the precision that it is asked for.
PRODUCTS = (
    ("float32", "float32", "cpu", None),
    ("float32", "float32", "openvino", "float32"),
    ("bfloat16", "float32", "openvino", "bfloat16"),
    ("int8", "int8", "cpu", None),
    ("int8", "int8", "openvino", "bfloat16"),
)


@dataclass(frozen=True)
class Flags:
    """Times large matrix products in every precision."""

    threads: int = os.cpu_count() or 1
    """Of one operator."""
    min_seconds: float = 3.0
    """Each is timed that long."""
    out: Path = Path("benchmarks/results/machine_limit")
    """Path without suffix of the results."""
    force: bool = False
    """Replace existing results."""


def main() -> None:
    flags = parse(Flags)
    from export.benchmark.measure import measure
    from export.benchmark.results import refuse_results, write_results
    from export.benchmark.tables import table
    from keras_resnet.common.fingerprint import fingerprint

    refuse_results(flags.out, flags.force)
    machine = fingerprint()
    with tempfile.TemporaryDirectory() as folder:
        candidates = products(Path(folder), flags.threads)
        rows = measure(candidates, min_seconds=flags.min_seconds, min_repetitions=11)
    rows = [{**row, "gmac_per_second": rate(row, SIDE**3)} for row in rows]
    print(table(rows))
    for computes, limit in limits(rows).items():
        print(f"{computes}: {limit:.0f} billion multiply-adds a second")
    write_results(rows, flags.out, machine, flags.force)


def products(folder: Path, threads: int) -> list:
    """The products as candidates, of those providers that load here.

    Args:
        folder: takes their files.
        threads: of one operator.
    """
    import numpy as np

    from export.benchmark.measure import Candidate
    from export.runtime import Session
    from export.runtime.providers import why_not

    candidates = []
    for computes, form, provider, precision in PRODUCTS:
        if why := why_not(provider):
            print(f"without the product in {computes} by {provider}: {why}")
            continue
        path = folder / f"product-{form}.onnx"
        if not path.exists():
            _write_product(path, form)
        session = Session(path, provider, threads, precision=precision)
        if (ran := session.ran["precision"]) != computes:
            print(f"without the product in {computes} by {provider}: it runs in {ran}")
            continue
        matrix = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE))
        call = partial(session.run, matrix.astype(session.input_dtype))
        labels = {"model": KIND, "runtime": provider, "computes": computes}
        candidates.append(Candidate({**labels, "threads": threads}, None, call))
    return candidates


def limits(rows: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Billions of multiply-adds a second that the fastest product of each reaches.

    Args:
        rows: of the products, as `measure` gives them; rows of another model are
            passed over.
    """
    fastest: dict[str, float] = {}
    for row in rows:
        if row["model"] == KIND:
            name = row["computes"]
            fastest[name] = max(rate(row, SIDE**3), fastest.get(name, 0))
    return fastest


def rate(row: dict[str, Any], multiply_adds: int) -> float:
    """Billions of multiply-adds a second, from the median call.

    Args:
        row: as `measure` gives it.
        multiply_adds: of one image, or of the call where it takes none.
    """
    return round(multiply_adds * (row["batch"] or 1) / median(row) / 1e6, 1)


def median(row: dict[str, Any]) -> float:
    """Milliseconds of the calls that were not contended; of all if all were."""
    return row["quiet_p50_ms"] or row["p50_ms"]


def _write_product(path: Path, form: str) -> None:
    """x times a constant matrix: in float32, or between uint8 values, as Q/DQ."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper

    draw = np.random.default_rng(0)
    if form == "float32":
        kind, nodes = TensorProto.FLOAT, [("MatMul", ["x", "w"], "y")]
        constants = {"w": draw.normal(size=(SIDE, SIDE)).astype(np.float32)}
    else:
        kind, nodes = TensorProto.UINT8, INTEGER_PRODUCT
        constants = {
            # Within 7 bits: processors without VNNI saturate sums of two products.
            "w8": draw.integers(-63, 64, (SIDE, SIDE)).astype(np.int8),
            "w_zero": np.int8(0),
            "zero": np.uint8(128),
            "scale": np.float32(0.01),
            "y_scale": np.float32(1),
        }
    graph = helper.make_graph(
        [helper.make_node(name, inputs, [out]) for name, inputs, out in nodes],
        "product",
        [helper.make_tensor_value_info("x", kind, [SIDE, SIDE])],
        [helper.make_tensor_value_info("y", kind, [SIDE, SIDE])],
        [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )
    opset = helper.make_opsetid("", 17)
    with write_beside(path) as part:
        model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
        onnx.save(model, part)


INTEGER_PRODUCT: Sequence[tuple[str, list[str], str]] = (
    ("DequantizeLinear", ["x", "scale", "zero"], "x_float"),
    ("DequantizeLinear", ["w8", "scale", "w_zero"], "w"),
    ("MatMul", ["x_float", "w"], "y_float"),
    ("QuantizeLinear", ["y_float", "y_scale", "zero"], "y"),
)

if __name__ == "__main__":
    run(main)
