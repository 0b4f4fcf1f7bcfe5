"""A serving function as an ONNX model.

tf2onnx converts the graph without its kernels, which `export.graph.folding` brings in
afterwards: with them the converter takes ten times as long.
"""

from typing import TYPE_CHECKING

from export.steps import step
from keras_resnet.errors import InputError

if TYPE_CHECKING:
    import onnx

    from export.signature import Signature


def convert(
    signature: "Signature", opset: int, layout: str, verbose: bool = False
) -> "onnx.ModelProto":
    """The serving function as a checked ONNX model.

    Raises:
        InputError: an operator of the model has no ONNX form.
    """
    import onnx

    from export.graph.folding import fold

    with step("converting", verbose):
        proto, kernels = _convert_graph(signature, opset, layout)
    with step("folding", verbose):
        fold(proto.graph, kernels)
        _name_axes(proto.graph, signature, layout)
        used = {node.domain for node in proto.graph.node}
        opsets = [one for one in proto.opset_import if one.domain in used]
        proto.ClearField("opset_import")
        proto.opset_import.extend(opsets)
        proto.graph.name = signature.model.name
    with step("checking", verbose):
        try:
            onnx.checker.check_model(proto, full_check=True)
        except (
            onnx.checker.ValidationError,
            onnx.shape_inference.InferenceError,
        ) as error:
            raise InputError(
                f"model {signature.model.name!r} has no valid ONNX form: {error}"
            ) from error
    return proto


def _convert_graph(signature, opset, layout):
    """tf2onnx's graph, whose inputs are the images and the kernels; the kernels."""
    import tensorflow as tf
    import tf2onnx

    arrays = [one.numpy() for one in signature.model.weights]
    kernels = {f"kernel_{i}": a for i, a in enumerate(arrays) if a.ndim > 1}

    def serve(images, *inputs):
        given = dict(zip(kernels, inputs, strict=True))
        weights = [
            tf.convert_to_tensor(given.get(f"kernel_{i}", array))
            for i, array in enumerate(arrays)
        ]
        return {signature.output: signature.with_weights(images, weights)}

    specification = [tf.TensorSpec(signature.shape, signature.dtype, "images")]
    for name, array in kernels.items():
        specification.append(tf.TensorSpec(array.shape, array.dtype, name))
    function = tf.function(serve, autograph=False)
    # Keras calls grouped convolutions through a function for XLA, which the converter
    # does not look into; "eagerly" here, such calls become part of the graph.
    eagerly = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        concrete = function.get_concrete_function(*specification)
    finally:
        tf.config.run_functions_eagerly(eagerly)
    # A layer's own tensors, such as Normalization's mean, are inputs of the graph too.
    for value, inside in concrete.graph.captures:
        if value.dtype != tf.resource:
            kernels[inside.name] = value.numpy()
    proto, _ = tf2onnx.convert.from_function(
        function,
        specification,
        opset=opset,
        inputs_as_nchw=["images"] if layout == "nchw" else None,
    )
    return proto, kernels


def _name_axes(graph, signature, layout) -> None:
    axes = ("batch", "height", "width", "channels")
    if layout == "nchw":
        axes = ("batch", "channels", "height", "width")
    for value, names in ((graph.input[0], axes), (graph.output[0], ("batch",))):
        for axis, name in zip(value.type.tensor_type.shape.dim, names, strict=False):
            if not axis.dim_value:
                axis.dim_param = name
