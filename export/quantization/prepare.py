"""Passes that bring a float32 graph into the forms that integer kernels exist for.

Each changes the model in place and leaves the function that it computes as it was.
"""

import numpy as np
import onnx_ir as ir

from export.quantization.graph import (
    add_constant,
    array_of,
    chain_to_source,
    inferred_values,
    input_of,
    is_constant,
    name_of,
    remove_unused_constants,
    sole_consumer,
)

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
        entering, matrix = input_of(node, 0), input_of(node, 1)
        shape = values[name_of(entering)].shape
        if shape is None or len(shape) != 2 or not _has_axes(matrix, 2):
            continue
        inputs, replaced = [entering, matrix], [node]
        consumer = sole_consumer(node.outputs[0])
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
        *_, source = chain_to_source(input_of(node))
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
                add_constant(model.graph, f"{node.name}.kernel", kernel),
                add_constant(model.graph, f"{node.name}.bias", shift.astype("float32")),
            ],
            {"group": len(kernel), "kernel_shape": [1, 1]},
            name=node.name,
        )
        ir.convenience.replace_nodes_and_values(
            model.graph, node, [node], [convolution], node.outputs, convolution.outputs
        )
    remove_unused_constants(model.graph)
