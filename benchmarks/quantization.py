"""Lower precisions made here beside those that onnxruntime's own tools make.

    python benchmarks/quantization.py --force

Six networks of random weights, whose normalization has the statistics of random images,
are converted to float32 ONNX models. Each candidate then makes a lower precision of the
same model, whose classifier is one Gemm, with the same calibration images, in a process
of its own:

- int8: `export.quantization`; the same with onnxruntime's histogram calibrator or its
  weight quantizer in place of ours; and `onnxruntime.quantization.quantize_static`.
- float16: `export.quantization` and `onnxruntime.transformers.float16`.

The error of rounding alone is measured with every pair of QuantizeLinear and
DequantizeLinear computed in float32, since a processor without VNNI saturates in its
int8 kernels. The latency is the processor time of one thread, in interleaved rounds.
"""

import contextlib
import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from weight_loader import forget_peak, memory

from export.parity.compare import snr_db, top1_agreement
from keras_resnet.common.command import parse, run
from keras_resnet.common.files import refuse_existing, write_beside
from keras_resnet.common.fingerprint import fingerprint

MODELS = (
    "resnet50",
    "seresnet50",
    "resnetv2_50",  # normalization before the convolutions
    "densenet121",
    "resnetv2_50x1_bit",  # GroupNorm
    "resnext50_32x4d",
)
SIDE = 224
BATCH = 4
CALIBRATION_IMAGES, EVALUATION_IMAGES = 16, 64
PERCENTILE = 99.999  # of both calibrators
ROUNDS = 9  # of the latency
IN_FLOAT32 = {"session.disable_quant_qdq": "1"}


@dataclass(frozen=True)
class Flags:
    """Compares lower precisions with those of onnxruntime's tools."""

    models: tuple[str, ...] = MODELS
    """Networks of the table."""
    out: Path = Path("benchmarks/results/quantization")
    """Path without suffix of the .jsonl and .md."""
    force: bool = False
    """Replace existing results."""


@dataclass(frozen=True)
class RandomImages:
    """Calibration images, as `export.quantization` takes them."""

    images: np.ndarray
    name: str = "random"
    assumed: None = None

    @property
    def count(self) -> int:
        return len(self.images)

    def batches(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self.images), BATCH):
            yield self.images[start : start + BATCH]

    def watched(self, name: str, verbose: bool) -> Iterator[tuple[np.ndarray, None]]:
        return ((images, None) for images in self.batches())


