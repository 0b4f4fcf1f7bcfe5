"""A serving function as tf2onnx's graph, its weights left outside."""

from typing import TYPE_CHECKING

import numpy as np
import onnx
import tensorflow as tf
from tf2onnx.tfonnx import process_tf_graph

if TYPE_CHECKING:
    from export.model.signature import Signature


def trace(
    signature: "Signature", opset: int
) -> tuple[onnx.GraphProto, dict[str, np.ndarray]]:
    """Operators for images (batch, channels, height, width).

    Args:
        signature: its batch is left open even if it has one.
        opset: from 13 to 17.

    Returns:
        (graph, arrays): the graph's first input are the images, its further ones are
        the weights, named as the arrays; its outputs are in the signature's order.
    """
    function = _concrete(signature)
    tensors = [function.structured_outputs[one.name] for one in signature.outputs]
    inputs = [one.name for one in function.inputs]
    graph = tf.Graph()
    with graph.as_default(), tf.device("CPU"):
        tf.import_graph_def(function.graph.as_graph_def(), name="")
        converted = process_tf_graph(
            graph,
            opset=opset,
            input_names=inputs[:1],  # its work grows by their number squared
            output_names=[one.name for one in tensors],
            inputs_as_nchw=inputs[:1],
            continue_on_error=True,
            custom_op_handlers={"Erfc": (_erfc, [])},
        )
    # A layer's own tensors, such as Normalization's mean, are inputs as well.
    captured = [value for value, _ in function.graph.captures]
    values = [*signature.model.weights, *captured]
    arrays = {n: v.numpy() for n, v in zip(inputs[1:], values, strict=True)}
    return converted.make_model("graph").graph, arrays


def _erfc(graph, node, name: str, args: list):
    """1 - erf(x), of exact GELU, which the converter does not know."""
    shape, dtype = graph.get_shape(name), graph.get_dtype(name)
    outputs = node.output
    graph.remove_node(name)
    erf = graph.make_node("Erf", node.input, shapes=[shape], dtypes=[dtype])
    one = graph.make_const(f"{name}_one", np.float32(1))
    return graph.make_node(
        "Sub",
        [one.output[0], erf.output[0]],
        outputs=outputs,
        shapes=[shape],
        dtypes=[dtype],
    )


def _concrete(signature: "Signature"):
    """The serving function as one of images and weights."""

    def serve(images, *weights):
        return signature.with_weights(images, list(weights))

    specification = [tf.TensorSpec((None, *signature.shape[1:]), signature.dtype)]
    for weight in signature.model.weights:
        specification.append(tf.TensorSpec(weight.shape, weight.dtype))
    # Keras calls grouped convolutions through a function for XLA, which the converter
    # does not look into; "eagerly" here, such calls become part of the graph.
    eagerly = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        function = tf.function(serve, autograph=False)
        return function.get_concrete_function(*specification)
    finally:
        tf.config.run_functions_eagerly(eagerly)
