"""Nodes and constants as an ONNX model, checked while it is light."""

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import helper, numpy_helper, version_converter

from keras_resnet.common.errors import InputError

SMALL = 1024  # elements; larger constants are attached behind the check


def assemble(
    name: str,
    nodes: Iterable[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: dict[str, np.ndarray],
    opsets: tuple[int, int],
) -> onnx.ModelProto:
    """A model that onnx's full check accepts.

    It is checked with its large constants as inputs of their types and shapes, which
    copies none of them.

    Args:
        name: of the graph.
        nodes, inputs, outputs: of the graph.
        constants: by name; emptied, so that there is just one copy of each.
        opsets: that of the nodes, and that of the model.

    Raises:
        InputError: the check fails.
    """
    used = dict.fromkeys(one for node in nodes for one in node.input)
    names = [one for one in used if one in constants]
    for rest in constants.keys() - used.keys():
        del constants[rest]
    large = [one for one in names if constants[one].size > SMALL]
    graph = helper.make_graph(
        nodes,
        name,
        [*inputs, *(_described(one, constants[one]) for one in large)],
        outputs,
        [_tensor(one, constants) for one in names if one not in large],
    )
    proto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opsets[0])],
        producer_name="tf2onnx",
    )
    try:
        if opsets[1] != opsets[0]:
            proto = version_converter.convert_version(proto, opsets[1])
        onnx.checker.check_model(proto, full_check=True)
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        version_converter.ConvertError,
    ) as error:
        raise InputError(f"model {name!r} has no valid ONNX form: {error}") from error
    proto.ir_version = helper.find_min_ir_version_for(proto.opset_import)
    del proto.graph.input[len(inputs) :]
    proto.graph.ClearField("value_info")
    proto.graph.initializer.extend(_tensor(one, constants) for one in large)
    constants.clear()
    return proto


def _described(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, kind, array.shape)


def _tensor(name: str, constants: dict[str, np.ndarray]) -> onnx.TensorProto:
    return numpy_helper.from_array(constants.pop(name), name)
