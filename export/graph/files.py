"""Writing ONNX models with what is to be known of them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def save(proto: "onnx.ModelProto", metadata: dict, path: Path) -> None:
    import onnx

    onnx.helper.set_model_props(proto, {"keras_resnet": json.dumps(metadata)})
    onnx.save(proto, path)
