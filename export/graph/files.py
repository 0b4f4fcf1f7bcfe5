"""ONNX files: writes ours, and reads those of unknown origin as data.

    weights = save(model, {"architecture": "resnet50"}, Path("resnet50.onnx"))
    proto = read("resnet50.onnx")

Nothing of a file runs, no path in it is followed out of its folder, and damage is one
line.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from export.runtime import METADATA_KEY, parse_metadata
from keras_resnet.common.errors import InputError

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir
    from google.protobuf.message import Message

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


def read(path: str | os.PathLike, weights: bool = False) -> "onnx.ModelProto":
    """The model of an ONNX file.

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
    if _has_damaged_text(proto):
        raise InputError(f"{path} cannot be read as ONNX: its text is damaged.")
    for tensor in _tensors(proto.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _check_beside(tensor, path)
            if weights:
                load_external_data_for_tensor(tensor, str(path.parent))
                tensor.data_location = onnx.TensorProto.DEFAULT
                tensor.ClearField("external_data")
    return proto


def _tensors(graph: "onnx.GraphProto") -> Iterator["onnx.TensorProto"]:
    """All that a graph holds: weights, and what stands in its nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _check_beside(tensor: "onnx.TensorProto", path: Path) -> None:
    """Refuses weights that cannot be read from a file in the model's own folder."""
    from onnx import helper

    place = {entry.key: entry.value for entry in tensor.external_data}
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
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        length = length or prod(tensor.dims) * dtype.itemsize
    except (KeyError, ValueError):  # a number or a type that is none
        start = length = -1
    if min(start, length) < 0 or start + length > beside.stat().st_size:
        raise InputError(f"{name} are not all in {beside}: it is damaged or another's.")


def _has_damaged_text(message: "Message") -> bool:
    """Whether a text is not UTF-8: protobuf leaves it as bytes."""
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        if field.type == field.TYPE_STRING:
            if any(isinstance(text, bytes) for text in values):
                return True
        elif field.type == field.TYPE_MESSAGE and any(map(_has_damaged_text, values)):
            return True
    return False


def read_metadata(proto: "onnx.ModelProto", path: Path) -> dict[str, Any]:
    """What the exporter wrote; {} in other files.

    Raises:
        InputError: it is not a JSON object.
    """
    written = {entry.key: entry.value for entry in proto.metadata_props}
    return parse_metadata(path, written.get(METADATA_KEY, "{}"))


def beside(proto: "onnx.ModelProto") -> list[str]:
    """Where weights stand that are not in the file, relative to its folder.

    `read` has made sure that they are there and that it is not elsewhere.
    """
    return sorted(
        {
            entry.value
            for tensor in _tensors(proto.graph)
            for entry in tensor.external_data
            if entry.key == "location"
        }
    )


def inputs(proto: "onnx.ModelProto") -> list["onnx.ValueInfoProto"]:
    """The inputs without weights; old files count their weights among the inputs."""
    weights = {tensor.name for tensor in proto.graph.initializer}
    return [entry for entry in proto.graph.input if entry.name not in weights]


def tensor(value: "onnx.ValueInfoProto") -> dict[str, Any]:
    """Name, type and shape of an input or output; None for an axis of any size."""
    from onnx import TensorProto

    kind = value.type.tensor_type
    known = TensorProto.DataType.DESCRIPTOR.values_by_number.get(kind.elem_type)
    return {
        "name": value.name,
        "dtype": known.name.lower() if known else "unknown",
        "shape": [axis.dim_value or None for axis in kind.shape.dim],
    }


def recorded_size(metadata: dict[str, Any]) -> tuple[int, int] | None:
    """Height and width that the metadata's preprocessing has, if it does."""
    preprocessing = metadata.get("preprocessing")
    size = preprocessing.get("size") if isinstance(preprocessing, dict) else None
    if not isinstance(size, list) or len(size) != 2:
        return None
    whole = all(type(side) is int and 0 < side < 2**16 for side in size)
    return tuple(size) if whole else None
