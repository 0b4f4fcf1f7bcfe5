"""int8 as pairs of QuantizeLinear and DequantizeLinear around what computes in it.

A pair on a tensor says that 8 bits are enough there. Where all tensors around a node
have one, the runtime takes its integer kernel.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.quantization import weights
from export.quantization.placement import Graph, for_cpu, for_tensorrt

ACCUMULATOR = 2**30  # a bias stays below, in the 32 bits of the sums
SMALLEST = 1e-20  # of an activation's scale: a tensor of zeros has none of its own


@dataclass(frozen=True)
class Form:
    """How int8 is written for one kind of runtime.

    Attributes:
        tensors: those that get a pair, of the nodes that shall compute in int8.
        dtype: of activations: "uint8" with a zero point, so that a ReLU is the cut at
            the lowest integer, or "int8", symmetric.
        integer_bias: int32 in place of float32.
    """

    tensors: Callable
    dtype: str
    integer_bias: bool


FORMS = {
    "int8": Form(for_cpu, "uint8", True),
    "int8-tensorrt": Form(for_tensorrt, "int8", False),
}
Scale = tuple[np.float32, np.integer]  # and the zero point


class Writer:
    """Writes a float32 graph anew, with some of its nodes in int8."""

    def __init__(self, graph: Graph, form: Form, chosen: Collection[str]):
        """
        Args:
            graph: in float32.
            form: of int8.
            chosen: names of the nodes that shall compute in int8.
        """
        self.graph, self.form = graph, form
        self.chosen = set(chosen)
        nodes = [node for node in graph.proto.graph.node if node.name in self.chosen]
        chains = [list(graph.chain(t)) for t in form.tensors(graph, nodes)]
        self.roots = {tensor: chain[-1] for chain in chains for tensor in chain}

    def write(self, ranges: dict[str, tuple[float, float]]) -> onnx.ModelProto:
        """The model in int8.

        Args:
            ranges: of the tensors that `self.roots` leads to.
        """
        self.scales = {
            root: scale_of(*ranges[root], self.form.dtype)
            for root in dict.fromkeys(self.roots.values())
        }
        self.nodes, self.tensors = [], []
        self.renamed = {}  # inputs of the graph, which keep their names
        for root, pair in self.scales.items():
            for part, value in zip(("scale", "zero_point"), pair, strict=True):
                tensor = numpy_helper.from_array(np.asarray(value), f"{root}.{part}")
                self.tensors.append(tensor)
        for entry in self.graph.proto.graph.input:
            if entry.name in self.roots:
                self.renamed[entry.name] = f"{entry.name}.rounded"
                self._round(entry.name, entry.name, f"{entry.name}.rounded")
        for node in self.graph.proto.graph.node:
            self._copy(node)
        return weights.replace_nodes(self.graph.proto, self.nodes, self.tensors)

    def _copy(self, node: onnx.NodeProto) -> None:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [self.renamed.get(name, name) for name in node.input]
        copy.output[:] = [
            f"{name}.exact" if name in self.roots else name for name in node.output
        ]
        if node.name in self.chosen and node.op_type in weights.WEIGHTED:
            self._lower_weights(node, copy)
        self.nodes.append(copy)
        for name in node.output:
            if name in self.roots:
                self._round(f"{name}.exact", name, name)

    def _round(self, source: str, tensor: str, result: str) -> None:
        """The pair that makes `result` of `source`, by the scale of `tensor`."""
        root = self.roots[tensor]
        scale = [f"{root}.scale", f"{root}.zero_point"]
        for kind, entry, out in (
            ("QuantizeLinear", source, f"{tensor}.quantized"),
            ("DequantizeLinear", f"{tensor}.quantized", result),
        ):
            self.nodes.append(
                helper.make_node(kind, [entry, *scale], [out], f"{tensor}.{kind}")
            )

    def _lower_weights(self, node: onnx.NodeProto, copy: onnx.NodeProto) -> None:
        constants = self.graph.constants
        weight = numpy_helper.to_array(constants[node.input[1]])
        axis = weights.channel_axis(node, weight)
        entering = self.scales[self.roots[node.input[0]]][0]
        has_bias = len(node.input) > 2 and node.input[2] in constants
        least = 0.0
        if has_bias and self.form.integer_bias:
            bias = numpy_helper.to_array(constants[node.input[2]]).reshape(-1)
            least = np.abs(bias) / (entering * ACCUMULATOR)
        levels, scale = weights.quantize(weight, axis, least)
        self._constant(copy, 1, levels, scale, axis)
        if has_bias and self.form.integer_bias:
            steps = np.rint(bias / (entering * scale).astype("float64"))
            self._constant(copy, 2, steps.astype("int32"), entering * scale, 0)

    def _constant(self, copy, place: int, levels, scale, axis: int) -> None:
        name = f"{copy.name}.{('bias' if place == 2 else 'kernel')}.rounded"
        node, tensors = weights.dequantized(name, levels, scale, axis)
        self.nodes.append(node)
        self.tensors += tensors
        copy.input[place] = name


def scale_of(low: float, high: float, dtype: str) -> Scale:
    """Scale and zero point of a range that includes 0."""
    if dtype == "int8":
        scale, zero = max(-low, high) / weights.LEVELS, 0
    else:
        scale = (high - low) / 255
        zero = round(-low / scale) if scale > SMALLEST else 0
    return np.float32(max(scale, SMALLEST)), np.dtype(dtype).type(zero)
