"""Weights as int8, one scale for each output channel.

w is about scale * q, q in -127..127: symmetric, as every runtime's kernels want it
(Krishnamoorthi 2018, "Quantizing deep convolutional networks", section 3.1).
"""

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from export.quantization.graph import (
    add_constant,
    array_of,
    channel_axis,
    input_of,
    layers_with_weights,
    remove_unused_constants,
)

LEVELS = 127
MIN_SCALE = 1e-30  # a channel of zeros has no scale of its own


def quantize_weights(
    weights: np.ndarray, axis: int, min_scale: np.ndarray | float = MIN_SCALE
) -> tuple[np.ndarray, np.ndarray]:
    """int8 of the weights' shape, and float32 scales along `axis`.

    Args:
        weights: float32.
        axis: of the output channels.
        min_scale: the smallest scale of each channel.
    """
    others = tuple(i for i in range(weights.ndim) if i != axis)
    peaks = np.abs(weights).max(axis=others)
    scale = np.maximum(peaks / LEVELS, np.maximum(min_scale, MIN_SCALE))
    scale = scale.astype("float32")
    levels = np.rint(weights / along(scale, axis, weights.ndim))
    return np.clip(levels, -LEVELS, LEVELS).astype("int8"), scale


def along(scale: np.ndarray, axis: int, ndim: int) -> np.ndarray:
    """The scales in a shape that broadcasts along an axis of the weights."""
    return scale.reshape([-1 if i == axis else 1 for i in range(ndim)])


def insert_dequantize(
    node: ir.Node, place: int, levels: np.ndarray, scale: np.ndarray, axis: int
) -> None:
    """Has an input of a node come from integers through a DequantizeLinear."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    name = f"{node.name}.{'bias' if place == 2 else 'kernel'}.rounded"
    zeros = np.zeros(scale.shape, levels.dtype)
    dequantize = ir.node(
        "DequantizeLinear",
        [
            add_constant(graph, f"{name}.quantized", levels),
            add_constant(graph, f"{name}.scale", scale),
            add_constant(graph, f"{name}.zero_point", zeros),
        ],
        {"axis": axis},
        outputs=[ir.val(name)],
        name=name,
    )
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
        kernel = input_of(node, 1)
        if kernel not in widened:
            axis, weights = channel_axis(node), array_of(kernel)
            levels, scale = quantize_weights(weights, axis)
            factor = along(scale, axis, weights.ndim)
            cast = ir.node(
                "Cast",
                [add_constant(graph, f"{kernel.name}.quantized", levels)],
                {"to": ir.DataType.FLOAT},
                outputs=[ir.val(f"{kernel.name}.cast")],
                name=f"{kernel.name}.cast",
            )
            multiply = ir.node(
                "Mul",
                [cast.outputs[0], add_constant(graph, f"{kernel.name}.scale", factor)],
                outputs=[ir.val(f"{kernel.name}.float")],
                name=f"{kernel.name}.float",
            )
            graph.insert_before(node, [cast, multiply])
            widened[kernel] = multiply.outputs[0]
        node.replace_input_with(1, widened[kernel])
    remove_unused_constants(graph)
