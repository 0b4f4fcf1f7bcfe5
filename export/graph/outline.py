"""A graph without its weights' values, and the shapes of its tensors."""

from math import prod

import onnx
from onnx import TensorProto
from onnx.helper import make_opsetid, make_tensor_value_info

from keras_resnet.common.errors import InputError

Shape = tuple[int | None, ...] | None  # None for an axis, or all axes, not known
MOST = 2**38  # values of a tensor in a file of its own
SMALL = 1024  # elements; larger constants say nothing of shapes
# onnxruntime's own operators: whose shapes they have, and which inputs that one takes.
ALIKE = {
    "FusedConv": ("Conv", slice(0, 3)),
    "QLinearAdd": ("Add", slice(0, 4, 3)),
    "QLinearMul": ("Mul", slice(0, 4, 3)),
    "QLinearSigmoid": ("Sigmoid", slice(1)),
    "QLinearAveragePool": ("AveragePool", slice(1)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", slice(1)),
    "QLinearConcat": ("Concat", slice(2, None, 3)),
}


def outline_of(proto: onnx.ModelProto, size: tuple[int, int] | None) -> onnx.ModelProto:
    """The model without large weights, its inputs' sizes settled, functions inlined.

    Raises:
        InputError: a weight's dimensions are not those of its data.
    """
    outline = onnx.ModelProto()
    outline.ir_version = proto.ir_version
    outline.opset_import.extend(proto.opset_import)
    outline.functions.extend(proto.functions)
    graph, source = outline.graph, proto.graph
    graph.name = source.name
    graph.node.extend(source.node)
    graph.output.extend(source.output)
    held = {one.name for one in source.initializer}
    graph.input.extend(one for one in source.input if one.name not in held)
    for value in graph.input:
        _settle(value.type.tensor_type, size)
    for one in source.initializer:
        _refuse_damaged(one)
        if prod(one.dims) <= SMALL and one.data_location != TensorProto.EXTERNAL:
            graph.initializer.append(one)
            continue
        # A long vector of whole numbers may be taken for a shape of as many axes.
        vector = one.data_type == TensorProto.INT64 and len(one.dims) == 1
        dims = None if vector else one.dims
        graph.input.append(make_tensor_value_info(one.name, one.data_type, dims))
    if not outline.functions:
        return outline
    return onnx.inliner.inline_local_functions(outline)


def _refuse_damaged(one: TensorProto) -> None:
    """Refuses a tensor of other dimensions than its data: the inference may hang."""
    fields = (
        one.int32_data,
        one.int64_data,
        one.uint64_data,
        one.string_data,
        one.float_data,
        one.double_data,
    )
    values = 8 * max(len(one.raw_data), *map(len, fields))  # of one bit or more each
    if one.data_location == TensorProto.EXTERNAL:
        values = MOST
    if min(one.dims, default=0) < 0 or prod(one.dims) > values:
        shown = f"{list(one.dims)[:8]}, of more values than it holds"
        raise InputError(f"the graph's tensor {one.name!r} is {shown}.")


def _settle(kind: onnx.TypeProto.Tensor, size: tuple[int, int] | None) -> None:
    """Gives the open axes of an input of images their sizes: batch, height, width."""
    axes = kind.shape.dim
    if len(axes) != 4:
        return
    if not axes[0].dim_value:
        axes[0].dim_value = 1
    free = [axis for axis in axes[1:] if not axis.dim_value]
    if size is not None and len(free) == 2:
        free[0].dim_value, free[1].dim_value = size


def shapes_of(outline: onnx.ModelProto) -> dict[str, Shape]:
    """Shapes of the tensors by name, as far as they can be inferred.

    Raises:
        InputError: they contradict each other.
    """
    alike = onnx.ModelProto()
    alike.CopyFrom(outline)
    imported = {one.domain for one in alike.opset_import}
    strange = {node.domain for node in alike.graph.node} - imported
    alike.opset_import.extend(make_opsetid(domain, 1) for domain in strange)
    for node in alike.graph.node:
        if node.domain == "com.microsoft" and node.op_type in ALIKE:
            node.op_type, taken = ALIKE[node.op_type]
            node.domain, node.input[:] = "", node.input[taken]
    try:
        graph = onnx.shape_inference.infer_shapes(alike, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise InputError(f"the graph's shapes cannot be inferred: {error}") from error
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: _shape(value) for value in values}


def _shape(value: onnx.ValueInfoProto) -> Shape:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    axes = kind.shape.dim
    return tuple(a.dim_value if a.HasField("dim_value") else None for a in axes)
