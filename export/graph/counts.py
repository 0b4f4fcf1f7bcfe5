"""What an ONNX graph holds and does, counted from the graph alone.

Multiply-adds follow the papers on residual networks, as `keras_resnet.complexity`
does: those of convolutions and matrix products, for one image, one for a product and
its addition. Additions, activations, pooling, what normalization a graph still has, and
the resizing of images (an Einsum) are left out. A graph counts what is in it: a blur
or an attention's small convolution, which the papers' tables leave out, is a
convolution here.

Parameters are the numbers that the operators get as constants, each once: kernels,
biases, matrices. Scales and zero points of quantization are none, nor are scalars and
whole numbers such as shapes. Normalization that was folded leaves a bias for each
channel.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import onnx
from onnx import TensorProto
from onnx.helper import make_opsetid, make_tensor_value_info
from onnx.inliner import inline_local_functions

from export.graph.files import MAX_SHAPE_ELEMENTS, without_weights
from keras_resnet.common.errors import InputError

if TYPE_CHECKING:
    import onnx_ir as ir

# Operators that multiply and add: where the weights (or the second matrix) enter.
CONVOLUTIONS = {
    "Conv": 1,
    "ConvInteger": 1,
    "ConvTranspose": 1,
    "FusedConv": 1,
    "QLinearConv": 3,
}
PRODUCTS = {
    "FusedMatMul": 1,
    "Gemm": 1,
    "MatMul": 1,
    "MatMulInteger": 1,
    "QGemm": 3,
    "QLinearMatMul": 3,
}
INTEGER = {"ConvInteger", "QLinearConv", "MatMulInteger", "QLinearMatMul", "QGemm"}
NO_WEIGHTS = {"Resize", "Upsample", "Pad", "Clip"}  # their constants are settings
SAME_VALUES = {"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast"}
FLOATS = {
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.DOUBLE,
    TensorProto.BFLOAT16,
}
BYTES = {TensorProto.INT8, TensorProto.UINT8}
STANDARD = ("", "ai.onnx")
NORM = "BatchNormalization"
SCALES = ("Mul", "Add", "Sub", "Div")
MAX_VALUES_BESIDE = 2**38  # of a tensor in a file of its own
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

_Shape = tuple[int | None, ...] | None  # None for an axis, or all axes, not known


@dataclass(frozen=True)
class _Constant:
    shape: tuple[int, ...]
    dtype: int

    @property
    def size(self) -> int:
        return prod(self.shape)


def count(
    model: "onnx.ModelProto | ir.Model", size: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Counts a graph; of any origin, with its weights in the file or beside it.

    Args:
        model: its large weights' values are not read.
        size: height and width, where its input leaves them open. The batch counts as 1
            where it is open.

    Returns:
        nodes: number by operator, the most frequent first, subgraphs included.
        foreign: those among them that ONNX does not define, by domain and name.
        parameters: see above. parameters_in_8_bits: how many of them are int8 or uint8.
        multiply_adds: for one image; None where the sizes inside stay unknown.
        multiply_adds_in_8_bits: how many of them take 8-bit weights and activations.
        batch_norm: BatchNormalization nodes.
        foldable: BatchNormalization nodes, and multiplications and additions by a
            constant for each channel, right after a convolution that could take them
            in.

    Raises:
        InputError: its shapes contradict each other.
    """
    # Small constants may be shapes, which the inference of the others needs.
    is_proto = isinstance(model, onnx.ModelProto)
    proto = model if is_proto else without_weights(model, keep=MAX_SHAPE_ELEMENTS)
    outline = _outline_of(proto, size)
    graph = outline.graph
    constants = _constants(proto)
    nodes = Counter(node.op_type for node in _nodes(graph))
    weights = _weights(graph, constants)
    known = _shapes_of(outline) | {n: c.shape for n, c in constants.items()}
    shape = known.get(graph.input[0].name) if graph.input else None
    images = shape[0] or 1 if shape and len(shape) == 4 else 1
    # A first axis whose size is lost on the way, in a Reshape to -1, is the batch.
    known = {n: s and (s[0] or images, *s[1:]) for n, s in known.items()}
    total, in_8_bits = _multiply_adds(graph, known)
    return {
        "nodes": dict(nodes.most_common()),
        "foreign": _foreign(proto, graph),
        "parameters": sum(weight.size for weight in weights),
        "parameters_in_8_bits": sum(w.size for w in weights if w.dtype in BYTES),
        "multiply_adds": None if total is None else total // images,
        "multiply_adds_in_8_bits": None if total is None else in_8_bits // images,
        "batch_norm": nodes[NORM],
        "foldable": _foldable(graph, constants),
    }


def _constants(proto: onnx.ModelProto) -> dict[str, _Constant]:
    """Initializers, and the values of Constant nodes, by name."""
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "Constant" and node.output:
            for attribute in node.attribute:
                if attribute.name == "value":
                    tensors[node.output[0]] = attribute.t
    return {n: _Constant(tuple(t.dims), t.data_type) for n, t in tensors.items()}


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _weights(graph: onnx.GraphProto, constants: dict) -> list[_Constant]:
    """The constants that are parameters."""
    weights = {}
    for node in graph.node:
        if node.op_type in NO_WEIGHTS | {"QuantizeLinear"}:
            continue
        # The weights and the bias of a quantized operator may be of any integer type.
        quantized = node.op_type in INTEGER | {"DequantizeLinear"}
        for name in _tensors(node):
            constant = constants.get(name)
            if constant and (
                quantized or (constant.dtype in FLOATS and constant.shape)
            ):
                weights[name] = constant
    return list(weights.values())


