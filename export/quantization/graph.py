"""What the passes of a lower precision ask of a graph: its constants and its layers.

Producers and consumers come from onnx_ir (`value.producer()`, `value.uses()`).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from export.graph.passes.values import only_use, operand

WITH_WEIGHTS = ("Conv", "Gemm", "MatMul")
# Their output holds values of their input alone: one scale serves both sides.
VALUES_PASS = (
    "Flatten",
    "MaxPool",
    "Pad",
    "Reshape",
    "Slice",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)


def name_of(item: ir.Value | ir.Node) -> str:
    """The name, which every value and node in a graph has."""
    assert item.name is not None
    return item.name


def is_constant(value: ir.Value | None) -> bool:
    """Whether a tensor is there, and is a constant."""
    return value is not None and value.const_value is not None


def array_of(value: ir.Value | None) -> np.ndarray:
    """The array of a constant."""
    assert value is not None and value.const_value is not None
    return value.const_value.numpy()


def new_node(
    operator: str, inputs: Sequence[ir.Value], name: str, **attributes: Any
) -> ir.Node:
    """A node, not in the graph yet, whose only output has its name."""
    return ir.node(operator, inputs, attributes, outputs=[ir.val(name)], name=name)


def remove_unused_constants(graph: ir.Graph) -> None:
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]


def layers_with_weights(model: ir.Model) -> list[ir.Node]:
    """The nodes that multiply by a constant float32 array of two axes or more."""
    layers = []
    for node in model.graph:
        if node.op_type in WITH_WEIGHTS and is_constant(node.inputs[1]):
            kernel = array_of(node.inputs[1])
            layers += [node] if kernel.dtype == "float32" and kernel.ndim > 1 else []
    return layers


def channel_axis(node: ir.Node) -> int:
    """The axis of the output channels in the kernel of a layer with weights."""
    if node.op_type == "Conv" or node.attributes.get_int("transB", 0):
        return 0
    return array_of(node.inputs[1]).ndim - 1


def values_pass(node: ir.Node) -> bool:
    """Whether a node gives values of its first input alone; a Pad may add zeros."""
    if node.op_type == "Pad" and len(node.inputs) > 2 and node.inputs[2] is not None:
        return is_constant(node.inputs[2]) and not array_of(node.inputs[2]).any()
    return node.op_type in VALUES_PASS


def chain_to_source(value: ir.Value) -> Iterator[ir.Value]:
    """The tensor and those that it holds the values of, up to where they arise."""
    yield value
    while (node := value.producer()) is not None and values_pass(node):
        value = operand(node)
        yield value


def after_relu(node: ir.Node) -> ir.Value:
    """What a node gives, after the ReLU that a runtime fuses with it."""
    consumer = only_use(node.outputs[0])
    if consumer is not None and consumer.op_type == "Relu":
        return consumer.outputs[0]
    return node.outputs[0]


def inferred_values(model: ir.Model) -> dict[str, ir.Value]:
    """Values with the types and shapes that onnx infers, by name; the model stays."""
    from onnx_ir.passes.common import ShapeInferencePass

    described = model.clone()
    infer = ShapeInferencePass(check_type=False, strict_mode=False, data_prop=False)
    infer(described)
    return ir.convenience.create_value_mapping(described.graph)
