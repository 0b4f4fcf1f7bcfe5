"""Normalisations that stay in the graph, as the operators that runtimes have for them.

- The fourteen operators that Keras computes a group normalisation by become an
  InstanceNormalization of the groups, and a scale and an offset a channel;
- a Mul and an Add by a constant a channel become a BatchNormalization, which
  onnxruntime keeps in the convolutions' own blocked layout.
"""

from collections import Counter

import numpy as np
import onnx
from onnx import helper

from export.graph.shapes import plain

# (x - mean) / sqrt(variance + epsilon) * gamma + beta, as `tf.nn.batch_normalization`
# and `tf.nn.moments` order it: an operator and its inputs, or the name of a tensor.
MEAN = ("ReduceMean", "x")
DISTANCE = ("Sub", "x", MEAN)
VARIANCE = ("ReduceMean", ("Mul", DISTANCE, DISTANCE))
DEVIATION = ("Sqrt", ("Add", VARIANCE, "epsilon"))
SCALE = ("Mul", ("Reciprocal", DEVIATION), "gamma")
OFFSET = ("Add", ("Mul", ("Neg", MEAN), SCALE), "beta")
IN_GROUP = [2, 3, 4]  # of images, groups, channels of a group, height, width
GROUP_NORM = ("Add", ("Mul", "x", SCALE), OFFSET)


def fold_norms(
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    shapes: dict[str, tuple],
    outputs: list[str],
) -> list[onnx.NodeProto]:
    """The nodes with the two rules applied; those out of use remain in between.

    Args:
        nodes: NCHW at their convolutions, in topological order.
        constants: by name; new ones are added.
        shapes: by tensor.
        outputs: the tensors that the graph gives.
    """
    makers = {name: node for node in nodes for name in node.output}
    changed = []
    for node in nodes:
        changed += _group_norm(node, makers, constants, shapes) or [node]
    return _batch_norms(changed, constants, outputs)


def _group_norm(node, makers, constants, shapes) -> list[onnx.NodeProto] | None:
    """In place of the Reshape that ends one; None of any other node."""
    found: dict[str, str] = {}
    if node.op_type != "Reshape" or not _match(
        GROUP_NORM, node.input[0], makers, found
    ):
        return None
    start = makers.get(found["x"])
    wanted = all(found[name] in constants for name in ("epsilon", "gamma", "beta"))
    if not wanted or start is None or start.op_type != "Reshape":
        return None
    if plain(shapes[start.input[0]]) != plain(shapes[node.output[0]]):
        return None
    groups = shapes[found["x"]][1]
    name = node.output[0]
    parts = {part: f"{name}.{part}" for part in ("groups", "normal", "channels")}
    constants |= {
        f"{name}.shape": np.array([0, groups, -1]),
        f"{name}.ones": np.ones(groups, np.float32),
        f"{name}.zeros": np.zeros(groups, np.float32),
    }
    epsilon = float(constants[found["epsilon"]].reshape(()))
    flat = [start.input[0], f"{name}.shape"]
    unit = [parts["groups"], f"{name}.ones", f"{name}.zeros"]
    return [
        _node("Reshape", flat, parts["groups"]),
        _node("InstanceNormalization", unit, parts["normal"], epsilon=epsilon),
        _node("Reshape", [parts["normal"], node.input[1]], parts["channels"]),
        *_scale(
            parts["channels"],
            name,
            constants[found["gamma"]],
            constants[found["beta"]],
            constants,
        ),
    ]


def _match(pattern, tensor: str, makers: dict, found: dict[str, str]) -> bool:
    """Whether a tensor is computed as the pattern says; names its tensors."""
    if isinstance(pattern, str):
        return found.setdefault(pattern, tensor) == tensor
    operator, *inputs = pattern
    node = makers.get(tensor)
    if node is None or node.op_type != operator or len(node.input) != len(inputs):
        return False
    if operator == "ReduceMean" and _axes(node) != IN_GROUP:
        return False
    pairs = zip(inputs, node.input, strict=True)
    return all(_match(*pair, makers, found) for pair in pairs)


def _axes(node: onnx.NodeProto) -> list[int]:
    return list(helper.get_node_attr_value(node, "axes"))


def _batch_norms(nodes: list, constants: dict, outputs: list[str]) -> list:
    uses = Counter(outputs + [name for node in nodes for name in node.input])
    scaled, kept = {}, []
    for node in nodes:
        tensor, factor = _by_channel(node, constants)
        before = scaled.get(tensor)
        if node.op_type == "Mul" and factor is not None:
            scaled[node.output[0]] = tensor, factor
        if node.op_type == "Add" and before and uses[tensor] == 1:
            source, gamma = before
            kept += _scale(source, node.output[0], gamma, factor, constants)
        else:
            kept.append(node)
    return kept


def _by_channel(node: onnx.NodeProto, constants: dict):
    """(tensor, constant of (1, C, 1, 1)) of a Mul or an Add; else (None, None)."""
    if node.op_type in ("Mul", "Add"):
        for one, other in (node.input, reversed(node.input)):
            shape = constants[other].shape if other in constants else ()
            if len(shape) == 4 and shape == (1, shape[1], 1, 1) and shape[1] > 1:
                return one, constants[other]
    return None, None


def _scale(source: str, name: str, gamma, beta, constants: dict) -> list:
    """A BatchNormalization that is no more than `gamma` and `beta`."""
    channels = gamma.size
    values = {
        f"{name}.gamma": gamma.reshape(-1),
        f"{name}.beta": beta.reshape(-1),
        f"{name}.mean": np.zeros(channels, np.float32),
        f"{name}.variance": np.ones(channels, np.float32),
    }
    constants |= values
    return [_node("BatchNormalization", [source, *values], name, epsilon=0.0)]


def _node(operator: str, inputs: list[str], output: str, **attributes):
    return helper.make_node(operator, inputs, [output], output, **attributes)
