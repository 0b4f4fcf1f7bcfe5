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

from export.model.metadata import describe
from export.model.source import Flags, arguments, load, prepare
from export.parity.verify import gate_of, prove
from export.steps import step
from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import refuse_existing, write_beside

if TYPE_CHECKING:
    import keras

    from export.model.signature import Signature

ENDPOINT = "serving_default"  # where TensorFlow Serving looks
RECORD = "keras_resnet.json"
CONTENT = {"saved_model.pb", "fingerprint.pb", "variables", "assets", RECORD}


def export_savedmodel(
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
    """Writes a SavedModel in float32 with one signature, `serving_default`.

    It takes `images` and gives outputs named as `make_signature` says. The folder's
    `keras_resnet.json` holds the metadata: architecture, origin, input, outputs,
    labels, preprocessing, precision, versions, parameters and the proof's figures.

    Args:
        model: as `make_signature` takes it.
        path: of the folder.
        images: real images for the proof, as `real_images` takes them.
        origin: where the weights are from, beside what the card tells, as
            `describe_origin` takes it.
        verify: load the folder again and hold it against the model; also on noise and
            on adversarial images.
        tolerance: largest difference allowed, as a share of the outputs' spread; None
            takes float32's gate.
        force: replace what stands at `path`.
        verbose: print the steps and the result.
        **options: `card`, `output`, `top`, `preprocess`, `input_size` and `batch`, as
            `make_signature` takes them.

    Returns:
        The metadata.

    Raises:
        InputError: an argument cannot be used, or the folder cannot be written.
        ParityError: the proof failed. What stood at `path` is as it was.
    """
    path = _refuse(path, force)
    gate_of("float32", tolerance)
    signature, real = prepare(model, images, verbose, **options)
    metadata = describe(signature, origin)
    with write_beside(path, force) as part:
        with step("writing", verbose):
            write_archive(signature, part, path)
        if verify:
            with step("proving", verbose):
                parity = prove(signature, _artifact(part), real, tolerance=tolerance)
            metadata["parity"] = parity.to_json()
        (part / RECORD).write_text(json.dumps(metadata, indent=2) + "\n")
    if verbose:
        print(f"{path}: {parity if verify else 'not held against the model'}")
    return metadata


def next_version(folder: str | os.PathLike, name: str) -> Path:
    """Where TensorFlow Serving looks for the next version of a model.

    Args:
        folder: of several models.
        name: of the model, its folder in there.

    Returns:
        `<folder>/<name>/<n>`, n being 1, or 1 more than the largest there.

    Raises:
        InputError: the name is no plain name of a folder.
    """
    if name in ("", "..") or name != Path(name).name:
        raise InputError(f"serving={name!r}: a name without folders is needed.")
    path = Path(folder) / name
    there = path.iterdir() if path.is_dir() else ()
    versions = [int(one.name) for one in there if one.name.isdecimal()]
    return path / str(max(versions, default=0) + 1)


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


def write_archive(signature: "Signature", part: Path, path: Path) -> None:
    """Writes the folder at `part`; messages speak of `path`."""
    import keras
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(signature.model)
    archive.add_endpoint(
        ENDPOINT,
        signature.__call__,
        input_signature=[tf.TensorSpec(signature.shape, signature.dtype, "images")],
    )
    try:
        archive.write_out(part, verbose=False)
    except tf.errors.OpError as error:
        raise InputError(f"cannot write {path}: {error.message}.") from error


def _artifact(part: Path):
    """The folder's signature in TensorFlow, as a function of arrays."""
    import tensorflow as tf

    with tf.device("CPU"):
        loaded = tf.saved_model.load(part)

    def run_loaded(images):
        with tf.device("CPU"):
            found = loaded.signatures[ENDPOINT](images=tf.constant(images))
            return {name: value.numpy() for name, value in found.items()}

    return run_loaded


@dataclass(frozen=True, kw_only=True)
class SavedModelFlags(Flags):
    """Writes a Keras model as a SavedModel and proves it against the model."""

    serving: str | None = None
    """Name of a model in TensorFlow Serving: writes <out>/<serving>/<n>, n being the
    next version, from 1 on."""


def main(args: list[str] | None = None) -> None:
    flags = parse(SavedModelFlags, args, prog="python -m export.savedmodel")
    path = flags.out
    if flags.serving is not None:
        path = next_version(path, flags.serving)
    _refuse(path, flags.force)
    gate_of("float32", flags.tolerance)
    with step("loading"):
        source = load(flags)
    export_savedmodel(**source, path=path, **arguments(flags))


if __name__ == "__main__":
    run(main)
