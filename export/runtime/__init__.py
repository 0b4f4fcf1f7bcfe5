"""An exported file as a function: onnxruntime, numpy and Pillow. Never Keras.

from export.runtime import load

predictor = load("resnet50.onnx")
probabilities = predictor(images)  # uint8, one, a batch or a list of any sizes
"""

import json
import os
from typing import TYPE_CHECKING, Any

from keras_resnet.common.errors import InputError

METADATA_KEY = "keras_resnet"  # of a file's metadata; below it stands JSON
MAX_METADATA_CHARS = 2**24  # a card with 22,000 names of classes has 500,000

if TYPE_CHECKING:
    from export.runtime.predictor import Predictor as Predictor
    from export.runtime.predictor import load as load
    from export.runtime.session import Session as Session
else:

    def __getattr__(name):  # onnxruntime is imported when it is first needed
        import importlib

        modules = {"Predictor": "predictor", "load": "predictor", "Session": "session"}
        if name not in modules:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{modules[name]}"), name)


def parse_metadata(path: str | os.PathLike, text: str) -> dict[str, Any]:
    """What an exporter wrote into a file: data of unknown origin, and only read.

    Args:
        path: of the file, for messages.
        text: what stands under the key.

    Raises:
        InputError: it is no JSON object, or has more than 2^24 characters.
    """
    if len(text) > MAX_METADATA_CHARS:
        raise InputError(
            f"{path}: its metadata {METADATA_KEY!r} has {len(text)} characters; "
            f"{MAX_METADATA_CHARS} are read."
        )
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: its metadata {METADATA_KEY!r} is not JSON: {error}."
        ) from error
    if not isinstance(metadata, dict):
        raise InputError(f"{path}: its metadata {METADATA_KEY!r} is no JSON object.")
    return metadata
