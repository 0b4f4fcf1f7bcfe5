"""What convolutions and pools can take in: scales, reversed channels, padding.

The passes expect float32 and channels first; unused operators are gone.

`fold_scales` takes each Mul and Add by a constant for each channel (or by a single one)
into the Conv right before it, whose result nothing else uses. Batch normalization
arrives as such a Mul and Add.

`fold_padding` takes the padding before a pool into the pool, where that is exact. A
MaxPool's own `pads` mean minus infinity. Padding with zeros is the same after a Relu.
Elsewhere it is another thing, and onnxruntime's Pad_Fusion would fold it all the same
(onnxruntime#24737); minus zero as the value keeps it from that and changes nothing. An
AveragePool can be made to count what it pads as zeros.

`fold_channel_reversal` takes a reversal of the channels, which preprocessing for
weights of "bgr" images has, into the kernel that they end in.
"""

import numpy as np
import onnx_ir as ir

from export.graph.passes.values import (
    constant,
    new_constant,
    only_use,
    operand,
    replace,
    with_constant,
)

END = 10**9  # how tf2onnx writes a Slice up to the end


def fold_scales(model: ir.Model) -> None:
    for node in model.graph:
        pair = with_constant(node)
        conv = pair[0].producer() if pair else None
        if pair is None or conv is None or conv.op_type != "Conv":
            continue
        kernel, factor = constant(conv.inputs[1]), constant(pair[1])
        if kernel is None or factor is None or only_use(pair[0]) is not node:
            continue
        shape = (1,) * (4 - factor.ndim) + factor.shape
        if shape not in ((1, len(kernel), 1, 1), (1, 1, 1, 1)):
            continue
        factor, bias = factor.reshape(-1), np.zeros(1, np.float32)
        if len(conv.inputs) > 2:
            bias = constant(conv.inputs[2])
            assert bias is not None
        if node.op_type == "Mul":
            _set_constant(conv, 1, "kernel", kernel * factor.reshape(-1, 1, 1, 1))
            bias = bias * factor
        else:
            bias = bias + factor
        _set_constant(conv, 2, "bias", np.broadcast_to(bias, len(kernel)).copy())
        replace(node, conv.outputs[0])


def _set_constant(node: ir.Node, index: int, name: str, array: np.ndarray) -> None:
    """Gives a node a constant of its own, and frees what it had if nothing has it."""
    graph = node.graph
    assert graph is not None
    before = node.inputs[index] if index < len(node.inputs) else None
    node.resize_inputs(max(index + 1, len(node.inputs)))
    node.replace_input_with(index, None)
    if before is not None and before.name is not None and not before.uses():
        graph.initializers.pop(before.name, None)
    name = f"{node.name}.{name}"
    node.replace_input_with(index, new_constant(graph, name, array))


def fold_padding(model: ir.Model) -> None:
    for pool in model.graph:
        is_pool = pool.op_type in ("MaxPool", "AveragePool")
        pad = operand(pool).producer() if is_pool else None
        sides = constant_padding(pad) if pad else None
        if pad is None or sides is None:
            continue
        entry = operand(pad)
        value = constant(pad.inputs[2]) if len(pad.inputs) > 2 else np.float32(0)
        exact = value == 0
        if pool.op_type == "MaxPool":
            producer = entry.producer()
            after_relu = producer is not None and producer.op_type == "Relu"
            exact = value == -np.inf or (value == 0 and after_relu)
        # `sides` has all beginnings before all ends, of images, channels and so on.
        spatial = not any(sides[0:2] + sides[4:6]) and min(sides) >= 0
        if exact and spatial and only_use(pad.outputs[0]) is pool and _takes_pads(pool):
            before = pool.attributes.get_ints("pads", [0] * 4)
            more = sides[2:4] + sides[6:8]
            pads = [a + b for a, b in zip(before, more, strict=True)]
            pool.attributes["pads"] = ir.AttrInt64s("pads", pads)
            pool.attributes.pop("auto_pad", None)
            if pool.op_type == "AveragePool":
                counts = ir.AttrInt64("count_include_pad", 1)
                pool.attributes["count_include_pad"] = counts
            replace(pad, entry)
        elif value == 0:
            name = f"{pad.name}.minus_zero"
            zero = new_constant(model.graph, name, np.array(-0.0, np.float32))
            pad.resize_inputs(3)
            pad.replace_input_with(2, zero)


def constant_padding(node: ir.Node) -> list[int] | None:
    """The sides of a Pad by a constant value; None of any other node."""
    if node.op_type != "Pad" or len(node.inputs) < 2:
        return None
    if node.attributes.get_string("mode", "constant") != "constant":
        return None
    arrays = [constant(value) for value in node.inputs[1:]]
    if any(array is None for array in arrays) or arrays[0] is None:
        return None
    return arrays[0].tolist()


def _takes_pads(pool: ir.Node) -> bool:
    """Whether a pool pads by `pads` alone; an average's own count for nothing."""
    attributes = pool.attributes
    padded = any(attributes.get_ints("pads", ())) and pool.op_type == "AveragePool"
    explicit = attributes.get_string("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    return explicit and not padded and not attributes.get_int("ceil_mode", 0)


def fold_channel_reversal(model: ir.Model) -> None:
    for node in model.graph:
        axis = _reversed_axis(node)
        path = None if axis is None else _path_to_convolution(node, axis)
        if path is None:
            continue
        for user, index, axis in path:
            array = constant(user.inputs[index])
            assert array is not None
            axis -= 4 - array.ndim  # it may lack the first axes
            if axis >= 0 and array.shape[axis] > 1:
                _set_constant(user, index, "reversed", np.flip(array, axis).copy())
        replace(node, operand(node))


def _reversed_axis(node: ir.Node) -> int | None:
    """The axis that a Slice reverses as a whole; None of any other node."""
    if node.op_type != "Slice" or len(node.inputs) < 5:  # the fifth are the steps
        return None
    arrays = [constant(value) for value in node.inputs[1:]]
    rows = [array.tolist() for array in arrays if array is not None]
    if len(rows) < 4:
        return None
    reversed_axes = []
    for start, end, axis, step in zip(*rows, strict=True):
        if step == -1 and start >= END and end <= -END:
            reversed_axes.append(axis % 4)
        elif (start, step) != (0, 1) or end < END:
            return None
    return reversed_axes[0] if len(reversed_axes) == 1 else None


def _path_to_convolution(
    node: ir.Node, axis: int
) -> list[tuple[ir.Node, int, int]] | None:
    """What is to be reversed if `axis` is, from a node's output to the next Conv.

    Returns:
        (node, which input, which axis of it) of each constant, the kernel last; None
        where the path leads elsewhere, or over anything but scales and zero padding.
    """
    path = []
    while True:
        value = node.outputs[0]
        user = only_use(value)
        if user is None:
            return None
        node = user
        pair = with_constant(node)
        if node.op_type == "Conv":
            fits = node.attributes.get_int("group", 1) == 1 and axis == 1
            fits = fits and constant(node.inputs[1]) is not None
            return [*path, (node, 1, 1)] if fits else None
        if node.op_type == "Transpose":
            axis = list(node.attributes["perm"].as_ints()).index(axis)
        elif pair and pair[0] is value:
            path.append((node, 1 - node.inputs.index(value), axis))
        elif node.op_type == "Pad":
            sides = constant_padding(node)
            if sides is None or any(sides[axis::4]):
                return None
        elif node.op_type != "Cast":
            return None
