"""Brings a float32 graph into the forms that integer kernels exist for."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.quantization.placement import Graph
from export.quantization.weights import replace_nodes

# What a normalisation may follow.
INTEGER = ("Add", "AveragePool", "Concat", "Conv", "Relu")


def prepare(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same function with a name at each node, and dense layers as Gemm.

    A product with a matrix and the Add of a bias are one Gemm, whose integer kernel
    sums the bias in 32 bits.
    """
    inferred = onnx.shape_inference.infer_shapes(proto).graph.value_info
    ranks = {one.name: len(one.type.tensor_type.shape.dim) for one in inferred}
    graph, nodes, merged = Graph(proto), [], set()
    for node in proto.graph.node:
        if node.output[0] in merged:
            continue
        if node.op_type == "MatMul" and ranks.get(node.input[0]) == 2:
            matrix = graph.constants.get(node.input[1])
            if matrix is not None and len(matrix.dims) == 2:
                node = _gemm(graph, node)
                merged.add(node.output[0])
        if not node.name:
            named = onnx.NodeProto()
            named.CopyFrom(node)
            named.name = node.output[0]
            node = named
        nodes.append(node)
    return replace_nodes(proto, nodes, proto.graph.initializer)


def _gemm(graph: Graph, product: onnx.NodeProto) -> onnx.NodeProto:
    inputs, output = list(product.input), product.output[0]
    after = graph.single(output)
    if after is not None and after.op_type == "Add":
        (other,) = (name for name in after.input if name != output)
        bias = graph.constants.get(other)
        if bias is not None and len(bias.dims) == 1:
            inputs, output = [*inputs, other], after.output[0]
    return helper.make_node("Gemm", inputs, [output], product.name)


def normalization_as_convolution(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same function, with BatchNormalization as a depthwise convolution.

    Of that which no convolution before it could take in, as in networks of the
    pre-activation form. Its kernels have one value a channel, which int8 holds
    exactly; and an integer kernel of BatchNormalization does not exist.
    """
    graph, nodes, tensors = Graph(proto), [], []
    for node in proto.graph.node:
        constant = all(name in graph.constants for name in node.input[1:])
        if node.op_type == "BatchNormalization" and constant and _behind(graph, node):
            kernel, bias = _scale_and_shift(graph, node)
            names = f"{node.name}.kernel", f"{node.name}.bias"
            arrays = kernel.reshape(-1, 1, 1, 1), bias
            tensors += map(numpy_helper.from_array, arrays, names)
            groups = {"group": len(kernel), "kernel_shape": [1, 1]}
            inputs, outputs = [node.input[0], *names], node.output
            node = helper.make_node("Conv", inputs, outputs, node.name, **groups)
        nodes.append(node)
    return replace_nodes(proto, nodes, tensors)


def _behind(graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether what a node takes comes from integers."""
    *_, root = graph.chain(node.input[0])
    return root in graph.makers and graph.makers[root].op_type in INTEGER


def _scale_and_shift(graph: Graph, node: onnx.NodeProto):
    gamma, beta, mean, variance = (
        numpy_helper.to_array(graph.constants[name]) for name in node.input[1:]
    )
    attributes = {one.name: one.f for one in node.attribute}
    scale = gamma / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    return scale.astype("float32"), (beta - mean * scale).astype("float32")
