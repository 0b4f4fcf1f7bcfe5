"""A serving function as an ONNX model.

tf2onnx converts the operators, one by one and without any of its optimization, of a
graph that has no weights: they are inputs of it. Then the weights are put in and
`PASSES` make the graph small. With the weights inside and its optimizer on, the
converter takes ten times as long.
"""

import numpy as np
import onnx
import onnx_ir as ir
import tensorflow as tf
from tf2onnx.tfonnx import process_tf_graph

import keras_resnet
from export.config import INPUT_NAME
from export.graph import passes
from export.graph.files import weights_as_inputs
from export.graph.passes.values import shape_of
from export.model.signature import Signature
from keras_resnet.common.command import step
from keras_resnet.common.errors import InputError

NEWEST_TRACED = 17  # that tf2onnx makes; onnx's converter of versions goes on from it
AXES = ("batch", "height", "width", "channels")


def convert(
    signature: Signature, opset: int, layout: str, verbose: bool = False
) -> ir.Model:
    """The serving function as a checked ONNX model.

    Args:
        signature: its outputs become the graph's, by name and in order.
        opset: one of `export.onnx.OPSETS`.
        layout: of the input: "nhwc" or "nchw".
        verbose: print the steps.

    Returns:
        A model whose initializers are arrays; some are views of others' memory.

    Raises:
        InputError: an operator of the model has no ONNX form.
    """
    with step("converting", verbose):
        model = trace(signature, min(opset, NEWEST_TRACED))
        for node in model.graph:
            if node.domain or not onnx.defs.has(node.op_type):
                raise InputError(
                    f"model {model.graph.name!r} uses {node.op_type} ({node.name}), "
                    "which has no ONNX form in tf2onnx."
                )
    with step("folding", verbose):
        for change in passes.PASSES:
            change(model)
    with step("checking", verbose):
        _name_inputs_and_outputs(model, signature, layout)
        return _checked(model, opset)


def trace(signature: Signature, opset: int) -> ir.Model:
    """tf2onnx's operators for images (batch, channels, height, width).

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
    _attach_weights(
        model, {n: ir.Tensor(v.numpy(), name=n) for n, v in weights.items()}
    )
    return model


def _concrete(signature: Signature):
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


def _attach_weights(model: ir.Model, tensors: dict[str, ir.TensorProtocol]) -> None:
    """Puts initializers in place of all inputs but the first."""
    graph = model.graph
    for entry in graph.inputs[1:]:
        # A new value, since the list of inputs goes on holding what is removed from it.
        weight = ir.val(entry.name, const_value=tensors[str(entry.name)])
        graph.inputs.remove(entry)
        entry.replace_all_uses_with(weight)
        graph.register_initializer(weight)


def _name_inputs_and_outputs(
    model: ir.Model, signature: Signature, layout: str
) -> None:
    """Names and shapes at both ends, a Transpose for channels last, and no shapes
    between: they are no use in a file.

    Open axes of maps are named after their output, as C2_height.
    """
    graph = model.graph
    (images,) = graph.inputs
    sizes = [s or name for s, name in zip(signature.shape, AXES, strict=True)]
    first_shape = ir.Shape(sizes[axis] for axis in (0, 3, 1, 2))
    outputs = [(value.type, shape_of(value) or ()) for value in graph.outputs]
    for node in graph:
        for value in node.outputs:
            value.shape = value.type = None
    images.name, images.shape = INPUT_NAME, first_shape
    if layout == "nhwc":
        first = ir.val(f"{INPUT_NAME}_channels_first")
        images.replace_all_uses_with(first, replace_graph_outputs=True)
        perm = {"perm": [0, 3, 1, 2]}
        transpose = ir.node(
            "Transpose", [images], perm, outputs=[first], name=first.name
        )
        images.shape = ir.Shape(sizes)
        graph.insert_before(graph[0], transpose)
    for index, output in enumerate(signature.outputs):
        value = graph.outputs[index]
        if value in graph.outputs[:index] or value.is_graph_input():
            identity = ir.node("Identity", [value], name=output.name)
            graph.append(identity)
            (value,) = identity.outputs
            graph.outputs[index] = value
        value.name = output.name
        value.type, shape = outputs[index]
        names = ("batch", f"{output.name}_height", f"{output.name}_width", "channels")
        axes = [
            size if isinstance(size, int) else name
            for size, name in zip(shape, names, strict=False)
        ]
        value.shape = ir.Shape([signature.shape[0] or "batch", *axes[1:]])


def _checked(model: ir.Model, opset: int) -> ir.Model:
    """The model in an opset, as onnx's full check accepts it; weights are not copied.

    Raises:
        InputError: the conversion or the check fails.
    """
    try:
        if opset != model.opset_imports[""]:
            proto = weights_as_inputs(model)
            proto = onnx.version_converter.convert_version(proto, opset)
            values = model.graph.initializers.values()
            tensors = {
                str(v.name): v.const_value for v in values if v.const_value is not None
            }
            model = ir.from_proto(proto)
            _attach_weights(model, tensors)
        onnx.checker.check_model(weights_as_inputs(model), full_check=True)
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        onnx.version_converter.ConvertError,
    ) as error:
        raise InputError(
            f"model {model.graph.name!r} has no valid ONNX form: {error}"
        ) from error
    identifiers = [onnx.helper.make_opsetid("", opset)]
    model.ir_version = onnx.helper.find_min_ir_version_for(identifiers)
    model.producer_name = "keras_resnet"
    model.producer_version = keras_resnet.__version__
    return model
