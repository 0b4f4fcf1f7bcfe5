"""A Keras model as a TensorFlow SavedModel, verified against the model.

    python -m export.savedmodel runs/digits/best.keras --out exported/resnet20
    export.export(model, "exported/resnet20")

TensorFlow alone loads and serves the folder, which computes in float32:

    serve = tf.saved_model.load("exported/resnet20").signatures["serving_default"]
    serve(images=images)["probabilities"]

Its outputs are named as `make_signature` says. The metadata stands in the folder's
`keras_resnet.json`.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.api import Format, export_source
from export.config import INPUT_NAME, ExportConfig
from export.model.source import Source
from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import refuse_existing, refuse_foreign

if TYPE_CHECKING:
    from export.model.signature import Signature

ENDPOINT = "serving_default"  # where TensorFlow Serving looks
RECORD = "keras_resnet.json"  # the metadata
CONTENT = {"saved_model.pb", "fingerprint.pb", "variables", "assets", RECORD}


class SavedModel(Format):
    """A folder with one signature, `serving_default`, and the metadata."""

    suffix = ""

    @classmethod
    def refuse(cls, path, force):
        """Refuses what stands there, and with `force` whatever no export wrote."""
        refuse_existing(path, force)
        refuse_foreign(path, CONTENT, "no export wrote")

    def write(self, path, metadata):
        write_archive(self.signature, path)
        self.attach(path, metadata)

    def attach(self, path, metadata):
        (path / RECORD).write_text(json.dumps(metadata, indent=2) + "\n")

    def open(self, path):
        """In TensorFlow on the CPU."""
        import tensorflow as tf

        with tf.device("CPU"):
            loaded = tf.saved_model.load(path)

        def run_signature(images):
            with tf.device("CPU"):
                outputs = loaded.signatures[ENDPOINT](images=tf.constant(images))
                return {name: values.numpy() for name, values in outputs.items()}

        return run_signature


def write_archive(signature: "Signature", folder: Path) -> None:
    """Writes the SavedModel of a serving function.

    Raises:
        OSError: the folder cannot be written.
    """
    import keras
    import tensorflow as tf

    archive: Any = keras.export.ExportArchive()  # it depends on the backend
    archive.track(signature.model)
    archive.add_endpoint(
        ENDPOINT,
        signature.__call__,
        input_signature=[tf.TensorSpec(signature.shape, signature.dtype, INPUT_NAME)],
    )
    try:
        archive.write_out(folder, verbose=False)
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def next_version(folder: str | os.PathLike, name: str) -> Path:
    """Where TensorFlow Serving looks for the next version of a model.

    Args:
        folder: of several models.
        name: of the model, its folder in there.

    Returns:
        `<folder>/<name>/<n>`, n being 1, or 1 more than the largest there.

    Raises:
        InputError: the name is not the plain name of a folder.
    """
    if name in ("", "..") or name != Path(name).name:
        raise InputError(f"serving={name!r}: a name without folders is needed.")
    path = Path(folder) / name
    files = path.iterdir() if path.is_dir() else ()
    versions = [int(file.name) for file in files if file.name.isdecimal()]
    return path / str(max(versions, default=0) + 1)


@dataclass(frozen=True, kw_only=True)
class SavedModelCommand(Source, ExportConfig):
    """Writes a Keras model as a SavedModel and verifies it against the model."""

    serving: str | None = None
    """Name of a model in TensorFlow Serving: writes <out>/<serving>/<n>, n being the
    next version, from 1 on."""


def main(args: list[str] | None = None) -> None:
    command = parse(SavedModelCommand, args, prog="python -m export.savedmodel")
    path = command.out
    if command.serving is not None:
        path = next_version(path, command.serving)
    export_source(SavedModel, command, path)


if __name__ == "__main__":
    run(main)
