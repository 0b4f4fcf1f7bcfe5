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

# Operators that multiply and add.
CONVOLUTIONS = ("Conv", "ConvInteger", "ConvTranspose", "FusedConv", "QLinearConv")
PRODUCTS = ("FusedMatMul", "Gemm", "MatMul", "MatMulInteger", "QGemm", "QLinearMatMul")
SCALED = ("QGemm", "QLinearConv", "QLinearMatMul")  # scales stand between their inputs
# Operators that take quantized tensors, and which of their inputs those are.
QUANTIZED = {
    "DequantizeLinear": (0,),
    "QLinearConv": (0, 3, 8),
    "QLinearMatMul": (0, 3),
    "QGemm": (0, 3, 6),
    "ConvInteger": (0, 1),
    "MatMulInteger": (0, 1),
}
# Their constants are settings.
NO_WEIGHTS = {"Resize", "Upsample", "Pad", "Clip", "QuantizeLinear"}
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
    known = _shapes_of(outline) | {n: tuple(t.dims) for n, t in constants.items()}
    shape = known.get(graph.input[0].name) if graph.input else None
    images = shape[0] or 1 if shape and len(shape) == 4 else 1
    # A first axis whose size is lost on the way, in a Reshape to -1, is the batch.
    known = {n: s and (s[0] or images, *s[1:]) for n, s in known.items()}
    total, in_8_bits = _multiply_adds(graph, known)
    return {
        "nodes": dict(nodes.most_common()),
        "foreign": _foreign(graph),
        "parameters": sum(prod(t.dims) for t in weights),
        "parameters_in_8_bits": sum(
            prod(t.dims) for t in weights if t.data_type in BYTES
        ),
        "multiply_adds": None if total is None else total // images,
        "multiply_adds_in_8_bits": None if total is None else in_8_bits // images,
        "batch_norm": nodes[NORM],
        "foldable": _foldable(graph, constants),
    }


def _constants(proto: onnx.ModelProto) -> dict[str, TensorProto]:
    """Initializers, and the values of Constant nodes, by name."""
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "Constant" and node.output:
            for attribute in node.attribute:
                if attribute.name == "value":
                    tensors[node.output[0]] = attribute.t
    return tensors


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _weights(graph: onnx.GraphProto, constants: dict) -> list[TensorProto]:
    """The constants that are parameters: no scales or zero points of quantization."""
    weights = {}
    for node in graph.node:
        if node.op_type in NO_WEIGHTS:
            continue
        # The weights and the bias of a quantized operator may be of any integer type.
        places = QUANTIZED.get(node.op_type)
        for place, name in enumerate(node.input):
            tensor = constants.get(name)
            if tensor is None or (places and place not in places):
                continue
            if places or (tensor.data_type in FLOATS and tensor.dims):
                weights[name] = tensor
    return list(weights.values())


def _multiply_adds(graph: onnx.GraphProto, shapes: dict) -> tuple[int | None, int]:
    """All, None if a shape is unknown; and those in 8 bits."""
    producers = {name: node for node in graph.node for name in node.output}
    total = in_8_bits = 0
    for node in graph.node:
        place = 3 if node.op_type in SCALED else 1
        multiplies = node.op_type in CONVOLUTIONS + PRODUCTS
        if not multiplies or len(node.input) <= place or not node.output:
            continue
        pair = node.input[0], node.input[place]
        products = _products(node, *(shapes.get(n) for n in (*pair, node.output[0])))
        if products is None:
            return None, 0
        total += products
        if node.op_type in QUANTIZED or all(
            _is_dequantized(n, producers) for n in pair
        ):
            in_8_bits += products
    return total, in_8_bits


def _products(
    node: onnx.NodeProto, before: _Shape, kernel: _Shape, after: _Shape
) -> int | None:
    """Multiply-adds of an operator, from the shapes of what enters and leaves it."""
    if node.op_type in CONVOLUTIONS:
        positions = before if node.op_type == "ConvTranspose" else after
        factors = positions and kernel and (positions[0], *positions[2:], *kernel)
    else:
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        factors = before and after and (*after, before[-2 if transposed else -1])
    if not factors or None in factors:
        return None
    return prod(factor for factor in factors if factor is not None)


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
        node.output[0]: constants[node.input[1]].dims[0]
        for node in graph.node
        if node.op_type == "Conv"
        and len(node.input) > 1
        and node.output
        and uses[node.output[0]] == 1
        and node.input[1] in constants
        and constants[node.input[1]].dims
    }
    foldable = 0
    for node in graph.node:
        channels = [convolved[name] for name in node.input if name in convolved]
        sizes = [prod(constants[n].dims) for n in node.input if n in constants]
        by_channel = node.op_type in SCALES and sizes in ([1], channels)
        foldable += bool(channels and (node.op_type == NORM or by_channel))
    return foldable


def _foreign(graph: onnx.GraphProto) -> list[str]:
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
    for value in graph.input:  # the axes of images: batch, height, width, channels
        axes = value.type.tensor_type.shape.dim
        free = [axis for axis in axes[1:] if not axis.dim_value]
        if len(axes) == 4 and not axes[0].dim_value:
            axes[0].dim_value = 1
        if len(axes) == 4 and len(free) == 2 and size is not None:
            free[0].dim_value, free[1].dim_value = size
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
    shapes = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        shapes[value.name] = None
        if kind.HasField("shape"):
            shapes[value.name] = tuple(
                axis.dim_value if axis.HasField("dim_value") else None
                for axis in kind.shape.dim
            )
    return shapes
