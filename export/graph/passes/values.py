"""What the passes ask of a value: its array if it is a constant, and its shape.

Axes whose size is open have a name in place of it.
"""

import numpy as np
import onnx_ir as ir

Shape = tuple[int | str, ...]  # a name where the size is open
Permutation = tuple[int, ...]


def constant(value: ir.Value | None) -> np.ndarray | None:
    """The array of an initializer; None for any other value."""
    if value is None or value.const_value is None:
        return None
    return value.const_value.numpy()


def new_constant(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """An initializer of that name; what has the name already is taken to be it."""
    if name not in graph.initializers:
        tensor = ir.Tensor(array, name=name)
        graph.register_initializer(ir.val(name, const_value=tensor))
    return graph.initializers[name]


def shape_of(value: ir.Value) -> Shape | None:
    """None where not even the number of axes is known."""
    if value.shape is None:
        return None
    return tuple(s if isinstance(s, int) else str(s.value) for s in value.shape)


def operand(node: ir.Node, index: int = 0) -> ir.Value:
    """An input that a node of its kind cannot lack."""
    value = node.inputs[index]
    assert value is not None
    return value


def with_constant(node: ir.Node) -> tuple[ir.Value, ir.Value] | None:
    """(value, constant) of a Mul or an Add of the two; None of any other node."""
    if node.op_type in ("Mul", "Add"):
        first, second = operand(node, 0), operand(node, 1)
        for value, other in ((first, second), (second, first)):
            if constant(other) is not None:
                return value, other
    return None


def only_use(value: ir.Value) -> ir.Node | None:
    """The only node that uses a value; None of an output of the graph too."""
    uses = [use.node for use in value.uses()]
    return uses[0] if len(uses) == 1 and not value.is_graph_output() else None


def replace(node: ir.Node, value: ir.Value) -> None:
    """Removes a node of one output, in whose place everything takes `value`."""
    (output,) = node.outputs
    value.type = value.type or output.type
    value.shape = output.shape if value.shape is None else value.shape
    output.replace_all_uses_with(value, replace_graph_outputs=True)
    assert node.graph is not None
    node.graph.remove(node, safe=True)


def plain(shape: Shape) -> Shape:
    """The shape with -1 for the open axis, where there is just one."""
    if sum(isinstance(size, str) for size in shape) == 1:
        return tuple(-1 if isinstance(size, str) else size for size in shape)
    return shape


def regroup(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]] | None:
    """Which axes a Reshape merges or splits; those of size 1 are left out.

    Returns:
        (axes of `before`, axes of `after`) of equal size, in order: as few axes as
        possible. None where that cannot be told.
    """
    before, after = plain(before), plain(after)
    left = [axis for axis, size in enumerate(before) if size != 1]
    right = [axis for axis, size in enumerate(after) if size != 1]
    groups = []
    while left and right:
        group = [left.pop(0)], [right.pop(0)]
        sizes = [before[group[0][0]], after[group[1][0]]]
        while sizes[0] != sizes[1]:
            if isinstance(sizes[0], str) or isinstance(sizes[1], str) or -1 in sizes:
                return None
            smaller = sizes.index(min(sizes))
            more = (left, right)[smaller]
            if not more:
                return None
            axis = more.pop(0)
            group[smaller].append(axis)
            size = (before, after)[smaller][axis]
            if not isinstance(size, int) or size < 1:
                return None
            sizes[smaller] *= size
        groups.append(group)
    return None if left or right else groups


def order_reshaped(
    permutation: Permutation, before: Shape, after: Shape
) -> list[int] | None:
    """The order of the axes of `after` if not the tensor but its source is reshaped.

    None where a Reshape splits or merges axes that do not lie so in the source. Axes
    of size 1 come last, as they would where channels are first.
    """
    groups = regroup(before, after)
    if groups is None:
        return None
    long = sorted(permutation[axis] for axis, size in enumerate(before) if size != 1)
    placed = []
    for old, new in groups:
        places = [long.index(permutation[axis]) for axis in old]
        if places != list(range(places[0], places[0] + len(places))):
            return None
        placed.append((places[0], new))
    order = [axis for _, new in sorted(placed) for axis in new]
    return order + [axis for axis, size in enumerate(after) if size == 1]
