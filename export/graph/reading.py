"""What an ONNX file of unknown origin says, as data.

Nothing of it runs, no path in it is followed out of its folder, and damage is one line.
"""

import os
from collections.abc import Iterator
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from export.runtime import METADATA_KEY, parse_metadata
from keras_resnet.common.errors import InputError

if TYPE_CHECKING:
    import onnx
    from google.protobuf.message import Message


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
