"""A serving function as tf2onnx's graph, its weights put in afterwards."""

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import tensorflow as tf
from tf2onnx.tfonnx import process_tf_graph

from export.graph.files import attach_weights

if TYPE_CHECKING:
    from export.model.signature import Signature


def trace(signature: "Signature", opset: int) -> ir.Model:
    """Operators for images (batch, channels, height, width).

    Args:
        signature: its batch is left open even if it has one.
        opset: from 13 to 17.

    Returns:
        A model with the images as its only input; its outputs are in the signature's
        order. Its initializers hold the weights as TensorFlow gives them:
        nothing is computed of them yet.
    """
    function = _concrete(signature)
    outputs = [function.structured_outputs[o.name].name for o in signature.outputs]
    inputs = [tensor.name for tensor in function.inputs]
    graph = tf.Graph()
    with graph.as_default(), tf.device("CPU"):
        tf.import_graph_def(function.graph.as_graph_def(), name="")
        converted = process_tf_graph(
            graph,
            opset=opset,
            input_names=inputs[:1],  # its work grows by their number squared
            output_names=outputs,
            inputs_as_nchw=inputs[:1],
            continue_on_error=True,
            custom_op_handlers={"Erfc": (_erfc, [])},
        )
    model = ir.from_proto(converted.make_model("converted by tf2onnx"))
    model.graph.name = signature.model.name
    model.doc_string = None
    model.opset_imports.pop("ai.onnx.ml", None)  # tf2onnx names it in any case
    # A layer's own tensors, such as Normalization's mean, are inputs as well.
    captured = [value for value, _ in function.graph.captures]
    variables = [*signature.model.weights, *captured]
    weights = dict(zip(inputs[1:], variables, strict=True))
    attach_weights(model, {n: ir.Tensor(v.numpy(), name=n) for n, v in weights.items()})
    return model


def _erfc(graph, node, name: str, args: list):
    """1 - erf(x), of exact GELU, which the converter does not know."""
    shape, dtype = graph.get_shape(name), graph.get_dtype(name)
    outputs = node.output
    graph.remove_node(name)
    erf = graph.make_node("Erf", node.input, shapes=[shape], dtypes=[dtype])
    ones = graph.make_const(f"{name}_one", np.float32(1))
    return graph.make_node(
        "Sub",
        [ones.output[0], erf.output[0]],
        outputs=outputs,
        shapes=[shape],
        dtypes=[dtype],
    )


def _concrete(signature: "Signature"):
    """The serving function, with the weights as arguments."""

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
