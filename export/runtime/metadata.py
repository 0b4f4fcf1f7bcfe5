"""What an exporter wrote into a file: data of unknown origin, and only read."""

import json
import os
from typing import Any

from keras_resnet.common.errors import InputError

METADATA_KEY = "keras_resnet"  # of ONNX's metadata; below it stands JSON
MAX_METADATA_CHARS = 2**24  # a card with 22,000 names of classes has 500,000


def parse_metadata(path: str | os.PathLike, text: str) -> dict[str, Any]:
    """The exporter's JSON as a dictionary.

    Args:
        path: of the file, for what is said.
        text: what stands under the key.

    Raises:
        InputError: it is anything else, or of more than 2^24 characters.
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
