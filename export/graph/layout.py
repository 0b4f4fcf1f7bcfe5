"""Takes a graph from channels last to channels first, by not turning tensors at all.

TensorFlow keeps channels last and an ONNX convolution wants them first, so the
converter sets a Transpose before and behind each. The walk over the graph here keeps
in mind that a tensor is another one turned, and hands the other one on: to operators
that look at each element alone as it is, to those that name axes with their axes
renamed. A Transpose is made only where something needs the tensor turned; and where
no two axes longer than 1 change their order, a Reshape does.
"""

import numpy as np
import onnx
from onnx import helper

from export.graph.shapes import Perm, Shape, order_reshaped, plain

ELEMENTWISE = {
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "Max",
    "Min",
    "Where",
    "Equal",
    "Less",
    "Greater",
    "Relu",
    "LeakyRelu",
    "Elu",
    "Sigmoid",
    "Tanh",
    "Clip",
    "Exp",
    "Log",
    "Sqrt",
    "Reciprocal",
    "Neg",
    "Abs",
    "Floor",
    "Ceil",
    "Round",
    "Erf",
    "Softplus",
    "HardSigmoid",
    "HardSwish",
    "Cast",
}
METHODS = {
    **dict.fromkeys(ELEMENTWISE, "along"),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Concat", "Split"), "along"),
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze"), "reshape"),
    **dict.fromkeys(("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"), "reduce"),
    **{name: name.lower() for name in ("Identity", "Transpose", "Slice", "Pad")},
    **{name: name.lower() for name in ("Einsum", "Tile", "Shape")},
}


def channels_first(
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    shapes: dict[str, Shape],
    outputs: list[str],
) -> tuple[list[onnx.NodeProto], list[str]]:
    """The nodes without the Transposes that can be done without.

    Args:
        nodes: in topological order; they are changed.
        constants: by name; those of new nodes are added.
        shapes: by tensor; they become those of the new nodes.
        outputs: the graph's.

    Returns:
        (new nodes, the tensors that are the outputs now).
    """
    walk = _Walk(constants, shapes)
    for node in nodes:
        method = METHODS.get(node.op_type)
        if not (method and getattr(walk, method)(node)):
            node.input[:] = [name and walk.straight(name) for name in node.input]
            walk.nodes.append(node)
    return walk.nodes, [walk.straight(name) for name in outputs]


