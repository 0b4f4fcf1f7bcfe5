"""What a graph computes of its weights alone: computed once, as constants."""

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference.ops._op_list import load_op


def evaluate(
    graph: onnx.GraphProto, weights: dict[str, np.ndarray], opset: int
) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Splits a graph into what depends on its inputs and what does not.

    The latter goes through onnx's reference implementation: kernels that are turned
    or standardised, the factors of a batch normalisation, shapes.

    Args:
        graph: nodes in topological order.
        weights: arrays for some of the graph's inputs, by the input's name; emptied,
            so that an array is freed with its last use.
        opset: of the nodes.

    Returns:
        (nodes that remain, constants by name).
    """
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    left = {name: index for index, node in enumerate(graph.node) for name in node.input}
    kept, needed = [], set()
    for index, node in enumerate(graph.node):
        for name in node.input:
            if name in weights:
                constants[name] = weights.pop(name)
        if all(name in constants or not name for name in node.input):
            constants[node.output[0]] = _compute(node, constants, opset)
            for name in set(node.input) - needed:
                if left[name] == index:
                    constants.pop(name, None)
        else:
            kept.append(node)
            needed.update(node.input)
    return kept, constants


def _compute(node: onnx.NodeProto, constants: dict, opset: int) -> np.ndarray:
    attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    if node.op_type == "Constant":
        return numpy_helper.to_array(attributes["value"])
    inputs = [constants[name] if name else None for name in node.input]
    return np.asarray(load_op("", node.op_type, opset).eval(*inputs, **attributes))
