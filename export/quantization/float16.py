"""float16 between float32 ends, with float32 left where float16's range is too small.

Runtimes on GPUs take the precision from the file (TensorRT from version 11 on has no
other way); on CPUs onnxruntime computes in float32 around it.
"""

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from export.graph.passes.values import new_constant
from export.quantization.graph import (
    WITH_WEIGHTS,
    array_of,
    inferred_values,
    is_constant,
    name_of,
    remove_unused_constants,
)

FLOAT16_MAX = float(np.finfo(np.float16).max)  # 65504
# Statistics, exponentials and quotients; and what has no float16 form everywhere.
IN_FLOAT32 = (
    "Cast",
    "Div",
    "Exp",
    "InstanceNormalization",
    "Log",
    "Pow",
    "Reciprocal",
    "Softmax",
    "Sqrt",
    "TopK",
    "ReduceMax",
    "ReduceMean",
    "ReduceSum",
    "ReduceSumSquare",
    "Resize",
)
ELEMENTWISE = ("Abs", "Add", "Mul", "Sub")


def products(model: ir.Model) -> list[str]:
    """Names of the nodes that float16 matters for, in the order of the graph."""
    return [name_of(node) for node in model.graph if node.op_type in WITH_WEIGHTS]


def to_float16(model: ir.Model, layers: Collection[str]) -> None:
    """A pass: the model computes in float16, its input and outputs are in float32.

    What comes before the first convolution (preprocessing), statistics with the
    squares that enter them, and softmax stay in float32.

    Args:
        model: in float32; it is changed.
        layers: names of the products that shall be in float16; other products stay in
            float32.
    """
    graph = model.graph
    inferred = inferred_values(model)
    floats = {
        value
        for name, value in ir.convenience.create_value_mapping(graph).items()
        if inferred[name].dtype == ir.DataType.FLOAT
    }
    in_float16 = _nodes_in_float16(graph, floats, set(layers))
    halves = {}  # float32 tensors that a node in float16 reads, and their float16 form
    for node in list(graph):
        if node not in in_float16:
            continue
        for place, value in enumerate(node.inputs):
            if value is None or value not in floats or value.producer() in in_float16:
                continue
            if value not in halves:
                halves[value] = _rounded(graph, node, value)
            node.replace_input_with(place, halves[value])
        for value in node.outputs:
            if value in floats:
                _widen_for_others(node, value, in_float16)
    remove_unused_constants(graph)


def _nodes_in_float16(
    graph: ir.Graph, floats: set[ir.Value], layers: set[str]
) -> set[ir.Node]:
    chosen, after_product = set(), set()
    for node in graph:
        product = node.op_type in WITH_WEIGHTS
        if not product and after_product.isdisjoint(node.inputs):
            continue
        after_product.update(node.outputs)
        allowed = node.name in layers if product else node.op_type not in IN_FLOAT32
        if allowed and not floats.isdisjoint(node.inputs):
            chosen.add(node)
    # A square is as large as the statistic that it enters.
    for node in reversed(graph):
        consumers = [use.node for output in node.outputs for use in output.uses()]
        if node.op_type in ELEMENTWISE and consumers and chosen.isdisjoint(consumers):
            chosen.discard(node)
    return chosen


def _rounded(graph: ir.Graph, node: ir.Node, value: ir.Value) -> ir.Value:
    """A float32 tensor in float16, for the first node that reads it so.

    A constant is rounded; what lies beyond float16's range is cut, infinity stays.
    """
    name = f"{value.name}.half"
    if is_constant(value):
        array = array_of(value)
        finite = np.clip(array, -FLOAT16_MAX, FLOAT16_MAX)
        array = np.where(np.isinf(array), array, finite).astype(np.float16)
        return new_constant(graph, name, array)
    cast = _cast(value, ir.val(name), ir.DataType.FLOAT16)
    graph.insert_before(node, cast)
    return cast.outputs[0]


def _widen_for_others(node: ir.Node, value: ir.Value, in_float16: set[ir.Node]) -> None:
    """Has nodes in float32, and the graph's outputs, read a node's output cast."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    widened = ir.Value(name=value.name, type=value.type, shape=value.shape)
    others = [use for use in value.uses() if use.node not in in_float16]
    if others or value.is_graph_output():
        for index, output in enumerate(graph.outputs):
            if output is value:
                graph.outputs[index] = widened
        for consumer, place in others:
            consumer.replace_input_with(place, widened)
        cast = _cast(value, widened, ir.DataType.FLOAT)
        graph.insert_after(node, cast)
    value.name = f"{value.name}.half"
    value.type = value.shape = None  # float32 is not true any more


def _cast(value: ir.Value, result: ir.Value, dtype: ir.DataType) -> ir.Node:
    return ir.node(
        "Cast", [value], {"to": dtype}, outputs=[result], name=f"{result.name}.cast"
    )
