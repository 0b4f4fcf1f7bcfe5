"""A Keras model as a TensorFlow SavedModel, proven against the model.

    python -m export.savedmodel runs/digits/best.keras --out exported/resnet20

TensorFlow alone loads and serves the folder:

    serve = tf.saved_model.load("exported/resnet20").signatures["serving_default"]
    serve(images=images)["probabilities"]
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.source import Flags, arguments, load, real_images
from export.steps import step
from export.verify import TOLERANCE, prove
from keras_resnet.command import parse, run
from keras_resnet.errors import InputError
from keras_resnet.files import refuse_existing, write_beside

if TYPE_CHECKING:
    import keras

    from export.signature import Signature

ENDPOINT = "serving_default"  # where TensorFlow Serving looks
RECORD = "keras_resnet.json"
CONTENT = {"saved_model.pb", "fingerprint.pb", "variables", "assets", RECORD}


def export_savedmodel(
    model: "keras.Model",
    path: str | os.PathLike,
    *,
    card: Any = None,
    output: str = "probabilities",
    preprocess: bool = False,
    input_size: tuple[int, int] | None = None,
    images: Any = None,
    verify: bool = True,
    tolerance: float = TOLERANCE,
    force: bool = False,
    verbose: bool = True,
) -> dict:
    """Writes a SavedModel in float32 with one signature, `serving_default`.

    It takes `images` and gives one output named as `output`; the batch is dynamic.
    The folder's `keras_resnet.json` holds the metadata: architecture, input, output,
    labels, preprocessing, precision, versions and the proof's figures.

    Args:
        model, card, output, preprocess, input_size: as `make_signature` takes them.
        path: of the folder.
        images: real pictures for the proof, as `real_images` takes them.
        verify: load the folder again and hold it against the model; also on random
            images.
        tolerance: largest difference allowed, as a share of the logits' spread.
        force: replace what stands at `path`.
        verbose: print the steps and the result.

    Returns:
        The metadata.

    Raises:
        InputError: an argument cannot be used, or the folder cannot be written.
        ParityError: the proof failed. Nothing is left behind.
    """
    path = _refuse(path, force)
    with step("preparing", verbose):
        from export.signature import make_signature

        signature = make_signature(
            model,
            card=card,
            output=output,
            preprocess=preprocess,
            input_size=input_size,
        )
        real = real_images(images, signature)
    metadata = signature.describe() | {"versions": _versions(), "parity": None}
    with write_beside(path, force) as part:
        with step("writing", verbose):
            _write(signature, part, path)
        if verify:
            with step("proving", verbose):
                parity = prove(signature, _artifact(part, output), real, tolerance)
            metadata["parity"] = parity.to_json()
        (part / RECORD).write_text(json.dumps(metadata, indent=2) + "\n")
    if verbose:
        print(f"{path}: {parity if verify else 'not held against the model'}")
    return metadata


def _refuse(path: str | os.PathLike, force: bool) -> Path:
    """`refuse_existing`, and whatever no export has written: --force spares it."""
    path = refuse_existing(path, force)
    if path.is_dir():
        foreign = {one.name for one in path.iterdir()} - CONTENT
        if foreign:
            raise InputError(
                f"{path} holds {min(foreign)}, which no export wrote: choose another "
                "path."
            )
    return path


def _write(signature: "Signature", part: Path, path: Path) -> None:
    import keras
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(signature.model)
    archive.add_endpoint(
        ENDPOINT,
        lambda images: {signature.output: signature(images)},
        input_signature=[tf.TensorSpec(signature.shape, signature.dtype, "images")],
    )
    try:
        archive.write_out(part, verbose=False)
    except tf.errors.OpError as error:
        raise InputError(f"cannot write {path}: {error.message}.") from error


def _artifact(part: Path, output: str):
    """The folder's signature in TensorFlow, as a function of arrays."""
    import tensorflow as tf

    with tf.device("CPU"):
        loaded = tf.saved_model.load(part)

    def run_loaded(images):
        with tf.device("CPU"):
            serve = loaded.signatures[ENDPOINT]
            return serve(images=tf.constant(images))[output].numpy()

    return run_loaded


def _versions() -> dict[str, str]:
    import keras
    import tensorflow

    import keras_resnet

    modules = keras_resnet, keras, tensorflow
    return {module.__name__: module.__version__ for module in modules}


@dataclass(frozen=True, kw_only=True)
class SavedModelFlags(Flags):
    """Writes a Keras model as a SavedModel and proves it against the model."""


def main(args: list[str] | None = None) -> None:
    flags = parse(SavedModelFlags, args, prog="python -m export.savedmodel")
    _refuse(flags.out, flags.force)
    with step("loading"):
        source = load(flags)
    export_savedmodel(**source, path=flags.out, **arguments(flags))


if __name__ == "__main__":
    run(main)
