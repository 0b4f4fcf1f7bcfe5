"""What an ONNX file of any origin says, as data: nothing of it runs or is followed."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.graph.files import load, tensors
from export.runtime.metadata import KEY, parse_metadata
from keras_resnet.common.errors import InputError

if TYPE_CHECKING:
    import onnx
    from google.protobuf.message import Message


def read(path: Path) -> "onnx.ModelProto":
    """The model of an ONNX file, without the weights beside it.

    Raises:
        InputError: as of `export.graph.files.load`; or its texts are damaged.
    """
    proto = load(path, weights=False)
    if _damaged_text(proto):
        raise InputError(f"{path} cannot be read as ONNX: its text is damaged.")
    return proto


def _damaged_text(message: "Message") -> bool:
    """Whether a text is not UTF-8: protobuf leaves it as bytes."""
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        if field.type == field.TYPE_STRING:
            if any(isinstance(one, bytes) for one in values):
                return True
        elif field.type == field.TYPE_MESSAGE and any(map(_damaged_text, values)):
            return True
    return False


def read_metadata(proto: "onnx.ModelProto", path: Path) -> dict[str, Any]:
    """What the exporter wrote; {} in other files.

    Raises:
        InputError: it is not a JSON object.
    """
    written = {one.key: one.value for one in proto.metadata_props}
    return parse_metadata(path, written.get(KEY, "{}"))


def beside(proto: "onnx.ModelProto") -> list[str]:
    """Where weights stand that are not in the file, relative to its folder.

    `read` has made sure that they are there and that it is not elsewhere.
    """
    return sorted(
        {
            entry.value
            for tensor in tensors(proto.graph)
            for entry in tensor.external_data
            if entry.key == "location"
        }
    )


def inputs(proto: "onnx.ModelProto") -> list["onnx.ValueInfoProto"]:
    """What a model is given; old files count their weights among the inputs."""
    held = {one.name for one in proto.graph.initializer}
    return [one for one in proto.graph.input if one.name not in held]


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
