"""A Keras model as a LiteRT file (`.tflite`), proven against the model.

    python -m export.litert runs/digits/best.keras --out exported/resnet20.tflite

TensorFlow's converter makes it from the SavedModel of the same serving function, with
LiteRT's own operators alone: no interpreter needs TensorFlow's (Flex). What the file
is stands beside it in `<name>.tflite.json`.
"""

import json
import os
import re
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.model.source import Flags, arguments, load, prepare
from export.parity.verify import gate_of, prove
from export.savedmodel import ENDPOINT, describe, write_archive
from export.steps import step
from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import refuse_existing, write_beside

if TYPE_CHECKING:
    import keras

    from export.model.signature import Signature


def export_litert(
    model: "keras.Model",
    path: str | os.PathLike,
    *,
    images: Any = None,
    origin: dict | None = None,
    verify: bool = True,
    tolerance: float | None = None,
    force: bool = False,
    verbose: bool = True,
    **options: Any,
) -> dict:
    """Writes a LiteRT file in float32 and, beside it, its metadata as JSON.

    The file has one signature, `serving_default`, that takes `images` and gives
    outputs named as `make_signature` says. An interpreter fits it to a batch, or to a
    size that is open, by resizing its input, as signature runners do by themselves.

    Args:
        model: as `make_signature` takes it.
        path: ending in `.tflite`.
        images: real images for the proof, as `real_images` takes them.
        origin: where the weights are from, beside what the card tells, as
            `describe_origin` takes it.
        verify: hold the file, in LiteRT's interpreter, against the model.
        tolerance: largest difference allowed, as a share of the outputs' spread; None
            takes float32's gate.
        force: replace existing files.
        verbose: print the steps and the result.
        **options: `card`, `output`, `top`, `preprocess`, `input_size` and `batch`, as
            `make_signature` takes them.

    Returns:
        The metadata.

    Raises:
        InputError: an argument cannot be used, LiteRT has no form of the model, or a
            file cannot be written.
        ParityError: the proof failed. What stood at `path` is as it was.
    """
    path = _refuse(path, force)
    gate_of("float32", tolerance)
    signature, real = prepare(model, images, verbose, **options)
    metadata = describe(signature, origin)
    with step("converting", verbose):
        content = _convert(signature, path)
    with write_beside(path, force) as part:
        part.write_bytes(content)
        if verify:
            with step("proving", verbose):
                parity = prove(signature, _artifact(part), real, tolerance=tolerance)
            metadata["parity"] = parity.to_json()
        with write_beside(_record(path), force=True) as record:
            record.write_text(json.dumps(metadata, indent=2) + "\n")
    if verbose:
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
        print(parity if verify else "not held against the model")
    return metadata


def _refuse(path: str | os.PathLike, force: bool) -> Path:
    path = Path(path)
    if path.suffix != ".tflite":
        raise InputError(f"{path}: a name that ends in .tflite is needed.")
    for one in (path, _record(path)):
        if one.is_dir():
            raise InputError(f"{one} is a folder: choose another path.")
        refuse_existing(one, force)
    return path


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _convert(signature: "Signature", path: Path) -> bytes:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        write_archive(signature, Path(folder) / "archive", path)
        converter = tf.lite.TFLiteConverter.from_saved_model(f"{folder}/archive")
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            return converter.convert()
        except Exception as error:  # of several kinds, without a base of their own
            name = signature.model.name
            raise InputError(
                f"model {name!r} has no LiteRT form: {_reason(str(error))}"
            ) from error


def _reason(message: str) -> str:
    """The operators that LiteRT lacks, out of the converter's pages; or its end."""
    lacking = sorted(set(re.findall(r"'(tf\.\w+)' op is neither", message)))
    if lacking:
        return f"it lacks {', '.join(lacking)}."
    return " ".join(message.split())[-300:]


def _artifact(path: Path):
    """The file in LiteRT's interpreter, as a function of arrays."""
    import tensorflow as tf

    with warnings.catch_warnings():
        # The interpreter will move to a package of its own, `ai_edge_litert`.
        warnings.simplefilter("ignore", UserWarning)
        interpreter = tf.lite.Interpreter(str(path))
    serve = interpreter.get_signature_runner(ENDPOINT)
    return lambda images: {name: v.copy() for name, v in serve(images=images).items()}


@dataclass(frozen=True, kw_only=True)
class LitertFlags(Flags):
    """Writes a Keras model as a LiteRT file and proves it against the model."""


def main(args: list[str] | None = None) -> None:
    flags = parse(LitertFlags, args, prog="python -m export.litert")
    _refuse(flags.out, flags.force)
    gate_of("float32", flags.tolerance)
    with step("loading"):
        source = load(flags)
    export_litert(**source, path=flags.out, **arguments(flags))


if __name__ == "__main__":
    run(main)
