"""What a graph computes of its weights alone: computed once, as constants."""

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator


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
            constants |= _compute(node, constants, opset)
            for name in set(node.input) - needed:
                if left[name] == index:
                    constants.pop(name, None)
        else:
            kept.append(node)
            needed.update(node.input)
    return kept, constants


def _compute(node: onnx.NodeProto, constants: dict, opset: int) -> dict:
    """The node's outputs by name."""
    graph = onnx.GraphProto(node=[node])
    given = {name: constants[name] for name in node.input if name}
    outputs = [name for name in node.output if name]
    evaluator = ReferenceEvaluator(graph, {"": opset})
    return dict(zip(outputs, evaluator.run(outputs, given), strict=True))
