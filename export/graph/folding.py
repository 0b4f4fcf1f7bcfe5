"""Makes a converted graph small: normalisation, padding and reversals folded.

Batch normalisation arrives as a Mul and an Add by one constant a channel, and few
rules are needed:

- a Mul or Add by a constant a channel, behind a Conv, goes into the Conv;
- a Pad before a MaxPool or an AveragePool goes into the pool where that is exact;
- a reversal of the channels, of preprocessing for "bgr" weights, goes into the Conv
  that they end in.
"""

from collections import Counter

import numpy as np
import onnx
from onnx import helper

POOLS = ("MaxPool", "AveragePool")
LOWEST = -np.inf  # what a MaxPool pads with
END = 10**9  # how tf2onnx writes a Slice up to the end


def fold(
    nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], outputs: list[str]
) -> list[onnx.NodeProto]:
    """The nodes that remain; `nodes` and `constants` are changed.

    Args:
        nodes: of float32, NCHW at their convolutions, in topological order.
        constants: by name.
        outputs: the tensors that the graph gives.
    """
    nodes = _fold_scales(nodes, constants, outputs)
    nodes = _fold_padding(nodes, constants)
    return _fold_reversal(nodes, constants)


def _fold_scales(nodes: list, constants: dict, outputs: list[str]) -> list:
    """Takes every Mul and Add by a constant a channel into the Conv before it."""
    uses = Counter(outputs + [name for node in nodes for name in node.input])
    owners = Counter(id(_memory(array)) for array in constants.values())
    convolutions = {}  # of each tensor that comes out of one
    kept = []
    for node in nodes:
        source, factor = _operands(node, constants)
        conv = convolutions.get(source)
        if conv and uses[source] == 1 and _fits(factor, constants[conv.input[1]]):
            kernel = constants[conv.input[1]]
            own = uses[conv.input[1]] == 1 == owners[id(_memory(kernel))]
            _scale(conv, node.op_type, factor.reshape(-1), constants, own)
            conv.output[0] = node.output[0]
        else:
            conv = node
            kept.append(node)
        if conv.op_type == "Conv" and conv.input[1] in constants:
            convolutions[conv.output[0]] = conv
    return kept


def _memory(array: np.ndarray) -> np.ndarray:
    """The array that holds the values of this one, which may be a turned view."""
    return array if array.base is None else array.base


def _operands(node: onnx.NodeProto, constants: dict):
    """(tensor, constant) of a Mul or an Add; (None, None) of any other node."""
    if node.op_type in ("Mul", "Add"):
        for one, other in (node.input, reversed(node.input)):
            if other in constants:
                return one, constants[other]
    return None, None


def _fits(factor: np.ndarray, kernel: np.ndarray) -> bool:
    """Whether `factor` has one value a channel (or one) beside (N, C, H, W)."""
    shape = (1,) * (4 - factor.ndim) + factor.shape
    return shape in ((1, kernel.shape[0], 1, 1), (1, 1, 1, 1))


def _scale(conv, operation: str, factor, constants: dict, own: bool) -> None:
    """Scales a convolution; its kernel in place if that is its `own`."""
    kernel = constants[conv.input[1]]
    bias = constants[conv.input[2]] if len(conv.input) > 2 else np.float32(0)
    if operation == "Mul":
        out = kernel if own and kernel.flags.writeable else None
        kernel = np.multiply(kernel, factor.reshape(-1, 1, 1, 1), out=out)
        bias = bias * factor
    else:
        bias = bias + factor
    # New names: another node may use the arrays as they were.
    names = f"{conv.name}.kernel", f"{conv.name}.bias"
    constants[names[0]] = kernel
    constants[names[1]] = np.broadcast_to(bias, len(kernel)).copy()
    conv.input[1:] = names


def _fold_padding(nodes: list, constants: dict) -> list:
    """Takes each Pad before a pool into its `pads`.

    Of a MaxPool they mean minus infinity. Padding with zeros is the same behind a
    ReLU. Elsewhere it is another thing, and onnxruntime's Pad_Fusion would fold it all
    the same (onnxruntime#24737); minus zero as the value keeps it from that and changes
    nothing. An AveragePool can be told to count them as zeros.
    """
    producers = {name: node for node in nodes for name in node.output}
    uses = Counter(name for node in nodes for name in node.input)
    folded = set()
    for pool in nodes:
        pad = producers.get(pool.input[0]) if pool.op_type in POOLS else None
        if pad is None or not _constant_padding(pad, constants):
            continue
        sides = constants[pad.input[1]].tolist()
        value = constants[pad.input[2]] if len(pad.input) > 2 else np.float32(0)
        exact = value == 0
        if pool.op_type == "MaxPool":
            before = producers.get(pad.input[0])
            behind_relu = before is not None and before.op_type == "Relu"
            exact = value == LOWEST or (value == 0 and behind_relu)
        if exact and uses[pad.output[0]] == 1 and _spatial(sides) and _plain(pool):
            _pad_more(pool, sides)
            pool.input[0] = pad.input[0]
            folded.add(pad.output[0])
        elif value == 0:
            name = f"{pad.name}.minus_zero"
            constants[name] = np.float32(-0.0)
            pad.input[2:] = [name]
    return [node for node in nodes if node.output[0] not in folded]


