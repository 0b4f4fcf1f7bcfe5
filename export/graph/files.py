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

# Protocol buffers end at 2 GiB; the graph and the metadata take some of it.
LARGEST = 2**31 - 2**26  # bytes of weights in the file itself
PAGE = 4096  # bytes; weights that begin with a page can be mapped into memory
SMALL = 1024  # bytes; smaller tensors stay in the file


def save(
    proto: "onnx.ModelProto",
    metadata: dict,
    path: Path,
    external_data: bool = False,
    size_threshold: int = LARGEST,
) -> Path | None:
    """Writes a model, its weights in a file beside it where they are many.

    That file's name, `<path>.<digest>.data`, tells its content: weights never replace
    those of another file that a reader may have open.

    Args:
        proto: gets the metadata, and stays whole.
        metadata: written as JSON under the key `keras_resnet`.
        path: of the file.
        external_data: write the weights beside it in any case.
        size_threshold: bytes of weights from which on that is done.

    Returns:
        The file of the weights; None where they are in the model's.
    """
    from onnx import helper

    helper.set_model_props(proto, {"keras_resnet": json.dumps(metadata)})
    weights = sum(_size(one) for one in proto.graph.initializer)
    if not external_data and weights < size_threshold:
        _write(proto, path)
        return None
    data = path.with_name(f"{path.name}.{_digest(proto)}.data")
    path.write_bytes(_with_weights_beside(proto, data).SerializeToString())
    return data


def weights_beside(path: Path) -> list[Path]:
    """Files of weights that `save` wrote beside a model of that name."""
    name = re.compile(re.escape(path.name) + r"\.[0-9a-f]{12}\.data")
    return sorted(one for one in path.parent.iterdir() if name.fullmatch(one.name))


def _digest(proto: "onnx.ModelProto") -> str:
    found = hashlib.sha256()
    for tensor in proto.graph.initializer:
        found.update(tensor.raw_data)
    return found.hexdigest()[:12]


def _write(proto: "onnx.ModelProto", path: Path) -> None:
    """What `SerializeToString` gives but for the order of fields, tensor by tensor."""
    import onnx
    from onnx import GraphProto, ModelProto

    rest, graph = onnx.ModelProto(), onnx.GraphProto()
    _copy(proto, rest, "graph")
    _copy(proto.graph, graph, "initializer")
    parts = graph.SerializeToString()
    tensors = proto.graph.initializer
    key = _field(GraphProto.INITIALIZER_FIELD_NUMBER)
    sizes = [one.ByteSize() for one in tensors]
    length = len(parts) + sum(len(key + _varint(size)) + size for size in sizes)
    with path.open("wb") as file:
        file.write(rest.SerializeToString())
        file.write(_field(ModelProto.GRAPH_FIELD_NUMBER) + _varint(length) + parts)
        for tensor, size in zip(tensors, sizes, strict=True):
            file.write(key + _varint(size))
            file.write(tensor.SerializeToString())


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


def _with_weights_beside(proto: "onnx.ModelProto", data: Path) -> "onnx.ModelProto":
    """A copy of the model without the weights, which are written tensor by tensor."""
    import onnx

    light = onnx.ModelProto()
    _copy(proto, light, "graph")
    _copy(proto.graph, light.graph, "initializer")
    with data.open("wb") as file:
        for tensor in proto.graph.initializer:
            if _size(tensor) < SMALL or not tensor.HasField("raw_data"):
                light.graph.initializer.append(tensor)
                continue
            offset = -(-file.tell() // PAGE) * PAGE
            file.seek(offset)
            length = file.write(tensor.raw_data)
            entry = light.graph.initializer.add()
            _copy(tensor, entry, "raw_data")
            entry.data_location = onnx.TensorProto.EXTERNAL
            place = {"location": data.name, "offset": offset, "length": length}
            for key, value in place.items():
                entry.external_data.add(key=key, value=str(value))
        file.flush()
        os.fsync(file.fileno())
    return light


def _copy(source, target, left_out: str) -> None:
    """Copies the fields of a message but one, none of which is a single message."""
    for field, value in source.ListFields():
        if field.name == left_out:
            continue
        if field.is_repeated:
            getattr(target, field.name).extend(value)
        else:
            setattr(target, field.name, value)


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
