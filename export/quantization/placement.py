"""Which tensors become int8: it depends on the kernels of who shall run the file."""

from collections.abc import Iterable, Iterator

import onnx
from onnx import numpy_helper

from export.quantization.weights import constants_of, weighted

# Computed in integers where all that enters them comes from integers.
FOLLOWING = ("Add", "AveragePool", "Concat", "GlobalAveragePool", "Mul", "Sigmoid")
# What leaves these had entered them: one scale serves both sides.
PASSING = (
    "Flatten",
    "MaxPool",
    "Pad",
    "Reshape",
    "Slice",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)


class Graph:
    """A float32 model, and who makes and who reads each of its tensors."""

    def __init__(self, proto: onnx.ModelProto):
        self.proto = proto
        self.constants = constants_of(proto.graph)
        self.makers = {t: node for node in proto.graph.node for t in node.output}
        self.readers = {}
        for node in proto.graph.node:
            for tensor in node.input:
                self.readers.setdefault(tensor, []).append(node)
        self.outputs = [one.name for one in proto.graph.output]

    def chain(self, tensor: str) -> Iterator[str]:
        """The tensor, and those that passing nodes made it from, up to its root."""
        yield tensor
        while (node := self.makers.get(tensor)) is not None and self.passes(node):
            tensor = node.input[0]
            yield tensor

    def passes(self, node: onnx.NodeProto) -> bool:
        if node.op_type == "Pad" and len(node.input) > 2 and node.input[2]:
            value = self.constants.get(node.input[2])
            return value is not None and not numpy_helper.to_array(value).any()
        return node.op_type in PASSING

    def single(self, tensor: str) -> onnx.NodeProto | None:
        """The one reader of a tensor that nothing else uses."""
        readers = self.readers.get(tensor, [])
        alone = len(readers) == 1 and tensor not in self.outputs
        return readers[0] if alone else None

    def leaving(self, node: onnx.NodeProto) -> str:
        """What a node gives, behind the ReLU that is part of it."""
        after = self.single(node.output[0])
        activated = after is not None and after.op_type == "Relu"
        return (after if activated else node).output[0]


def quantizable(graph: Graph) -> list[str]:
    """Names of the nodes that can compute in integers, in the order of the graph."""
    names, integers = [], set()
    heavy = {n.name for n in weighted(graph.proto.graph) if n.op_type != "MatMul"}
    for node in graph.proto.graph.node:
        follows = node.op_type in FOLLOWING and integers.issuperset(node.input)
        follows = follows and len(set(node.input)) == len(node.input)  # no square
        if node.name in heavy or follows:
            names.append(node.name)
            integers.add(node.output[0])
        elif node.op_type == "Relu" or graph.passes(node):
            integers.update(node.output if node.input[0] in integers else ())
    return names


def for_cpu(graph: Graph, nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    """What enters and leaves each node: onnxruntime's integer kernels want both.

    Its kernel of a Gemm can give float32, which the logits are left in.
    """
    for node in nodes:
        yield from (t for t in node.input if t and t not in graph.constants)
        if node.op_type != "Gemm":
            yield graph.leaving(node)


def for_tensorrt(graph: Graph, nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    """What enters each node.

    A convolution is fused with the Add behind it, so that of an Add's inputs only the
    other one, the shortcut, is rounded (TensorRT#1992).
    """
    for node in nodes:
        if node.op_type == "Add":
            fused = [t for t in node.input if _ends_convolution(graph, t)][-1:]
            yield from (t for t in node.input if t not in fused)
        elif node.op_type not in ("Concat", "Mul", "Sigmoid"):
            yield node.input[0]


def _ends_convolution(graph: Graph, tensor: str) -> bool:
    maker = graph.makers.get(tensor)
    return maker is not None and maker.op_type == "Conv" and bool(graph.single(tensor))
