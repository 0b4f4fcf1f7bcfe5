"""Writes ONNX models, and gives the messages that onnx's own tools read of them.

weights = save(model, {"architecture": "resnet50"}, Path("resnet50.onnx"))
"""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from export.runtime import METADATA_KEY

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

# Protocol buffers end at 2 GiB; the graph and the metadata take some of it.
LARGEST = 2**31 - 2**26  # bytes of weights in the file itself
PAGE = 4096  # bytes; weights that begin with a page can be mapped into memory
MAX_SHAPE_ELEMENTS = 1024  # a larger constant holds no shape
SMALL = 1024  # bytes; smaller tensors stay in the file


def save(
    model: "ir.Model",
    metadata: dict,
    path: Path,
    external_data: bool = False,
    size_threshold: int = LARGEST,
) -> Path | None:
    """Writes a model, its weights in a file beside it where they are many.

    That file's name, `<path>.<digest>.data`, tells its content: weights never replace
    those of another file that a reader may have open.

    Args:
        model: gets the metadata, and stays whole.
        metadata: written as JSON under the key `keras_resnet`.
        path: of the file.
        external_data: write the weights beside it in any case.
        size_threshold: bytes of weights from which on that is done.

    Returns:
        The file of the weights; None where they are in the model's.
    """
    import onnx_ir as ir

    model.metadata_props[METADATA_KEY] = json.dumps(metadata)
    tensors = weights_of(model)
    if not external_data and sum(tensor.nbytes for tensor in tensors) < size_threshold:
        _write(model, path)
        return None
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.tobytes())
    data = path.with_name(f"{path.name}.{digest.hexdigest()[:12]}.data")
    ir.save(
        model,
        path,
        external_data=data.name,
        size_threshold_bytes=SMALL - 1,
        alignment=PAGE,
        align_threshold=0,
    )
    with data.open("rb") as file:
        os.fsync(file.fileno())
    return data


def weights_beside(path: Path) -> list[Path]:
    """Files of weights that `save` wrote beside a model of that name."""
    name = re.compile(re.escape(path.name) + r"\.[0-9a-f]{12}\.data")
    return sorted(file for file in path.parent.iterdir() if name.fullmatch(file.name))


def weights_of(model: "ir.Model") -> list["ir.TensorProtocol"]:
    """The initializers' tensors; they hold arrays and share their memory."""
    values = model.graph.initializers.values()
    return [v.const_value for v in values if v.const_value is not None]


def without_weights(model: "ir.Model", keep: int = 0) -> "onnx.ModelProto":
    """The model as a message whose initializers have types and shapes but no values.

    None of them is copied. They are marked as data outside of the message.

    Args:
        model: stays as it is.
        keep: elements; initializers of so many or fewer keep their values.
    """
    import onnx_ir as ir

    values = model.graph.initializers.values()
    tensors = {
        value: value.const_value for value in values if value.const_value is not None
    }
    try:
        for value, tensor in tensors.items():
            if tensor.size > keep:
                shape = ir.Shape(tensor.shape.numpy())
                value.const_value = ir.ExternalTensor(
                    "nowhere", None, None, tensor.dtype, shape=shape, name=""
                )
        return ir.to_proto(model)
    finally:
        for value, tensor in tensors.items():
            value.const_value = tensor


def weights_as_inputs(model: "ir.Model") -> "onnx.ModelProto":
    """The model as a message whose large weights are inputs of their types and shapes.

    onnx's checker, shape inference and version converter read such a message as fast
    as that of a model without weights.
    """
    from onnx import TensorProto, helper

    proto = without_weights(model, keep=MAX_SHAPE_ELEMENTS)
    proto.graph.ClearField("value_info")
    for tensor in list(proto.graph.initializer):
        if tensor.data_location == TensorProto.EXTERNAL:
            proto.graph.initializer.remove(tensor)
            proto.graph.input.append(
                helper.make_tensor_value_info(
                    tensor.name, tensor.data_type, tensor.dims
                )
            )
    return proto


def _write(model: "ir.Model", path: Path) -> None:
    """The bytes of protobuf's `SerializeToString`, written tensor by tensor.

    A message and its bytes would be two more copies of all weights in memory, and
    neither protobuf nor onnx_ir writes a message piece by piece.
    """
    from onnx import GraphProto, ModelProto, TensorProto

    proto = without_weights(model)
    lengths, heads = [], []
    for tensor, entry in zip(weights_of(model), proto.graph.initializer, strict=True):
        head = TensorProto(
            name=entry.name, data_type=entry.data_type, dims=entry.dims
        ).SerializeToString()
        head += _prefix(TensorProto.RAW_DATA_FIELD_NUMBER, tensor.nbytes)
        length = len(head) + tensor.nbytes
        head = _prefix(GraphProto.INITIALIZER_FIELD_NUMBER, length) + head
        heads.append(head)
        lengths.append(len(head) + tensor.nbytes)
    proto.graph.ClearField("initializer")
    proto.graph.ClearField("value_info")
    graph = proto.graph.SerializeToString()
    proto.ClearField("graph")
    with path.open("wb") as file:
        file.write(proto.SerializeToString())
        file.write(_prefix(ModelProto.GRAPH_FIELD_NUMBER, len(graph) + sum(lengths)))
        file.write(graph)
        for tensor, head in zip(weights_of(model), heads, strict=True):
            file.write(head)
            file.write(tensor.tobytes())


def _prefix(field: int, length: int) -> bytes:
    """What stands before a field that holds bytes: its tag and its length."""
    return _varint(field << 3 | 2) + _varint(length)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first, as protocol buffers write numbers."""
    groups = []
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])
