"""A Keras model as a LiteRT file (`.tflite`), verified against the model.

    python -m export.litert runs/digits/best.keras --out exported/resnet20.tflite
    export.export(model, "exported/resnet20.tflite")

TensorFlow's converter makes it in float32 from the SavedModel of the same serving
function, with LiteRT's own operators alone: no interpreter needs TensorFlow's (Flex).
The metadata stands beside it in `<name>.tflite.json`.

The file has one signature, `serving_default`, that takes `images` and gives outputs
named as `make_signature` says. An interpreter fits it to a batch, or to a size that is
open, by resizing its input, as signature runners do by themselves.
"""

import json
import re
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

from export.api import Format, export_source
from export.config import ExportConfig
from export.model.source import Source
from export.savedmodel import ENDPOINT, write_archive
from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError


class LiteRT(Format):
    """A `.tflite` file and, beside it, its metadata as JSON."""

    suffix = ".tflite"

    @classmethod
    def beside(cls, path):
        return (path.with_name(f"{path.name}.json"),)

    def write(self, path, metadata):
        import tensorflow as tf

        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "archive"
            write_archive(self.signature, archive)
            converter = tf.lite.TFLiteConverter.from_saved_model(str(archive))
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
            try:
                content = converter.convert()
            except Exception as error:  # of several kinds, without a common parent
                name = self.signature.model.name
                raise InputError(
                    f"model {name!r} has no LiteRT form: {_reason(str(error))}"
                ) from error
        path.write_bytes(content)
        self.attach(path, metadata)

    def attach(self, path, metadata):
        (record,) = self.beside(path)
        record.write_text(json.dumps(metadata, indent=2) + "\n")

    def open(self, path):
        """In LiteRT's interpreter."""
        import tensorflow as tf

        with warnings.catch_warnings():
            # The interpreter will move to a package of its own, `ai_edge_litert`.
            warnings.simplefilter("ignore", UserWarning)
            interpreter = tf.lite.Interpreter(str(path))
        serve = interpreter.get_signature_runner(ENDPOINT)
        return lambda images: {k: v.copy() for k, v in serve(images=images).items()}


def _reason(message: str) -> str:
    """The operators that LiteRT lacks, out of the converter's pages; or their end."""
    lacking = sorted(set(re.findall(r"'(tf\.\w+)' op is neither", message)))
    if lacking:
        return f"it lacks {', '.join(lacking)}."
    return " ".join(message.split())[-300:]


@dataclass(frozen=True, kw_only=True)
class LiteRTCommand(Source, ExportConfig):
    """Writes a Keras model as a LiteRT file and verifies it against the model."""


def main(args: list[str] | None = None) -> None:
    export_source(LiteRT, parse(LiteRTCommand, args, prog="python -m export.litert"))


if __name__ == "__main__":
    run(main)
