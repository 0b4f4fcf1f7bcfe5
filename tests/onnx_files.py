"""Small ONNX files for the tests of the runtime and the benchmark."""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = np.arange(12, dtype=np.float32).reshape(3, 4) / 10


def write_model(path, shape=("batch", 8, 8, 3), metadata=None, outputs=1, dtype=None):
    """Writes a file that computes `expected`; returns its path."""
    dtype = dtype or TensorProto.FLOAT
    nodes = [
        helper.make_node("Cast", ["images"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["cast"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    names = ["logits", "probabilities"][:outputs]
    graph = helper.make_graph(
        nodes[: len(nodes) - 2 + outputs],
        "small",
        [helper.make_tensor_value_info("images", dtype, shape)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [shape[0], 4])
            for name in names
        ],
        [numpy_helper.from_array(WEIGHTS, "weights")],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    if metadata is not None:
        text = metadata if isinstance(metadata, str) else json.dumps(metadata)
        helper.set_model_props(model, {"keras_resnet": text})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def expected(images):
    """What the file gives for (N, H, W, 3): the mean over positions, times WEIGHTS."""
    return images.astype(np.float32).mean((1, 2)) @ WEIGHTS


def write_failing(path):
    """A file that cannot compute an image whose first value is above 250."""
    nodes = [
        helper.make_node("Cast", ["first"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["y"]),
    ]
    images = helper.make_tensor_value_info("first", TensorProto.FLOAT, ["n", 1, 1, 1])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1, 1, 1])
    table = helper.make_tensor("table", TensorProto.FLOAT, [251], [0.0] * 251)
    graph = helper.make_graph(nodes, "failing", [images], [output], [table])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path
