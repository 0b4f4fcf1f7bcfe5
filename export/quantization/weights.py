"""Weights as int8, one scale an output channel.

w is about scale * q, q in -127..127: symmetric, as every runtime's kernels want it
(Krishnamoorthi 2018, "Quantizing deep convolutional networks", section 3.1).
"""

from collections.abc import Iterable
from itertools import chain

import numpy as np
import onnx
from onnx import helper, numpy_helper

LEVELS = 127
WEIGHTED = ("Conv", "Gemm", "MatMul")
SMALLEST = 1e-30  # of a scale: a channel of zeros has none of its own


def constants_of(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    return {one.name: one for one in graph.initializer}


def weighted(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that multiply by a constant float32 array of two axes or more."""
    floats = {
        one.name
        for one in graph.initializer
        if one.data_type == onnx.TensorProto.FLOAT and len(one.dims) > 1
    }
    return [n for n in graph.node if n.op_type in WEIGHTED and n.input[1] in floats]


def channel_axis(node: onnx.NodeProto, weight: np.ndarray) -> int:
    """The axis of the output channels in the weight of a node in `WEIGHTED`."""
    if node.op_type == "Conv":
        return 0
    turned = {one.name: one.i for one in node.attribute}.get("transB", 0)
    return 0 if turned else weight.ndim - 1


def quantize(
    weight: np.ndarray, axis: int, least: np.ndarray | float = SMALLEST
) -> tuple[np.ndarray, np.ndarray]:
    """int8 of the weight's shape, and float32 scales along `axis`.

    Args:
        weight: float32.
        axis: of the output channels.
        least: the smallest scale of each channel.
    """
    others = tuple(i for i in range(weight.ndim) if i != axis)
    peaks = np.abs(weight).max(axis=others)
    scale = np.maximum(peaks / LEVELS, np.maximum(least, SMALLEST)).astype("float32")
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    levels = np.rint(weight / scale.reshape(shape))
    return np.clip(levels, -LEVELS, LEVELS).astype("int8"), scale


def dequantized(
    name: str, levels: np.ndarray, scale: np.ndarray, axis: int
) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
    """A DequantizeLinear that gives `name`, and the constants it reads."""
    inputs = [f"{name}.{part}" for part in ("quantized", "scale", "zero_point")]
    arrays = levels, scale, np.zeros(scale.shape, levels.dtype)
    node = helper.make_node("DequantizeLinear", inputs, [name], name=name, axis=axis)
    tensors = [
        numpy_helper.from_array(a, n) for a, n in zip(arrays, inputs, strict=True)
    ]
    return node, tensors


def replace_nodes(
    proto: onnx.ModelProto,
    nodes: Iterable[onnx.NodeProto],
    tensors: Iterable[onnx.TensorProto],
) -> onnx.ModelProto:
    """A model as `proto` is, of other nodes, and of those constants that they read."""
    nodes = list(nodes)
    used = {name for node in nodes for name in node.input}
    found = constants_of(proto.graph) | {one.name: one for one in tensors}
    model = onnx.ModelProto()
    for field in ("ir_version", "producer_name", "producer_version", "opset_import"):
        _copy(proto, model, field)
    for field in ("name", "input", "output"):
        _copy(proto.graph, model.graph, field)
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(t for name, t in found.items() if name in used)
    return model


def _copy(source, target, field: str) -> None:
    value = getattr(source, field)
    if isinstance(value, int | str):
        setattr(target, field, value)
    else:
        getattr(target, field).extend(value)


def lower_weights(proto: onnx.ModelProto, kept: Iterable[str]) -> onnx.ModelProto:
    """The model with int8 weights that become float32 when it is loaded.

    A Cast and a Mul do it, which runtimes compute once. onnxruntime leaves a
    DequantizeLinear to every run, and is slower than in float32 then.

    Args:
        proto: in float32.
        kept: names of nodes whose weights stay as they are.
    """
    constants = constants_of(proto.graph)
    chosen = {n.name for n in weighted(proto.graph)} - set(kept)
    before, nodes, tensors = {}, [], []
    for node in proto.graph.node:
        if node.name in chosen:
            name = node.input[1]
            if name not in before:
                weight = numpy_helper.to_array(constants[name])
                before[name], more = _widened(name, weight, channel_axis(node, weight))
                tensors += more
            node = onnx.NodeProto.FromString(node.SerializeToString())
            node.input[1] = f"{name}.float"
        nodes.append(node)
    return replace_nodes(proto, [*chain(*before.values()), *nodes], tensors)


def _widened(name: str, weight: np.ndarray, axis: int):
    """The nodes that give `<name>.float` of int8, and the constants they read."""
    levels, scale = quantize(weight, axis)
    scale = scale.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
    small, cast, factor, result = (
        f"{name}.{part}" for part in ("quantized", "cast", "scale", "float")
    )
    nodes = [
        helper.make_node("Cast", [small], [cast], cast, to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [cast, factor], [result], result),
    ]
    arrays = (levels, small), (scale, factor)
    return nodes, [numpy_helper.from_array(*one) for one in arrays]
