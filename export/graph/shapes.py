"""Shapes of a graph's tensors, some of whose axes are known by a name alone."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 17  # that infers the most; what tf2onnx makes for earlier ones is valid in it
SMALL = 64  # elements; constants that hold shapes and axes have fewer

Shape = tuple[int | str, ...]  # a name where the size is open
Perm = tuple[int, ...]


def infer(
    nodes: list[onnx.NodeProto],
    graph: onnx.GraphProto,
    constants: dict[str, np.ndarray],
) -> dict[str, Shape]:
    """The shapes by tensor, as onnx infers them; without those that it cannot tell."""
    outline = onnx.ModelProto(ir_version=8, graph=onnx.GraphProto(name="outline"))
    outline.opset_import.append(helper.make_opsetid("", OPSET))
    inputs = [one for one in graph.input if one.name not in constants]
    for name, array in constants.items():
        if array.size <= SMALL:
            tensor = numpy_helper.from_array(array, name)
            outline.graph.initializer.append(tensor)
        else:
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            value = helper.make_tensor_value_info(name, kind, array.shape)
            inputs.append(value)
    outline.graph.node.extend(nodes)
    outline.graph.input.extend(inputs)
    outline.graph.output.extend(graph.output)
    inferred = onnx.shape_inference.infer_shapes(outline, data_prop=True).graph
    found = {}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            found[value.name] = tuple(
                axis.dim_value
                if axis.HasField("dim_value")
                else axis.dim_param or f"{value.name}:{place}"
                for place, axis in enumerate(kind.shape.dim)
            )
    return found | {name: array.shape for name, array in constants.items()}


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


def order_reshaped(perm: Perm, before: Shape, after: Shape) -> list[int] | None:
    """The order of the axes of `after` if not the tensor but its source is reshaped.

    None where a Reshape splits or merges axes that do not lie so in the source. Axes
    of size 1 come last, as they would where channels are first.
    """
    groups = regroup(before, after)
    if groups is None:
        return None
    long = sorted(perm[axis] for axis, size in enumerate(before) if size != 1)
    found = []
    for old, new in groups:
        places = [long.index(perm[axis]) for axis in old]
        if places != list(range(places[0], places[0] + len(places))):
            return None
        found.append((places[0], new))
    order = [axis for _, new in sorted(found) for axis in new]
    return order + [axis for axis, size in enumerate(after) if size == 1]