class _Walk:
    """Each method takes a node of its kind, or returns False to leave it as it is."""

    def __init__(self, constants, shapes):
        self.constants = constants
        self.shapes = shapes
        self.nodes = []
        self.turned: dict[str, tuple[str, Perm]] = {}  # tensor: (source, perm)
        self.made: dict[tuple, str] = {}  # what `transposed` and `reshaped` gave
        self.bases: dict[str, str] = {}  # output of a Reshape: what it reshapes

    def identity(self, node):
        self.turned[node.output[0]] = self.source(node.input[0])
        return True

    def transpose(self, node):
        order = helper.get_node_attr_value(node, "perm")
        source, perm = self.source(node.input[0], len(order))
        self.turned[node.output[0]] = source, tuple(perm[axis] for axis in order)
        return True

    def along(self, node):
        """An operator that treats positions alike, but for an axis it may name."""
        shape = self.shapes.get(node.output[0])
        perm = self.leading(node.input, len(shape or ()))
        if perm is None:
            return False
        count = 1 if node.op_type == "Split" else len(node.input)  # others are sizes
        for place, name in enumerate(node.input[:count]):
            node.input[place] = name and self.arranged(name, perm)
        if node.op_type not in ELEMENTWISE:
            given = {one.name: one.i for one in node.attribute}
            _set(node, axis=perm[given.get("axis", -1) % len(perm)])
        return self.leave(node, perm)

    def reduce(self, node):
        source, perm = self.source(node.input[0])
        given = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        if "axes" not in given or not perm:
            return False
        axes = {axis % len(perm) for axis in given["axes"]}
        places = sorted(perm[axis] for axis in axes)
        node.input[0], name = source, node.output[0]
        if node.op_type == "ReduceMean" and len(perm) == 4 and places == [2, 3]:
            pool = helper.make_node("GlobalAveragePool", [source], [name], node.name)
            self.nodes.append(pool)
            self.shapes[name] = shape = (*self.shapes[source][:2], 1, 1)
            if given.get("keepdims", 1):
                self.turned[name] = name, perm
            elif perm[0] < perm[3]:  # images before channels remain
                self.turned[name] = self.reshaped(name, shape[:2]), (0, 1)
            return True
        _set(node, axes=places)
        if given.get("keepdims", 1):
            return self.leave(node, perm)
        rest = [place for axis, place in enumerate(perm) if axis not in axes]
        return self.leave(node, tuple(sorted(rest).index(place) for place in rest))

    def reshape(self, node):
        before, after = self.seen(node.input[0]), self.shapes.get(node.output[0])
        if before is None or after is None:
            return False
        source, perm = self.source(node.input[0])
        order = order_reshaped(perm, before, after)
        if order is None:
            source, order = self.straight(node.input[0]), range(len(after))
        tensor = self.reshaped(source, tuple(after[axis] for axis in order))
        if tensor is None:
            return False
        self.turned[node.output[0]] = tensor, tuple(np.argsort(order).tolist())
        return True

    def slice(self, node):
        source, perm = self.source(node.input[0])
        if not perm or len(node.input) < 4 or node.input[3] not in self.constants:
            return False
        axes = self.constants[node.input[3]]
        places = [perm[axis % len(perm)] for axis in axes.tolist()]
        node.input[0], node.input[3] = source, self.numbers(places, axes.dtype)
        return self.leave(node, perm)

    def einsum(self, node):
        """The letters follow the axes; an operand whose last axis is summed goes first:
        onnxruntime multiplies it as it lies."""
        equation = helper.get_node_attr_value(node, "equation").decode()
        *terms, result = equation.replace("->", ",").split(",")
        sources = [self.source(name) for name in node.input]
        ranks = [len(perm) for _, perm in sources]
        if "." in equation or len(result) not in ranks or ranks != [*map(len, terms)]:
            return False
        operands = [
            (_turned(term, perm), source)
            for term, (source, perm) in zip(terms, sources, strict=True)
        ]
        operands.sort(key=lambda one: (one[0][-1:] in result, -len(one[0])))
        terms, node.input[:] = zip(*operands, strict=True)
        perm = sources[ranks.index(len(result))][1]
        _set(node, equation=f"{','.join(terms)}->{_turned(result, perm)}")
        return self.leave(node, perm)

    def pad(self, node):
        source, perm = self.source(node.input[0])
        if not perm or node.input[1] not in self.constants:
            return False
        sides = self.constants[node.input[1]].reshape(2, -1)
        sides = sides[:, np.argsort(perm)].reshape(-1)
        node.input[:2] = [source, self.numbers(sides)]
        return self.leave(node, perm)

    def tile(self, node):
        source, perm = self.source(node.input[0])
        if not perm or node.input[1] not in self.constants:
            return False
        repeats = self.constants[node.input[1]][np.argsort(perm)]
        if (repeats == 1).all():
            return self.identity(node)
        node.input[:] = [source, self.numbers(repeats)]
        return self.leave(node, perm)

    def shape(self, node):
        source, perm = self.source(node.input[0])
        if not perm or node.attribute:
            return False
        gather = [f"{node.output[0]}.source", self.numbers(perm)]
        self.nodes.append(helper.make_node("Shape", [source], gather[:1]))
        self.nodes.append(helper.make_node("Gather", gather, node.output))
        return True

    def source(self, name: str, rank: int = 0) -> tuple[str, Perm]:
        """(source, perm): the tensor is the source's Transpose by `perm`."""
        if name in self.turned:
            return self.turned[name]
        return name, tuple(range(len(self.shapes.get(name, ())) or rank))

    def seen(self, name: str) -> Shape | None:
        """The shape of a tensor as the old nodes see it."""
        source, perm = self.source(name)
        if source in self.shapes:
            return tuple(self.shapes[source][axis] for axis in perm)
        return None

    def leave(self, node, perm: Perm) -> bool:
        """Keeps a node whose outputs, turned by `perm`, are what they were."""
        for name in node.output:
            if name in self.shapes:
                order = np.argsort(perm)
                self.shapes[name] = tuple(self.shapes[name][axis] for axis in order)
            self.turned[name] = name, perm
        self.nodes.append(node)
        return True

    def leading(self, names, rank: int) -> Perm | None:
        """How most elements of the inputs are turned; None if that cannot be told."""
        perms = {}
        for name in names:
            if name in self.constants or not name:
                continue
            perm, shape = self.source(name)[1], self.seen(name)
            if shape is None or len(shape) != rank:
                return None
            perms.setdefault(sum(size != 1 for size in shape), perm)
        return perms[max(perms)] if perms and rank else None

    def arranged(self, name: str, perm: Perm) -> str:
        """The tensor whose Transpose by `perm` is `name`."""
        order = tuple(np.argsort(perm).tolist())
        if name not in self.constants:
            source, own = self.source(name)
            return self.transposed(source, tuple(own[axis] for axis in order))
        array = self.constants[name]
        if array.size == 1 or order == tuple(range(len(order))):
            return name
        made = f"{name}_{_join(order)}"
        array = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
        self.constants[made] = array.transpose(order)
        return made

    def straight(self, name: str) -> str:
        """The tensor itself, turned if it has to be."""
        return self.transposed(*self.source(name)) if name in self.turned else name

    def transposed(self, source: str, perm: Perm) -> str:
        if perm == tuple(range(len(perm))):
            return source
        if source in self.shapes:
            shape = tuple(self.shapes[source][axis] for axis in perm)
            long = [axis for axis in perm if self.shapes[source][axis] != 1]
            reshaped = long == sorted(long) and self.reshaped(source, shape)
            if reshaped:
                return reshaped
        key = source, perm
        if key not in self.made:
            self.made[key] = made = f"{source}_{_join(perm)}"
            node = helper.make_node("Transpose", [source], [made], made, perm=perm)
            self.nodes.append(node)
            if source in self.shapes:
                self.shapes[made] = shape
        return self.made[key]

    def reshaped(self, source: str, shape: Shape) -> str | None:
        """The source in another shape; None where that has two open axes or more."""
        base = self.bases.get(source, source)
        old, new = plain(self.shapes[base]), plain(shape)
        if old == new:
            return base
        if any(isinstance(size, str) for size in new):
            return None
        key = base, new
        if key not in self.made:
            self.made[key] = made = f"{base}_as_{_join(new)}"
            node = helper.make_node("Reshape", [base, self.numbers(new)], [made], made)
            self.nodes.append(node)
            self.shapes[made] = shape
            self.bases[made] = base
        return self.made[key]

    def numbers(self, values, dtype=np.int64) -> str:
        """The name of a constant of whole numbers."""
        array = np.array([int(value) for value in values], dtype)
        name = f"{array.dtype}_{_join(array.tolist())}"
        self.constants[name] = array
        return name


def _turned(letters: str, perm: Perm) -> str:
    """Names of a tensor's axes in the order of its source's."""
    return "".join(letters[axis] for axis in np.argsort(perm))


def _join(numbers) -> str:
    return "_".join(map(str, numbers)).replace("-", "m")


def _set(node: onnx.NodeProto, **attributes) -> None:
    others = [one for one in node.attribute if one.name not in attributes]
    node.ClearField("attribute")
    made = [helper.make_attribute(name, value) for name, value in attributes.items()]
    node.attribute.extend([*others, *made])