def _constant_padding(node: onnx.NodeProto, constants: dict) -> bool:
    modes = [one.s for one in node.attribute if one.name == "mode"]
    return (
        node.op_type == "Pad"
        and modes in ([], [b"constant"])
        and all(name in constants for name in node.input[1:])
    )


def _spatial(sides: list[int]) -> bool:
    """Whether `sides` of NCHW, all beginnings before all ends, pad H and W alone."""
    return not any(sides[0:2] + sides[4:6]) and min(sides) >= 0


def _plain(pool: onnx.NodeProto) -> bool:
    """Whether a pool pads by `pads` alone; an average's own ones count for nothing."""
    given = {one.name: helper.get_attribute_value(one) for one in pool.attribute}
    padded = any(given.get("pads", ())) and pool.op_type == "AveragePool"
    explicit = given.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
    return explicit and not padded and not given.get("ceil_mode")


def _pad_more(pool: onnx.NodeProto, sides: list[int]) -> None:
    own = [list(one.ints) for one in pool.attribute if one.name == "pads"]
    more = sides[2:4] + sides[6:8]
    pads = [a + b for a, b in zip(own[0] if own else [0] * 4, more, strict=True)]
    others = [one for one in pool.attribute if one.name not in ("pads", "auto_pad")]
    pool.ClearField("attribute")
    pool.attribute.extend([*others, helper.make_attribute("pads", pads)])
    if pool.op_type == "AveragePool":
        pool.attribute.append(helper.make_attribute("count_include_pad", 1))


def _fold_reversal(nodes: list, constants: dict) -> list:
    """Turns a kernel around in place of the channels that come to it reversed."""
    for reversal in nodes:
        axis = _reversed_axis(reversal, constants)
        on_the_way = axis and _until_convolution(reversal, axis, nodes, constants)
        if not on_the_way:
            continue
        for node, place, axis in on_the_way:
            array = constants[node.input[place]]
            axis -= 4 - array.ndim  # it may lack the first axes
            if axis >= 0 and array.shape[axis] > 1:
                constants[f"{node.name}.turned"] = np.flip(array, axis).copy()
                node.input[place] = f"{node.name}.turned"
        (follower,) = _users(reversal.output[0], nodes)
        place = list(follower.input).index(reversal.output[0])
        follower.input[place] = reversal.input[0]
        return [node for node in nodes if node is not reversal]
    return nodes


def _reversed_axis(node: onnx.NodeProto, constants: dict) -> int | None:
    """The axis that a Slice reverses as a whole; None of any other node."""
    if node.op_type != "Slice" or len(node.input) < 5:  # the fifth are the steps
        return None
    if any(name not in constants for name in node.input[1:]):
        return None
    turned = []
    rows = [constants[name].tolist() for name in node.input[1:]]
    for start, end, axis, step in zip(*rows, strict=True):
        if step == -1 and start >= END and end <= -END:
            turned.append(axis % 4)
        elif (start, step) != (0, 1) or end < END:
            return None
    return turned[0] if len(turned) == 1 else None


def _until_convolution(node, axis: int, nodes: list, constants: dict) -> list | None:
    """What is to be turned if `axis` is, from a node's output up to the next Conv.

    Returns:
        (node, which input, which axis of it) of each constant, the kernel last; None
        where the way leads elsewhere, or over anything but scales and zero padding.
    """
    found = []
    while True:
        tensor, users = node.output[0], _users(node.output[0], nodes)
        if len(users) != 1:
            return None
        (node,) = users
        if node.op_type == "Conv":
            plain = helper.get_node_attr_value(node, "group") == 1
            fits = plain and axis == 1 and node.input[1] in constants
            return [*found, (node, 1, 1)] if fits else None
        if node.op_type == "Transpose":
            axis = list(helper.get_node_attr_value(node, "perm")).index(axis)
        elif _operands(node, constants)[0] == tensor:
            found.append((node, 1 - list(node.input).index(tensor), axis))
        elif node.op_type == "Pad" and _constant_padding(node, constants):
            if any(constants[node.input[1]][axis::4]):
                return None
        elif node.op_type != "Cast":
            return None


def _users(tensor: str, nodes: list) -> list:
    return [node for node in nodes if tensor in node.input]
