"""int8: pairs of QuantizeLinear and DequantizeLinear, or the weights alone.

A pair on a tensor says that 8 bits are enough there. Where all tensors around a node
have one, the runtime takes its integer kernel; which tensors those are depends on the
kernels of the runtime.

Weights have one scale for each output channel: w is about scale * q, q in -127..127,
symmetric, as every runtime's kernels want it (Krishnamoorthi 2018, "Quantizing deep
convolutional networks", section 3.1).
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from export.graph.passes.values import new_constant, only_use, operand
from export.quantization.graph import (
    WITH_WEIGHTS,
    after_relu,
    array_of,
    chain_to_source,
    channel_axis,
    is_constant,
    layers_with_weights,
    name_of,
    new_node,
    remove_unused_constants,
    values_pass,
)

# Computed in integers where all that enters them comes from integers.
FOLLOWING = ("Add", "AveragePool", "Concat", "GlobalAveragePool", "Mul", "Sigmoid")
MAX_BIAS = 2**30  # in steps; the sums have 32 bits
LEVELS = 127  # on each side of zero
MIN_WEIGHT_SCALE = 1e-30  # a channel of zeros has no scale of its own
MIN_SCALE = 1e-20  # of an activation: a tensor of zeros has no scale of its own


def integer_layers(model: ir.Model) -> list[str]:
    """Names of the nodes that can compute in integers, in the order of the graph."""
    names, integers = [], set()
    weighted = {n for n in layers_with_weights(model) if n.op_type != "MatMul"}
    for node in model.graph:
        follows = node.op_type in FOLLOWING and integers.issuperset(node.inputs)
        follows = follows and len(set(node.inputs)) == len(node.inputs)  # no square
        if node in weighted or follows:
            names.append(name_of(node))
            integers.add(node.outputs[0])
        elif node.op_type == "Relu" or values_pass(node):
            integers.update(node.outputs if node.inputs[0] in integers else ())
    return names


def around_cpu_kernels(nodes: Iterable[ir.Node]) -> Iterator[ir.Value]:
    """What enters and leaves each node: onnxruntime's integer kernels want both.

    Its kernel of a Gemm can give float32, which the logits are left in.
    """
    for node in nodes:
        yield from (v for v in node.inputs if v is not None and v.const_value is None)
        if node.op_type != "Gemm":
            yield after_relu(node)


def before_tensorrt_kernels(nodes: Iterable[ir.Node]) -> Iterator[ir.Value]:
    """What enters each node.

    A convolution is fused with the Add after it, so that of an Add's inputs only the
    other one, the shortcut, is rounded (TensorRT#1992).
    """
    for node in nodes:
        if node.op_type == "Add":
            addends = [operand(node, 0), operand(node, 1)]
            fused = [value for value in addends if _ends_convolution(value)][-1:]
            yield from (value for value in addends if value not in fused)
        elif node.op_type not in ("Concat", "Mul", "Sigmoid"):
            yield operand(node)


def _ends_convolution(value: ir.Value) -> bool:
    producer = value.producer()
    convolution = producer is not None and producer.op_type == "Conv"
    return convolution and only_use(value) is not None


@dataclass(frozen=True)
class Target:
    """How int8 is written for one kind of runtime.

    Attributes:
        tensors: those that get a pair, of the nodes that shall compute in int8.
        dtype: of activations: "uint8" with a zero point, so that a ReLU is the cut at
            the lowest integer, or "int8", symmetric.
        integer_bias: int32 in place of float32.
    """

    tensors: Callable[[Iterable[ir.Node]], Iterator[ir.Value]]
    dtype: str
    integer_bias: bool


CPU = Target(around_cpu_kernels, "uint8", integer_bias=True)
TENSORRT = Target(before_tensorrt_kernels, "int8", integer_bias=False)


def rounded_tensors(
    model: ir.Model, layers: Collection[str], target: Target
) -> dict[ir.Value, ir.Value]:
    """The tensors that get a pair, and of each the one whose range it takes.

    Args:
        model: in float32.
        layers: names of the nodes that shall compute in int8.
        target: the kind of runtime.
    """
    nodes = [node for node in model.graph if node.name in layers]
    chains = [list(chain_to_source(value)) for value in target.tensors(nodes)]
    return {value: chain[-1] for chain in chains for value in chain}


def insert_qdq(
    model: ir.Model,
    layers: Collection[str],
    ranges: Mapping[str, tuple[float, float]],
    target: Target,
) -> None:
    """A pass: the layers compute in int8.

    Args:
        model: in float32; it is changed.
        layers: names of the nodes.
        ranges: (lowest, highest) of the tensors that `rounded_tensors` leads to.
        target: the kind of runtime.
    """
    graph, rounded = model.graph, rounded_tensors(model, layers, target)
    layers, scales = set(layers), {}
    for source in dict.fromkeys(rounded.values()):
        scale, zero_point = _scale_of(*ranges[name_of(source)], target.dtype)
        scales[source] = (
            new_constant(graph, f"{source.name}.scale", scale),
            new_constant(graph, f"{source.name}.zero_point", zero_point),
        )
    for node in list(graph):
        if node.name in layers and node.op_type in WITH_WEIGHTS:
            scale, _ = scales[rounded[operand(node)]]
            _round_weights(node, array_of(scale), target.integer_bias)
    for value, source in rounded.items():
        _insert_pair(graph, value, *scales[source])
    remove_unused_constants(graph)


def _round_weights(node: ir.Node, entering: np.ndarray, integer_bias: bool) -> None:
    """int8 for a node's kernel and int32 for its bias, in steps of the sums.

    Args:
        node: with a constant kernel.
        entering: the scale of what enters it.
        integer_bias: whether the bias shall be int32.
    """
    bias = None
    if integer_bias and len(node.inputs) > 2 and is_constant(node.inputs[2]):
        bias = array_of(node.inputs[2]).reshape(-1)
    min_scale = 0.0 if bias is None else np.abs(bias) / (entering * MAX_BIAS)
    axis = channel_axis(node)
    levels, scale = quantize_weights(array_of(node.inputs[1]), axis, min_scale)
    _insert_dequantize(node, 1, levels, scale, axis)
    if bias is not None:
        steps = np.rint(bias / (entering * scale).astype("float64"))
        _insert_dequantize(node, 2, steps.astype("int32"), entering * scale, 0)


def _insert_pair(
    graph: ir.Graph, value: ir.Value, scale: ir.Value, zero_point: ir.Value
) -> None:
    """Has all that read a tensor read it rounded, graph outputs too."""
    name, producer = value.name, value.producer()
    # An input of the graph keeps its name; of other tensors the result takes it.
    result = ir.val(name if producer else f"{name}.rounded")
    if value.is_graph_output():
        result.type, result.shape = value.type, value.shape
    value.replace_all_uses_with(result, replace_graph_outputs=True)
    if producer:
        value.name = f"{name}.exact"
    quantize = ir.node(
        "QuantizeLinear",
        [value, scale, zero_point],
        outputs=[ir.val(f"{name}.quantized")],
        name=f"{name}.QuantizeLinear",
    )
    dequantize = ir.node(
        "DequantizeLinear",
        [quantize.outputs[0], scale, zero_point],
        outputs=[result],
        name=f"{name}.DequantizeLinear",
    )
    if producer:
        graph.insert_after(producer, [quantize, dequantize])
    else:
        graph.insert_before(graph[0], [quantize, dequantize])


def _scale_of(low: float, high: float, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point of a range that includes 0."""
    if dtype == "int8":
        scale, zero_point = max(-low, high) / LEVELS, 0
    else:
        scale = (high - low) / 255
        zero_point = round(-low / scale) if scale > MIN_SCALE else 0
    return np.array(max(scale, MIN_SCALE), "float32"), np.array(zero_point, dtype)


def quantize_weights(
    weights: np.ndarray, axis: int, min_scale: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """int8 of the weights' shape, and float32 scales along `axis`.

    Args:
        weights: float32.
        axis: of the output channels.
        min_scale: the smallest scale of each channel.
    """
    others = tuple(i for i in range(weights.ndim) if i != axis)
    peaks = np.abs(weights).max(axis=others)
    scale = np.maximum(peaks / LEVELS, np.maximum(min_scale, MIN_WEIGHT_SCALE))
    scale = scale.astype("float32")
    levels = np.rint(weights / _along(scale, axis, weights.ndim))
    return np.clip(levels, -LEVELS, LEVELS).astype("int8"), scale


def _along(scale: np.ndarray, axis: int, ndim: int) -> np.ndarray:
    """The scales in a shape that broadcasts along an axis of the weights."""
    return scale.reshape([-1 if i == axis else 1 for i in range(ndim)])


def _insert_dequantize(
    node: ir.Node, place: int, levels: np.ndarray, scale: np.ndarray, axis: int
) -> None:
    """Has an input of a node come from integers through a DequantizeLinear."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    name = f"{node.name}.{'bias' if place == 2 else 'kernel'}.rounded"
    zeros = np.zeros(scale.shape, levels.dtype)
    arrays = {"quantized": levels, "scale": scale, "zero_point": zeros}
    constants = [new_constant(graph, f"{name}.{n}", a) for n, a in arrays.items()]
    dequantize = new_node("DequantizeLinear", constants, name, axis=axis)
    graph.insert_before(node, dequantize)
    node.replace_input_with(place, dequantize.outputs[0])


def weights_to_int8(model: ir.Model, layers: Collection[str]) -> None:
    """A pass: the layers' weights are int8, and become float32 when a file is loaded.

    A Cast and a Mul do it, which runtimes compute once. onnxruntime leaves a
    DequantizeLinear to every run, and is slower than in float32 then.

    Args:
        model: in float32; it is changed.
        layers: names of the nodes.
    """
    graph, widened = model.graph, {}
    for node in layers_with_weights(model):
        if node.name not in layers:
            continue
        kernel = operand(node, 1)
        if kernel not in widened:
            axis, weights = channel_axis(node), array_of(kernel)
            levels, scale = quantize_weights(weights, axis)
            factor = _along(scale, axis, weights.ndim)
            name = name_of(kernel)
            quantized = new_constant(graph, f"{name}.quantized", levels)
            cast = new_node("Cast", [quantized], f"{name}.cast", to=ir.DataType.FLOAT)
            by = new_constant(graph, f"{name}.scale", factor)
            multiply = new_node("Mul", [cast.outputs[0], by], f"{name}.float")
            graph.insert_before(node, [cast, multiply])
            widened[kernel] = multiply.outputs[0]
        node.replace_input_with(1, widened[kernel])
    remove_unused_constants(graph)
