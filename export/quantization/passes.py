"""The passes that make each lower precision, in order.

A precision is a row of `PRECISIONS`: passes that bring the float32 model into form, the
layers that can be lowered, the tensors whose ranges are calibrated, and the pass that
lowers the layers. Every pass is a function that changes an `onnx_ir.Model` in place.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

import onnx_ir as ir

from export.quantization.float16 import products, to_float16
from export.quantization.graph import layers_with_weights, name_of
from export.quantization.prepare import (
    batch_norm_to_convolution,
    matmul_to_gemm,
    name_nodes,
)
from export.quantization.qdq import (
    CPU,
    TENSORRT,
    Target,
    insert_qdq,
    integer_layers,
    rounded_tensors,
)
from export.quantization.weights import weights_to_int8

Ranges = Mapping[str, tuple[float, float]]
INT8_BY_CHANNEL = "int8 per channel"


@dataclass(frozen=True, kw_only=True)
class Passes:
    """How a float32 model comes into a lower precision.

    Attributes:
        prepare: passes over the float32 model, in order; its function stays.
        layers: names of the nodes that can be lowered, in the order of the graph.
        calibrated: of a model and its layers, the tensors that need a range; None
            where the precision needs no calibration.
        lower: the pass that lowers the named layers, with the ranges by tensor.
        activations, weights: what they become, for the file's metadata.
    """

    prepare: tuple[Callable[[ir.Model], None], ...]
    layers: Callable[[ir.Model], list[str]]
    calibrated: Callable[[ir.Model, Collection[str]], list[str]] | None = None
    lower: Callable[[ir.Model, Collection[str], Ranges], None]
    activations: str
    weights: str


def _calibrated(model: ir.Model, layers: Collection[str], target: Target) -> list[str]:
    sources = rounded_tensors(model, layers, target).values()
    return [name_of(value) for value in dict.fromkeys(sources)]


PRECISIONS = {
    "float16": Passes(
        prepare=(name_nodes, matmul_to_gemm),
        layers=products,
        lower=lambda model, layers, ranges: to_float16(model, layers),
        activations="float16",
        weights="float16",
    ),
    "int8": Passes(
        prepare=(name_nodes, matmul_to_gemm, batch_norm_to_convolution),
        layers=integer_layers,
        calibrated=partial(_calibrated, target=CPU),
        lower=partial(insert_qdq, target=CPU),
        activations=f"{CPU.dtype} per tensor",
        weights=INT8_BY_CHANNEL,
    ),
    "int8-tensorrt": Passes(
        prepare=(name_nodes, matmul_to_gemm),
        layers=integer_layers,
        calibrated=partial(_calibrated, target=TENSORRT),
        lower=partial(insert_qdq, target=TENSORRT),
        activations=f"{TENSORRT.dtype} per tensor",
        weights=INT8_BY_CHANNEL,
    ),
    "int8-weights": Passes(
        prepare=(name_nodes, matmul_to_gemm),
        layers=lambda model: [name_of(n) for n in layers_with_weights(model)],
        lower=lambda model, layers, ranges: weights_to_int8(model, layers),
        activations="float32",
        weights=INT8_BY_CHANNEL,
    ),
}
