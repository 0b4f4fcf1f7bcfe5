"""Takes a graph from channels last to channels first.

TensorFlow keeps channels last and an ONNX convolution wants them first, so the
converter sets a Transpose before and after each. `channels_first` goes through the
graph and remembers of each value that it is the transpose of another one, the source.
An operator that treats all elements alike takes the source as it is; one that names
axes gets other axes. A Transpose is made only where an operator needs the value itself;
and where no two axes longer than 1 change their order, a Reshape is made.

It expects constants folded and shapes inferred. It leaves the Transposes that cannot be
done without, and beside them operators that nothing uses any more.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import onnx_ir as ir

from export.graph.passes.values import (
    Permutation,
    Shape,
    constant,
    new_constant,
    operand,
    order_reshaped,
    plain,
    shape_of,
)

ARITHMETIC = ("Abs", "Add", "Div", "Max", "Min", "Mul", "Neg", "Pow", "Reciprocal")
FUNCTIONS = ("Ceil", "Clip", "Erf", "Exp", "Floor", "Log", "Round", "Sqrt", "Sub")
ACTIVATIONS = ("Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid")
OTHERS = ("Cast", "Equal", "Greater", "Less", "Softplus", "Tanh", "Where")
ELEMENTWISE = (*ARITHMETIC, *FUNCTIONS, *ACTIVATIONS, *OTHERS)


def channels_first(model: ir.Model) -> None:
    walk = _Walk(model.graph)
    for node in model.graph:
        walk.node = node
        rule = RULES.get(node.op_type)
        if not (rule and rule(walk, node)):
            for index, value in enumerate(node.inputs):
                if value is not None:
                    node.replace_input_with(index, walk.materialized(value))
    walk.node = None
    for index, value in enumerate(model.graph.outputs):
        output = walk.materialized(value)
        output.type = value.type
        model.graph.outputs[index] = output


class _Walk:
    """Rules for operators: each takes a node, or returns False to leave it as it is.

    Attributes:
        sources: of a value: (source, permutation), whose transpose it is. A value that
            is its own source is kept by the node, which now gives it in another order.
        created: the values that `transposed` and `reshaped` made, by what they are.
        bases: of the output of a Reshape: what it reshapes.
        node: before which new nodes are set; None for the graph's end.
    """

    def __init__(self, graph: ir.Graph):
        self.graph = graph
        self.sources: dict[ir.Value, tuple[ir.Value, Permutation]] = {}
        self.created: dict[tuple, ir.Value] = {}
        self.bases: dict[ir.Value, ir.Value] = {}
        self.node: ir.Node | None = None

    def identity(self, node: ir.Node) -> bool:
        self.sources[node.outputs[0]] = self.source(operand(node))
        return True

    def transpose(self, node: ir.Node) -> bool:
        order = node.attributes["perm"].as_ints()
        source, permutation = self.source(operand(node), len(order))
        permutation = tuple(permutation[axis] for axis in order)
        self.sources[node.outputs[0]] = source, permutation
        return True

    def elementwise(self, node: ir.Node) -> bool:
        permutation = self.common_permutation(node)
        if permutation is None:
            return False
        count = 1 if node.op_type == "Split" else len(node.inputs)  # others are sizes
        for index, value in enumerate(node.inputs[:count]):
            if value is not None:
                node.replace_input_with(index, self.untransposed(value, permutation))
        return self.keep(node, permutation)

    def along_axis(self, node: ir.Node) -> bool:
        if not self.elementwise(node):
            return False
        permutation = self.sources[node.outputs[0]][1]
        axis = node.attributes.get_int("axis", 0 if node.op_type == "Split" else -1)
        axis = permutation[axis % len(permutation)]
        node.attributes["axis"] = ir.AttrInt64("axis", axis)
        return True

    def reduce(self, node: ir.Node) -> bool:
        source, permutation = self.source(operand(node))
        attributes = node.attributes
        if "axes" not in attributes or not permutation:
            return False
        axes = {axis % len(permutation) for axis in attributes["axes"].as_ints()}
        places = sorted(permutation[axis] for axis in axes)
        keeps = attributes.get_int("keepdims", 1)
        mean = (node.op_type, places, len(permutation)) == ("ReduceMean", [2, 3], 4)
        images_first = permutation.index(0) < permutation.index(1) if mean else False
        if mean and (keeps or images_first):
            shape = (shape_of(source) or ())[:2]
            name = f"{node.outputs[0].name}_pooled"
            shape = *shape, 1, 1
            pooled = self.create("GlobalAveragePool", [source], name, shape)
            self.sources[node.outputs[0]] = pooled, permutation
            if not keeps:
                flat = self.reshaped(pooled, shape[:2])
                assert flat is not None
                self.sources[node.outputs[0]] = flat, (0, 1)
            return True
        node.replace_input_with(0, source)
        attributes["axes"] = ir.AttrInt64s("axes", places)
        if not keeps:
            rest = [p for axis, p in enumerate(permutation) if axis not in axes]
            permutation = tuple(sorted(rest).index(place) for place in rest)
        return self.keep(node, permutation)

    def reshape(self, node: ir.Node) -> bool:
        (output,) = node.outputs
        before, after = self.shape_before(operand(node)), shape_of(output)
        if before is None or after is None:
            return False
        source, permutation = self.source(operand(node))
        order = order_reshaped(permutation, before, after)
        if order is None:
            source = self.materialized(operand(node))
            order = list(range(len(after)))
        value = self.reshaped(source, tuple(after[axis] for axis in order))
        if value is None:
            return False
        self.sources[output] = value, tuple(np.argsort(order).tolist())
        return True

    def einsum(self, node: ir.Node) -> bool:
        """The letters follow the axes; an operand whose last axis is summed goes first:
        onnxruntime multiplies it as it lies."""
        equation = node.attributes["equation"].as_string()
        *terms, result = equation.replace("->", ",").split(",")
        sources = [self.source(operand(node, index)) for index in range(len(terms))]
        ranks = [len(permutation) for _, permutation in sources]
        if "." in equation or len(result) not in ranks or ranks != [*map(len, terms)]:
            return False
        operands = [
            (_in_source_order(term, permutation), source)
            for term, (source, permutation) in zip(terms, sources, strict=True)
        ]
        operands.sort(key=lambda pair: (pair[0][-1:] in result, -len(pair[0])))
        for index, (_, source) in enumerate(operands):
            node.replace_input_with(index, source)
        permutation = sources[ranks.index(len(result))][1]
        equation = ",".join(term for term, _ in operands)
        equation = f"{equation}->{_in_source_order(result, permutation)}"
        node.attributes["equation"] = ir.AttrString("equation", equation)
        return self.keep(node, permutation)

    def with_axes(self, node: ir.Node) -> bool:
        """A Slice names axes in a constant; a Pad and a Tile have a number for each."""
        source, permutation = self.source(operand(node))
        place = 3 if node.op_type == "Slice" else 1
        array = constant(operand(node, place)) if len(node.inputs) > place else None
        if not permutation or array is None:
            return False
        if node.op_type == "Tile" and (array == 1).all():
            return self.identity(node)
        if node.op_type == "Slice":
            numbers = np.take(permutation, array)
        else:  # a Pad has two rows: beginnings and ends
            rows = array.reshape(-1, len(permutation))
            numbers = rows[:, np.argsort(permutation)].reshape(-1)
        node.replace_input_with(0, source)
        node.replace_input_with(place, self.numbers(numbers, array.dtype))
        return self.keep(node, permutation)

    def shape(self, node: ir.Node) -> bool:
        source, permutation = self.source(operand(node))
        if not permutation or node.attributes:
            return False
        (output,) = node.outputs
        shape = (len(permutation),)
        sizes = self.create("Shape", [source], f"{output.name}_source", shape)
        inputs = [sizes, self.numbers(permutation)]
        ordered = self.create("Gather", inputs, f"{output.name}_ordered", shape)
        self.sources[output] = ordered, (0,)
        return True

    def source(self, value: ir.Value, rank: int = 0) -> tuple[ir.Value, Permutation]:
        """(source, permutation): the value is the source's Transpose by that."""
        if value in self.sources:
            return self.sources[value]
        return value, tuple(range(len(shape_of(value) or ()) or rank))

    def shape_before(self, value: ir.Value) -> Shape | None:
        """The shape that a value had before the source took its place."""
        source, permutation = self.source(value)
        shape = shape_of(source)
        return None if shape is None else tuple(shape[axis] for axis in permutation)

    def keep(self, node: ir.Node, permutation: Permutation) -> bool:
        """Keeps a node: its outputs' transposes are what they themselves were."""
        for output in node.outputs:
            shape = shape_of(output)
            if shape is not None:
                output.shape = ir.Shape(shape[a] for a in np.argsort(permutation))
            self.sources[output] = output, permutation
        return True

    def common_permutation(self, node: ir.Node) -> Permutation | None:
        """That of the input with the most axes longer than 1; None if it is unknown."""
        rank = len(shape_of(node.outputs[0]) or ())
        permutations = {}
        for value in node.inputs:
            if value is None or constant(value) is not None:
                continue
            shape = self.shape_before(value)
            if shape is None or len(shape) != rank:
                return None
            long = sum(size != 1 for size in shape)
            permutations.setdefault(long, self.source(value)[1])
        return permutations[max(permutations)] if permutations and rank else None

    def untransposed(self, value: ir.Value, permutation: Permutation) -> ir.Value:
        """What a value is the Transpose of, by `permutation`."""
        order = tuple(np.argsort(permutation).tolist())
        array = constant(value)
        if array is None:
            source, before = self.source(value)
            return self.transposed(source, tuple(before[axis] for axis in order))
        if array.size == 1 or order == tuple(range(len(order))):
            return value
        array = array.reshape((1,) * (len(order) - array.ndim) + array.shape)
        name = f"{value.name}_{_join(order)}"
        return new_constant(self.graph, name, array.transpose(order))

    def materialized(self, value: ir.Value) -> ir.Value:
        """A value itself, if it is another's transpose."""
        return self.transposed(*self.source(value)) if value in self.sources else value

    def transposed(self, source: ir.Value, permutation: Permutation) -> ir.Value:
        if permutation == tuple(range(len(permutation))):
            return source
        before, shape = shape_of(source), None
        if before is not None:
            shape = tuple(before[axis] for axis in permutation)
            long = [axis for axis in permutation if before[axis] != 1]
            reshaped = self.reshaped(source, shape) if long == sorted(long) else None
            if reshaped is not None:
                return reshaped
        key = source, permutation
        if key not in self.created:
            name = f"{source.name}_{_join(permutation)}"
            attributes = {"perm": permutation}
            self.created[key] = self.create(
                "Transpose", [source], name, shape, attributes
            )
        return self.created[key]

    def reshaped(self, source: ir.Value, shape: Shape) -> ir.Value | None:
        """The source in another shape; None where that has two open axes or more."""
        base = self.bases.get(source, source)
        before, after = shape_of(base), plain(shape)
        assert before is not None
        if plain(before) == after:
            return base
        if any(isinstance(size, str) for size in after):
            return None
        key = base, after
        if key not in self.created:
            name = f"{base.name}_as_{_join(after)}"
            inputs = [base, self.numbers(after)]
            self.created[key] = self.create("Reshape", inputs, name, shape)
            self.bases[self.created[key]] = base
        return self.created[key]

    def create(
        self,
        operator: str,
        inputs: Sequence[ir.Value],
        name: str,
        shape: Shape | None,
        attributes: dict | None = None,
    ) -> ir.Value:
        """The output of a new node."""
        value = ir.val(name, shape=shape)
        node = ir.node(operator, inputs, attributes, outputs=[value], name=name)
        if self.node is None:
            self.graph.append(node)
        else:
            self.graph.insert_before(self.node, node)
        return value

    def numbers(
        self,
        values: Sequence[int | str] | np.ndarray,
        dtype: np.dtype | type = np.int64,
    ) -> ir.Value:
        """A constant of whole numbers."""
        array = np.asarray(values, dtype)
        name = f"{array.dtype}_{_join(array.tolist())}"
        return new_constant(self.graph, name, array)


RULES: dict[str, Callable[[_Walk, ir.Node], bool]] = {
    **dict.fromkeys(ELEMENTWISE, _Walk.elementwise),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Concat", "Split"), _Walk.along_axis),
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze"), _Walk.reshape),
    **dict.fromkeys(
        ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"), _Walk.reduce
    ),
    **dict.fromkeys(("Slice", "Pad", "Tile"), _Walk.with_axes),
    "Identity": _Walk.identity,
    "Transpose": _Walk.transpose,
    "Einsum": _Walk.einsum,
    "Shape": _Walk.shape,
}


def _in_source_order(letters: str, permutation: Permutation) -> str:
    """Names of a value's axes in the order of its source's."""
    return "".join(letters[axis] for axis in np.argsort(permutation))


def _join(numbers: Iterable) -> str:
    return "_".join(map(str, numbers)).replace("-", "m")
