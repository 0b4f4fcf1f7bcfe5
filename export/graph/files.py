"""ONNX models on the disk: written with what is to be known of them, read with care."""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from keras_resnet.common.errors import InputError

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

# Protocol buffers end at 2 GiB; the graph and the metadata take some of it.
LARGEST = 2**31 - 2**26  # bytes of weights in the file itself
PAGE = 4096  # bytes; weights that begin with a page can be mapped into memory
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

    model.metadata_props["keras_resnet"] = json.dumps(metadata)
    tensors = weights_of(model)
    if not external_data and sum(one.nbytes for one in tensors) < size_threshold:
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
    return sorted(one for one in path.parent.iterdir() if name.fullmatch(one.name))


def weights_of(model: "ir.Model") -> list["ir.TensorProtocol"]:
    """The initializers' tensors; they hold arrays and share their memory."""
    values = model.graph.initializers.values()
    return [one.const_value for one in values if one.const_value is not None]


def without_weights(model: "ir.Model", keep: int = 0) -> "onnx.ModelProto":
    """The model as a message whose initializers have types and shapes but no values.

    None of them is copied. They are marked as data outside of the message.

    Args:
        model: stays as it is.
        keep: elements; initializers of so many or fewer keep their values.
    """
    import onnx_ir as ir

    values = model.graph.initializers.values()
    tensors = {value: value.const_value for value in values if value.const_value}
    try:
        for value, tensor in tensors.items():
            if tensor.size > keep:
                value.const_value = ir.ExternalTensor(
                    "nowhere", None, None, tensor.dtype, shape=tensor.shape, name=""
                )
        return ir.to_proto(model)
    finally:
        for value, tensor in tensors.items():
            value.const_value = tensor


def _write(model: "ir.Model", path: Path) -> None:
    """What protobuf's `SerializeToString` gives, written tensor by tensor.

    The message and its bytes would be two more copies of all weights in memory, and
    neither protobuf nor onnx_ir writes a message piece by piece.
    """
    import onnx_ir as ir
    from onnx import GraphProto, ModelProto

    rest = without_weights(model)
    graph = GraphProto.FromString(rest.graph.SerializeToString())
    rest.ClearField("graph")
    graph.ClearField("initializer")
    graph.ClearField("value_info")  # types of tensors inside, which nobody reads
    parts = graph.SerializeToString()
    tensors = weights_of(model)
    key = _field(GraphProto.INITIALIZER_FIELD_NUMBER)
    sizes = [ir.to_proto(one).ByteSize() for one in tensors]
    length = len(parts) + sum(len(key + _varint(size)) + size for size in sizes)
    with path.open("wb") as file:
        file.write(rest.SerializeToString())
        file.write(_field(ModelProto.GRAPH_FIELD_NUMBER) + _varint(length) + parts)
        for tensor, size in zip(tensors, sizes, strict=True):
            file.write(key + _varint(size))
            file.write(ir.to_proto(tensor).SerializeToString())


def _field(number: int) -> bytes:
    """The tag of a field that holds bytes (wire type 2 of protocol buffers)."""
    return _varint(number << 3 | 2)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first, as protocol buffers write lengths."""
    groups = []
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])


def _size(tensor: "onnx.TensorProto") -> int:
    from onnx import helper

    return (
        prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    )


def load(path: str | os.PathLike, weights: bool = True) -> "onnx.ModelProto":
    """Reads a model, and its weights from beside it.

    Args:
        path: of the file.
        weights: read those that stand beside it as well; they are checked to be there
            in any case.

    Raises:
        InputError: there is no such file, it is damaged or no ONNX model, or weights
            beside it are missing, too few, or elsewhere than in its folder.
    """
    import onnx
    from google.protobuf.message import DecodeError
    from onnx.external_data_helper import load_external_data_for_tensor

    path = Path(path)
    try:
        proto = onnx.ModelProto.FromString(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}.") from error
    except DecodeError as error:
        raise InputError(
            f"{path} cannot be read as ONNX: it is damaged, or another kind of file."
        ) from error
    if not (proto.graph.node and proto.graph.output and proto.opset_import):
        raise InputError(
            f"{path} cannot be read as ONNX: it has no graph, or not the whole of it."
        )
    for tensor in tensors(proto.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _check_beside(tensor, path)
            if weights:
                load_external_data_for_tensor(tensor, str(path.parent))
                tensor.data_location = onnx.TensorProto.DEFAULT
                tensor.ClearField("external_data")
    return proto


def tensors(graph: "onnx.GraphProto") -> Iterator["onnx.TensorProto"]:
    """All that a graph holds: weights, and what stands in its nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from tensors(inner)


def _check_beside(tensor: "onnx.TensorProto", path: Path) -> None:
    """Refuses weights that cannot be read from a file in the model's own folder."""
    place = {one.key: one.value for one in tensor.external_data}
    location = place.get("location", "")
    name = f"{path}: the weights of {tensor.name!r}"
    plain = PurePosixPath(location).parts == PureWindowsPath(location).parts
    plain = plain and location.isprintable()
    if not location or not plain or ".." in PurePosixPath(location).parts:
        raise InputError(
            f"{name} are said to be in {location!r}: a file in the model's own folder "
            "is needed."
        )
    beside = path.parent / location
    if not beside.resolve().is_relative_to(path.parent.resolve()):
        raise InputError(f"{name} are in {location}, a link that leaves its folder.")
    if not beside.is_file():
        raise InputError(f"{name} are missing: there is no {beside}.")
    try:
        start, length = int(place.get("offset", 0)), int(place.get("length", 0))
        length = length or _size(tensor)
    except (KeyError, ValueError):  # a number or a type that is none
        start = length = -1
    if min(start, length) < 0 or start + length > beside.stat().st_size:
        raise InputError(f"{name} are not all in {beside}: it is damaged or another's.")
