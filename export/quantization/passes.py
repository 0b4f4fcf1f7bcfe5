"""The passes that make each lower precision, in order.

A precision is a row of `PRECISIONS`: passes that bring the float32 model into form, the
layers that can be lowered, the tensors whose ranges are calibrated, and the pass that
lowers the layers. Every pass is a function that changes an `onnx_ir.Model` in place;
those here bring it into the forms that integer kernels exist for.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx_ir as ir

from export.graph.passes.values import new_constant, only_use, operand
from export.quantization.float16 import products, to_float16
from export.quantization.graph import (
    array_of,
    chain_to_source,
    inferred_values,
    is_constant,
    layers_with_weights,
    name_of,
    remove_unused_constants,
)
from export.quantization.int8 import (
    CPU,
    TENSORRT,
    Target,
    insert_qdq,
    integer_layers,
    rounded_tensors,
    weights_to_int8,
)

Ranges = Mapping[str, tuple[float, float]]
INT8_BY_CHANNEL = "int8 per channel"
# Integers come from these; a normalization after them can be computed in integers.
INTEGER_SOURCES = ("Add", "AveragePool", "Concat", "Conv", "Relu")


def name_nodes(model: ir.Model) -> None:
    """Every node has a name, if need be that of its output: records name layers."""
    for node in model.graph:
        if not node.name:
            node.name = node.outputs[0].name


def matmul_to_gemm(model: ir.Model) -> None:
    """A product with a constant matrix and the Add of a bias become one Gemm.

    Its integer kernel sums the bias in 32 bits.
    """
    values = inferred_values(model)
    for node in list(model.graph):
        if node.op_type != "MatMul":
            continue
        entering, matrix = operand(node, 0), operand(node, 1)
        shape = values[name_of(entering)].shape
        if shape is None or len(shape) != 2 or not _has_axes(matrix, 2):
            continue
        inputs, replaced = [entering, matrix], [node]
        consumer = only_use(node.outputs[0])
        if consumer is not None and consumer.op_type == "Add":
            (other,) = (v for v in consumer.inputs if v is not node.outputs[0])
            if _has_axes(other, 1):
                inputs, replaced = [*inputs, other], [node, consumer]
        gemm = ir.node("Gemm", inputs, name=node.name)
        ir.convenience.replace_nodes_and_values(
            model.graph, node, replaced, [gemm], replaced[-1].outputs, gemm.outputs
        )


def _has_axes(value: ir.Value | None, count: int) -> bool:
    """Whether a tensor is a constant of so many axes."""
    return is_constant(value) and array_of(value).ndim == count


def batch_norm_to_convolution(model: ir.Model) -> None:
    """A BatchNormalization becomes a depthwise convolution with kernels of 1 x 1.

    It is done where what enters comes from integers: in networks of the
    pre-activation form, whose normalization no convolution before it could take in.
    The kernels have one value a channel, which int8 holds exactly, and an integer
    kernel of BatchNormalization does not exist.
    """
    for node in list(model.graph):
        if node.op_type != "BatchNormalization":
            continue
        *_, source = chain_to_source(operand(node))
        producer = source.producer()
        if producer is None or producer.op_type not in INTEGER_SOURCES:
            continue
        if not all(is_constant(value) for value in node.inputs[1:]):
            continue
        gamma, beta, mean, variance = (array_of(value) for value in node.inputs[1:])
        scale = gamma / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
        shift = beta - mean * scale
        kernel = scale.astype("float32").reshape(-1, 1, 1, 1)
        convolution = ir.node(
            "Conv",
            [
                node.inputs[0],
                new_constant(model.graph, f"{node.name}.kernel", kernel),
                new_constant(model.graph, f"{node.name}.bias", shift.astype("float32")),
            ],
            {"group": len(kernel), "kernel_shape": [1, 1]},
            name=node.name,
        )
        ir.convenience.replace_nodes_and_values(
            model.graph, node, [node], [convolution], node.outputs, convolution.outputs
        )
    remove_unused_constants(model.graph)


def _calibrated(model: ir.Model, layers: Collection[str], target: Target) -> list[str]:
    sources = rounded_tensors(model, layers, target).values()
    return [name_of(value) for value in dict.fromkeys(sources)]


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
