"""float16 between float32 ends, with float32 left where float16's range is too small.

Runtimes on GPUs take the precision from the file (TensorRT from version 11 on has no
other way); on CPUs onnxruntime computes in float32 around it.
"""

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.quantization.placement import Graph
from export.quantization.weights import replace_nodes

LARGEST = float(np.finfo(np.float16).max)  # 65504
PRODUCTS = ("Conv", "Gemm", "MatMul")
# Statistics, exponentials and quotients; and what has no float16 form everywhere.
IN_FLOAT32 = (
    "Cast",
    "Div",
    "Exp",
    "InstanceNormalization",
    "Log",
    "Pow",
    "Reciprocal",
    "Softmax",
    "Sqrt",
    "TopK",
    "ReduceMax",
    "ReduceMean",
    "ReduceSum",
    "ReduceSumSquare",
    "Resize",
)
ELEMENTWISE = ("Abs", "Add", "Mul", "Sub")


def lower(proto: onnx.ModelProto, kept: Iterable[str]) -> onnx.ModelProto:
    """The model in float16, its input and outputs in float32.

    What comes before the first convolution (preprocessing), statistics with the
    squares that enter them, and softmax stay in float32.

    Args:
        proto: in float32.
        kept: names of further nodes that stay in float32.
    """
    graph = Graph(proto)
    floats = _floats(proto)
    halves = _choose(graph, floats, set(kept))
    wanted = set(graph.outputs)  # in float32
    for node in proto.graph.node:
        if node.name not in halves:
            wanted.update(node.input)
    nodes, tensors, made = [], {}, set()
    for node in proto.graph.node:
        if node.name not in halves:
            nodes.append(node)
            continue
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for name in (one for one in node.input if one in floats):
            if name in graph.constants:
                tensors[name] = _rounded(graph.constants[name])
            elif _half(name) not in made:
                nodes.append(_cast(name, _half(name), TensorProto.FLOAT16))
                made.add(_half(name))
        copy.input[:] = [_half(n) if n in floats else n for n in node.input]
        copy.output[:] = [_half(n) if n in floats else n for n in node.output]
        nodes.append(copy)
        for name in (one for one in node.output if one in floats):
            made.add(_half(name))
            if name in wanted:
                nodes.append(_cast(_half(name), name, TensorProto.FLOAT))
    return replace_nodes(proto, nodes, tensors.values())


def candidates(graph: Graph) -> list[str]:
    """Names of the nodes that float16 matters for, in the order of the graph."""
    return [node.name for node in graph.proto.graph.node if node.op_type in PRODUCTS]


def _choose(graph: Graph, floats: set[str], kept: set[str]) -> set[str]:
    """Names of the nodes that compute in float16."""
    halves, reached = set(), set()
    for node in graph.proto.graph.node:
        behind = node.op_type in PRODUCTS or not reached.isdisjoint(node.input)
        if behind:
            reached.update(node.output)
        allowed = node.op_type not in IN_FLOAT32 and node.name not in kept
        if behind and allowed and not floats.isdisjoint(node.input):
            halves.add(node.name)
    # A square is as large as the statistic that it enters.
    for node in reversed(graph.proto.graph.node):
        readers = [one for t in node.output for one in graph.readers.get(t, [])]
        exact = readers and not any(one.name in halves for one in readers)
        if node.op_type in ELEMENTWISE and exact:
            halves.discard(node.name)
    return halves


def _floats(proto: onnx.ModelProto) -> set[str]:
    """Names of the float32 tensors."""
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    values = *inferred.value_info, *inferred.input, *inferred.output
    types = {one.name: one.type.tensor_type.elem_type for one in values}
    types |= {one.name: one.data_type for one in proto.graph.initializer}
    return {name for name, kind in types.items() if kind == TensorProto.FLOAT}


def _half(name: str) -> str:
    return f"{name}.half"


def _cast(source: str, result: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [result], f"{result}.cast", to=kind)


def _rounded(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """The constant in float16; what lies beyond its range is cut, infinity stays."""
    values = numpy_helper.to_array(tensor)
    finite = np.clip(values, -LARGEST, LARGEST)
    values = np.where(np.isinf(values), values, finite).astype(np.float16)
    return numpy_helper.from_array(values, _half(tensor.name))