def _tensors(node: onnx.NodeProto) -> list[str]:
    """A node's inputs, without scales and zero points of quantization."""
    places = {
        "DequantizeLinear": (0,),
        "QLinearConv": (0, 3, 8),
        "QLinearMatMul": (0, 3),
        "QGemm": (0, 3, 6),
        "ConvInteger": (0, 1),
        "MatMulInteger": (0, 1),
    }.get(node.op_type)
    return [
        name
        for place, name in enumerate(node.input)
        if name and (places is None or place in places)
    ]


def _multiply_adds(graph: onnx.GraphProto, shapes: dict) -> tuple[int | None, int]:
    """All, None if a shape is unknown; and those in 8 bits."""
    producers = {name: node for node in graph.node for name in node.output}
    total = in_8_bits = 0
    for node in graph.node:
        place = (CONVOLUTIONS | PRODUCTS).get(node.op_type)
        if place is None or len(node.input) <= place or not node.output:
            continue
        products = _products(node, node.input[place], shapes)
        if products is None:
            return None, 0
        total += products
        pair = node.input[0], node.input[place]
        if node.op_type in INTEGER or all(_is_dequantized(n, producers) for n in pair):
            in_8_bits += products
    return total, in_8_bits


def _products(node: onnx.NodeProto, weights: str, shapes: dict) -> int | None:
    before, kernel = shapes.get(node.input[0]), shapes.get(weights)
    after = shapes.get(node.output[0])
    if node.op_type in CONVOLUTIONS:
        positions = before if node.op_type == "ConvTranspose" else after
        factors = positions and kernel and (positions[0], *positions[2:], *kernel)
    else:
        axis = -2 if _transposes_first(node) else -1
        factors = before and after and (*after, before[axis])
    return prod(factors) if factors and None not in factors else None


def _transposes_first(node: onnx.NodeProto) -> bool:
    return any(a.name == "transA" and a.i for a in node.attribute)


def _is_dequantized(name: str, producers: dict) -> bool:
    """Whether a tensor comes out of DequantizeLinear, perhaps in another form."""
    seen = set()
    while (node := producers.get(name)) is not None and name not in seen:
        seen.add(name)
        if node.op_type not in SAME_VALUES or not node.input:
            return node.op_type == "DequantizeLinear"
        name = node.input[0]
    return False


def _foldable(graph: onnx.GraphProto, constants: dict) -> int:
    outputs = [value.name for value in graph.output]
    uses = Counter(outputs + [name for node in graph.node for name in node.input])
    convolved = {
        node.output[0]: constants[node.input[1]].shape[0]
        for node in graph.node
        if node.op_type == "Conv"
        and len(node.input) > 1
        and node.output
        and uses[node.output[0]] == 1
        and constants.get(node.input[1], _Constant((), 0)).shape
    }
    foldable = 0
    for node in graph.node:
        channels = [convolved[name] for name in node.input if name in convolved]
        sizes = [constants[name].size for name in node.input if name in constants]
        by_channel = node.op_type in SCALES and sizes in ([1], channels)
        foldable += bool(channels and (node.op_type == NORM or by_channel))
    return foldable


def _foreign(proto: onnx.ModelProto, graph: onnx.GraphProto) -> list[str]:
    names = set()
    for node in _nodes(graph):
        domain = "" if node.domain in STANDARD else node.domain
        if domain or not onnx.defs.has(node.op_type, domain):
            names.add(f"{domain}.{node.op_type}".lstrip("."))
    return sorted(names)


def _outline_of(
    proto: onnx.ModelProto, size: tuple[int, int] | None
) -> onnx.ModelProto:
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
    weights = {tensor.name for tensor in source.initializer}
    graph.input.extend(v for v in source.input if v.name not in weights)
    for value in graph.input:
        _settle(value.type.tensor_type, size)
    for tensor in source.initializer:
        _refuse_damaged(tensor)
        beside = tensor.data_location == TensorProto.EXTERNAL
        if prod(tensor.dims) <= MAX_SHAPE_ELEMENTS and not beside:
            graph.initializer.append(tensor)
            continue
        # A long vector of whole numbers may be taken for a shape of as many axes.
        vector = tensor.data_type == TensorProto.INT64 and len(tensor.dims) == 1
        dims = None if vector else tensor.dims
        graph.input.append(make_tensor_value_info(tensor.name, tensor.data_type, dims))
    if not outline.functions:
        return outline
    return inline_local_functions(outline)


def _refuse_damaged(tensor: TensorProto) -> None:
    """Refuses a tensor of other dimensions than its data: the inference may hang."""
    fields = (
        tensor.int32_data,
        tensor.int64_data,
        tensor.uint64_data,
        tensor.string_data,
        tensor.float_data,
        tensor.double_data,
    )
    values = 8 * max(len(tensor.raw_data), *map(len, fields))  # of one bit or more each
    if tensor.data_location == TensorProto.EXTERNAL:
        values = MAX_VALUES_BESIDE
    if min(tensor.dims, default=0) < 0 or prod(tensor.dims) > values:
        shown = f"{list(tensor.dims)[:8]}, of more values than it holds"
        raise InputError(f"the graph's tensor {tensor.name!r} is {shown}.")


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


def _shapes_of(outline: onnx.ModelProto) -> dict[str, _Shape]:
    """Shapes of the tensors by name, as far as they can be inferred.

    Raises:
        InputError: they contradict each other.
    """
    alike = onnx.ModelProto()
    alike.CopyFrom(outline)
    imported = {opset.domain for opset in alike.opset_import}
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


def _shape(value: onnx.ValueInfoProto) -> _Shape:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    axes = kind.shape.dim
    return tuple(a.dim_value if a.HasField("dim_value") else None for a in axes)
