"""A serving function as an ONNX model.

tf2onnx converts the operators, one by one and without any of its optimization, of a
graph that has no weights: they are inputs of it. Then the weights are put in and
`PASSES` make the graph small. With the weights inside and its optimizer on, the
converter takes ten times as long.
"""

from typing import TYPE_CHECKING

from export.graph.files import attach_weights, weights_as_inputs
from export.model.choices import INPUT_NAME
from export.steps import step
from keras_resnet.common.errors import InputError

if TYPE_CHECKING:
    import onnx_ir as ir

    from export.model.signature import Signature

OPSETS = tuple(range(13, 24))  # each is verified for a net of every mechanism
NEWEST_TRACED = 17  # that tf2onnx makes; onnx's converter of versions goes on from it
AXES = ("batch", "height", "width", "channels")


def check_opset(opset: int) -> None:
    """Refuses an opset that is not one of `OPSETS`, with the reason.

    Raises:
        InputError: it is another.
    """
    if opset not in OPSETS:
        why = "what is newer is not proven"
        if opset < min(OPSETS):
            why = "before, operators had other inputs than those that are made small"
        raise InputError(
            f"opset={opset!r}: {min(OPSETS)} to {max(OPSETS)} are accepted; {why}."
        )


def convert(
    signature: "Signature", opset: int, layout: str, verbose: bool = False
) -> "ir.Model":
    """The serving function as a checked ONNX model.

    Args:
        signature: its outputs become the graph's, by name and in order.
        opset: one of `OPSETS`.
        layout: of the input: "nhwc" or "nchw".
        verbose: print the steps.

    Returns:
        A model whose initializers are arrays; some are views of others' memory.

    Raises:
        InputError: an operator of the model has no ONNX form.
    """
    from export.graph.passes import PASSES
    from export.graph.tracing import trace

    with step("converting", verbose):
        model = trace(signature, min(opset, NEWEST_TRACED))
    with step("folding", verbose):
        _refuse_foreign(model)
        for change in PASSES:
            change(model)
    with step("checking", verbose):
        _name_inputs_and_outputs(model, signature, layout)
        return _checked(model, opset)


def _refuse_foreign(model: "ir.Model") -> None:
    import onnx

    for node in model.graph:
        if node.domain or not onnx.defs.has(node.op_type):
            raise InputError(
                f"model {model.graph.name!r} uses {node.op_type} ({node.name}), which "
                "has no ONNX form in tf2onnx."
            )


def _name_inputs_and_outputs(
    model: "ir.Model", signature: "Signature", layout: str
) -> None:
    """Names and shapes at both ends, a Transpose for channels last, and no shapes
    between: they are no use in a file.

    Open axes of maps are named after their output, as C2_height.
    """
    import onnx_ir as ir

    from export.graph.passes.values import shape_of

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
        first = ir.Value(name=f"{INPUT_NAME}_channels_first")
        images.replace_all_uses_with(first, replace_graph_outputs=True)
        transpose = ir.node(
            "Transpose",
            [images],
            {"perm": [0, 3, 1, 2]},
            outputs=[first],
            name=first.name,
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


def _checked(model: "ir.Model", opset: int) -> "ir.Model":
    """The model in an opset, as onnx's full check accepts it; weights are not copied.

    Raises:
        InputError: the conversion or the check fails.
    """
    import onnx

    import keras_resnet

    try:
        if opset != model.opset_imports[""]:
            model = _in_opset(model, opset)
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


def _in_opset(model: "ir.Model", opset: int) -> "ir.Model":
    import onnx
    import onnx_ir as ir

    proto = onnx.version_converter.convert_version(weights_as_inputs(model), opset)
    converted = ir.from_proto(proto)
    values = model.graph.initializers.values()
    tensors = {str(v.name): v.const_value for v in values if v.const_value is not None}
    attach_weights(converted, tensors)
    return converted
