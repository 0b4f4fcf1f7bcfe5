"""A serving function as an ONNX model.

tf2onnx converts the operators, one by one and without any of its optimisation, of a
graph that has no weights: they are inputs of it. What the graph computes of them alone
is computed here, the rest is made small, and the weights come in at the end. With the
weights inside and its optimiser on, the converter takes ten times as long.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from export.model.choices import INPUT_NAME
from export.steps import step
from keras_resnet.common.errors import InputError

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from export.model.signature import Signature

# Each is proven for one net of every mechanism.
OPSETS = (17, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23)
NEWEST = 17  # that tf2onnx makes; from there on onnx's converter of versions goes on


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

    Raises:
        InputError: an operator of the model has no ONNX form.
    """
    import onnx_ir as ir

    from export.graph.assembly import assemble
    from export.graph.constants import evaluate
    from export.graph.folding import fold
    from export.graph.layout import channels_first
    from export.graph.norms import fold_norms
    from export.graph.shapes import infer
    from export.graph.tracing import trace

    made = min(opset, NEWEST)
    with step("converting", verbose):
        graph, weights = trace(signature, made)
    with step("folding", verbose):
        outputs = [one.name for one in graph.output]
        _refuse_foreign(graph.node, signature.model.name)
        nodes, constants = evaluate(graph, weights, made)
        shapes = infer(nodes, graph, constants)
        ends = [shapes[one] for one in outputs]
        nodes, outputs = channels_first(nodes, constants, shapes, outputs)
        nodes = fold(_used(nodes, outputs), constants, outputs)
        nodes = fold_norms(_used(nodes, outputs), constants, shapes, outputs)
        nodes = _used(nodes, outputs)
    with step("checking", verbose):
        nodes = _named(nodes, graph, outputs, signature, layout)
        return ir.from_proto(
            assemble(
                signature.model.name,
                nodes,
                [_input(signature, graph, layout)],
                _outputs(signature, graph, ends),
                constants,
                (made, opset),
            )
        )


def _refuse_foreign(nodes: Iterable["onnx.NodeProto"], model: str) -> None:
    import onnx

    for node in nodes:
        if node.domain or not onnx.defs.has(node.op_type):
            raise InputError(
                f"model {model!r} uses {node.op_type} ({node.name}), which has no ONNX "
                "form in tf2onnx."
            )


def _used(nodes: list["onnx.NodeProto"], outputs: list[str]) -> list["onnx.NodeProto"]:
    """The nodes that an output depends on."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    return kept[::-1]


def _named(nodes, graph, outputs, signature, layout) -> list["onnx.NodeProto"]:
    """The nodes between `images` and the outputs by their names."""
    from onnx import helper

    first = INPUT_NAME
    ahead, behind = [], []
    if layout == "nhwc":
        first = f"{INPUT_NAME}_channels_first"
        ahead = [
            helper.make_node(
                "Transpose", [INPUT_NAME], [first], first, perm=[0, 3, 1, 2]
            )
        ]
    names = {graph.input[0].name: first}
    for tensor, output in zip(outputs, signature.outputs, strict=True):
        if tensor in names:
            behind.append(helper.make_node("Identity", [names[tensor]], [output.name]))
        else:
            names[tensor] = output.name
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    return [*ahead, *nodes, *behind]


def _input(signature, graph, layout) -> "onnx.ValueInfoProto":
    from onnx import helper

    axes = zip(signature.shape, ("batch", "height", "width", "channels"), strict=True)
    shape = [size or name for size, name in axes]
    if layout == "nchw":
        shape = [shape[axis] for axis in (0, 3, 1, 2)]
    kind = graph.input[0].type.tensor_type.elem_type
    return helper.make_tensor_value_info(INPUT_NAME, kind, shape)


def _outputs(signature, graph, shapes) -> list["onnx.ValueInfoProto"]:
    """Open axes of maps are named after their output, as C2_height."""
    from onnx import helper

    found = []
    for output, value, shape in zip(
        signature.outputs, graph.output, shapes, strict=True
    ):
        names = ("batch", f"{output.name}_height", f"{output.name}_width")
        axes = [
            size if isinstance(size, int) else name
            for size, name in zip(shape, (*names, "channels"), strict=False)
        ]
        axes[0] = signature.shape[0] or "batch"
        kind = value.type.tensor_type.elem_type
        found.append(helper.make_tensor_value_info(output.name, kind, axes))
    return found