def random_images(count: int, seed: int) -> np.ndarray:
    """(count, 224, 224, 3) float32: noise of four sizes of grain, and a tint each."""
    generator = np.random.default_rng(seed)
    images = np.empty((count, SIDE, SIDE, 3), "float32")
    for image in images:
        image[:] = generator.normal(0, 0.5, 3)
        for grains, strength in ((4, 0.7), (14, 0.7), (56, 0.3), (SIDE, 0.3)):
            noise = generator.normal(0, strength, (grains, grains, 3))
            image += noise.repeat(SIDE // grains, 0).repeat(SIDE // grains, 1)
    return images


def write_float32(name: str, path: Path) -> None:
    """A network in float32 as an ONNX file, its normalization fitted to images."""
    import keras
    import onnx_ir

    import keras_resnet
    from export.graph.convert import convert
    from export.model.signature import make_signature
    from export.quantization.passes import PRECISIONS

    keras.utils.set_random_seed(0)
    model = keras_resnet.build(name, classes=1000, input_shape=(SIDE, SIDE, 3))
    generator = np.random.default_rng(0)
    for variable in model.weights:
        if variable.name == "gamma":
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
        elif variable.name == "beta":
            variable.assign(generator.normal(0, 0.3, variable.shape))
    for layer in model.layers:
        if hasattr(layer, "moving_mean"):
            layer.momentum = 0.0  # the statistics become those of the next batch
    model(random_images(16, seed=3), training=True)
    converted = convert(make_signature(model, output="logits"), 17, "nhwc")
    for change in PRECISIONS["float16"].prepare:
        change(converted)
    onnx_ir.save(converted, path)


def ours(path: Path, precision: str, method: str = "percentile") -> bytes:
    """A lower precision by `export.quantization`, nothing excluded."""
    import onnx_ir as ir

    from export.quantization.config import QuantizationConfig
    from export.quantization.quantize import quantize

    images = RandomImages(random_images(CALIBRATION_IMAGES, seed=1))
    config = QuantizationConfig(
        precision=precision, calibration_method=method, validate="none"
    )
    calibration = images if precision == "int8" else None
    model = quantize(ir.load(path), config, calibration, None).model
    return ir.to_proto(model).SerializeToString()


def ours_by_minmax(path: Path, precision: str) -> bytes:
    return ours(path, precision, "minmax")


def ours_with_their_calibrator(path: Path, precision: str) -> bytes:
    from onnxruntime.quantization.calibrate import HistogramCollector

    from export.quantization import calibrate

    class Histogram:
        """The library's histogram of one tensor, with the methods of ours."""

        def __init__(self):
            self.collector = HistogramCollector(
                "percentile", False, 2048, 128, PERCENTILE, "same"
            )

        def add(self, values: np.ndarray) -> None:
            self.collector.collect_value({"": values})

        def minmax(self) -> tuple[float, float]:
            low, high = self.collector.histogram_dict[""][2:4]
            return min(float(low), 0.0), max(float(high), 0.0)

        def percentile(self) -> tuple[float, float]:
            with contextlib.redirect_stdout(io.StringIO()):
                low, high, *_ = self.collector.compute_percentile()[""]
            return min(float(low), 0.0), max(float(high), 0.0)

    calibrate.Histogram = Histogram
    return ours(path, precision)


def ours_with_their_weight_quantizer(path: Path, precision: str) -> bytes:
    from onnx import TensorProto
    from onnxruntime.quantization.quant_utils import compute_scale_zp, quantize_nparray

    from export.quantization import int8

    def quantize_weights(weight, axis, min_scale=0.0):
        channels = np.moveaxis(weight, axis, 0)
        levels = np.empty(channels.shape, np.int8)
        scales = np.empty(len(channels), np.float32)
        limits = (
            np.broadcast_to(min_scale, scales.shape).astype("float32") * int8.LEVELS
        )
        zero, top = np.int8(0), np.array(int8.LEVELS, np.float32)
        for index, channel in enumerate(channels):
            peak = max(np.abs(channel).max(), limits[index])
            _, scale = compute_scale_zp(-peak, peak, -top, top, symmetric=True)
            scales[index] = scale
            levels[index] = quantize_nparray(
                TensorProto.INT8, channel, scales[index], zero, -127, 127
            )
        return np.moveaxis(levels, 0, axis), scales

    int8.quantize_weights = quantize_weights
    return ours(path, precision)


def quantize_static(path: Path, method: str) -> bytes:
    """int8 by onnxruntime's own tool: pairs around operators, weights by channel."""
    import onnxruntime.quantization as library

    class Reader(library.CalibrationDataReader):
        def __init__(self):
            images = random_images(CALIBRATION_IMAGES, seed=1)
            self.batches = RandomImages(images).batches()

        def get_next(self):
            images = next(self.batches, None)
            return None if images is None else {"images": images}

    result = path.with_suffix(".library.onnx")
    with contextlib.redirect_stdout(io.StringIO()):
        library.quantize_static(
            path,
            result,
            Reader(),
            per_channel=True,
            activation_type=library.QuantType.QUInt8,
            weight_type=library.QuantType.QInt8,
            calibrate_method=library.CalibrationMethod[method],
            extra_options={"CalibPercentile": PERCENTILE},
        )
    return result.read_bytes()


def their_float16(path: Path, precision: str) -> bytes:
    """float16 by onnxruntime.transformers, which puts its nodes at the graph's end."""
    import onnx
    from onnxruntime.transformers import float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = float16.convert_float_to_float16(onnx.load(path), keep_io_types=True)
    OnnxModel.graph_topological_sort(model.graph)
    return model.SerializeToString()


# Of each candidate: the precision, who makes it, and a function of the float32 file.
CANDIDATES: tuple[tuple[str, str, Callable[[Path, str], bytes], str], ...] = (
    ("int8", "ours, percentile", ours, "int8"),
    ("int8", "ours, minmax", ours_by_minmax, "int8"),
    ("int8", "ours, their histogram", ours_with_their_calibrator, "int8"),
    ("int8", "ours, their weights", ours_with_their_weight_quantizer, "int8"),
    ("int8", "quantize_static, percentile", quantize_static, "Percentile"),
    ("int8", "quantize_static, minmax", quantize_static, "MinMax"),
    ("float16", "ours", ours, "float16"),
    ("float16", "onnxruntime.transformers", their_float16, "float16"),
)


def make(candidate: int, path: Path, result: Path) -> dict[str, Any]:
    """Makes one lower precision; the seconds, and the memory beyond the imports'."""
    import onnx
    import onnxruntime.quantization
    import onnxruntime.transformers.float16  # noqa: F401  imports count for nobody

    import export.quantization.quantize  # noqa: F401

    _, _, function, option = CANDIDATES[candidate]
    forget_peak()
    before, start = memory("VmRSS"), time.perf_counter()
    processor = time.process_time()
    content = function(path, option)
    row = {
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - processor,
        "peak_bytes": before and memory("VmHWM") - before,
        "bytes": len(content),
        "nodes": len(onnx.load_from_string(content).graph.node),
    }
    result.write_bytes(content)
    return row


def in_a_process(function: Callable, *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def answers(path: Path, options: dict[str, str] | None = None) -> np.ndarray:
    """Logits of the evaluation images."""
    from export.runtime import Session

    session = Session(path, "cpu", options=options)
    images = RandomImages(random_images(EVALUATION_IMAGES, seed=2))
    return np.concatenate([session.run(batch) for batch in images.batches()])


def latencies(paths: Sequence[Path]) -> list[float]:
    """Median seconds of the processor for one image, in rounds over all the files."""
    from export.runtime import Session

    sessions = [Session(path, "cpu", threads=1) for path in paths]
    image = random_images(1, seed=2)
    seconds = [[] for _ in sessions]
    for _ in range(ROUNDS + 1):
        for session, measured in zip(sessions, seconds, strict=True):
            start = time.process_time()
            session.run(image)
            measured.append(time.process_time() - start)
    return [median(measured[1:]) for measured in seconds]


def measure(name: str, folder: Path) -> list[dict[str, Any]]:
    """The rows of one network."""
    original = folder / f"{name}.onnx"
    in_a_process(write_float32, name, original)
    expected = in_a_process(answers, original)
    rows, paths = [], [original]
    for index, (precision, maker, _, _) in enumerate(CANDIDATES):
        path = folder / f"{name}-{index}.onnx"
        row = {"model": name, "precision": precision, "maker": maker}
        row |= in_a_process(make, index, original, path)
        rounded = in_a_process(answers, path, IN_FLOAT32)
        kernels = rounded if precision == "float16" else in_a_process(answers, path)
        row |= {
            "snr_db": snr_db(expected, rounded),
            "snr_db_in_kernels": snr_db(expected, kernels),
            "agreement": top1_agreement(expected, rounded),
            "images": len(expected),
        }
        print(json.dumps(row), flush=True)
        rows.append(row)
        paths.append(path)
    reference, *measured = in_a_process(latencies, paths)
    for row, seconds in zip(rows, measured, strict=True):
        row["latency_ratio"] = seconds / reference
    for path in folder.iterdir():
        path.unlink()
    return rows


def markdown(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The rows as tables, one a precision."""
    lines = []
    for precision in dict.fromkeys(row["precision"] for row in rows):
        lines += [
            f"{precision}:",
            "",
            "| Network | Made by | SNR, dB | in kernels | Same class | Time to float32 "
            "| Processor s to make | Memory, MB | Nodes | MB |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {row['model']} | {row['maker']} | {row['snr_db']:.1f} | "
            f"{row['snr_db_in_kernels']:.1f} | {100 * row['agreement']:.0f}% | "
            f"{row['latency_ratio']:.2f} | {row['processor_seconds']:.1f} | "
            f"{(row['peak_bytes'] or 0) / 1e6:.0f} | {row['nodes']} | "
            f"{row['bytes'] / 1e6:.1f} |"
            for row in rows
            if row["precision"] == precision
        ]
        lines.append("")
    return lines[:-1]


def main(args: Sequence[str] | None = None) -> None:
    flags = parse(Flags, args)
    lines, table = [Path(f"{flags.out}{suffix}") for suffix in (".jsonl", ".md")]
    for path in (lines, table):
        refuse_existing(path, flags.force)
    rows = []
    for name in flags.models:
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(name, Path(folder))
    machine = fingerprint()
    with write_beside(lines, flags.force) as part:
        written = [json.dumps({**row, "machine": machine}) for row in rows]
        part.write_text("\n".join(written) + "\n")
    with write_beside(table, flags.force) as part:
        part.write_text("\n".join(markdown(rows)) + "\n")
    print(table.read_text(), end="")


if __name__ == "__main__":
    run(main)
