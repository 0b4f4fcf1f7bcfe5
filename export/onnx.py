"""A Keras model as an ONNX file, proven against the model.

python -m export.onnx runs/digits/best.keras --out exported/resnet20.onnx
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from export.graph.convert import convert
from export.graph.files import save
from export.source import Flags, arguments, load, real_images
from export.steps import step
from export.verify import TOLERANCE, prove
from keras_resnet.command import parse, run
from keras_resnet.errors import InputError
from keras_resnet.files import refuse_existing, write_beside

if TYPE_CHECKING:
    import keras

OPSETS = (17, 15, 13)  # tested; at 18, tf2onnx 1.17 takes global pooling apart
LAYOUTS = ("nhwc", "nchw")


def export_onnx(
    model: "keras.Model",
    path: str | os.PathLike,
    *,
    card: Any = None,
    output: str = "probabilities",
    preprocess: bool = False,
    input_size: tuple[int, int] | None = None,
    opset: int = 17,
    layout: str = "nhwc",
    images: Any = None,
    verify: bool = True,
    tolerance: float = TOLERANCE,
    force: bool = False,
    verbose: bool = True,
) -> dict:
    """Writes an ONNX file in float32, and `<path>.parity.json` where it is proven.

    The file has one input, `images`, and one output named as `output`; the batch is
    dynamic. Its metadata has one key, `keras_resnet`, with JSON: architecture, input,
    output, labels, preprocessing, precision, opset, versions and the proof's figures.

    Args:
        model, card, output, preprocess, input_size: as `make_signature` takes them.
        path: ending in `.onnx`.
        opset: 17, 15 or 13.
        layout: of the input: "nhwc" or "nchw".
        images: real pictures for the proof, as `real_images` takes them.
        verify: hold the file, in onnxruntime at its default optimisation level on the
            CPU, against the model; also on random images.
        tolerance: largest difference allowed, as a share of the logits' spread.
        force: replace existing files.
        verbose: print the steps and the result.

    Returns:
        The metadata.

    Raises:
        InputError: an argument cannot be used, the model cannot be converted, or a
            file cannot be written.
        ParityError: the proof failed. Nothing is left behind.
    """
    path, report = _paths(path, force)
    if opset not in OPSETS or layout not in LAYOUTS:
        raise InputError(
            f"opset={opset!r}, layout={layout!r}: accepted are {OPSETS} and {LAYOUTS}."
        )
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
    metadata = signature.describe(layout) | {
        "opset": opset,
        "versions": _versions(),
        "parity": None,
    }
    with write_beside(path, force) as part:
        proto = convert(signature, opset, layout, verbose)
        save(proto, metadata, part)
        if verify:
            with step("proving", verbose):
                parity = prove(signature, _artifact(part, layout), real, tolerance)
            metadata["parity"] = parity.to_json()
            save(proto, metadata, part)
    report.unlink(missing_ok=True)  # of the file that was replaced
    if verify:
        with write_beside(report) as part:
            part.write_text(json.dumps(metadata["parity"], indent=2) + "\n")
    if verbose:
        megabytes = path.stat().st_size / 1e6
        print(f"{path}: {megabytes:.1f} MB, {len(proto.graph.node)} nodes")
        print(parity if verify else "not held against the model")
    return metadata


def _artifact(path: Path, layout: str):
    """The file in onnxruntime, as a function of NHWC images."""
    from export.runtime import Session

    session = Session(path, "cpu")
    if layout == "nhwc":
        return session.run
    return lambda images: session.run(images.transpose(0, 3, 1, 2).copy())


def _versions() -> dict[str, str]:
    import keras
    import onnx
    import onnxruntime
    import tensorflow
    import tf2onnx

    import keras_resnet

    modules = keras_resnet, keras, tensorflow, tf2onnx, onnx, onnxruntime
    return {module.__name__: module.__version__ for module in modules}


def _paths(path: str | os.PathLike, force: bool) -> tuple[Path, Path]:
    """Of the artifact and of the proof's figures."""
    path = Path(path)
    if path.suffix != ".onnx":
        raise InputError(f"{path}: a name that ends in .onnx is needed.")
    report = path.with_name(f"{path.name}.parity.json")
    for one in (path, report):
        if one.is_dir():
            raise InputError(f"{one} is a folder: choose another path.")
    return refuse_existing(path, force), refuse_existing(report, force)


@dataclass(frozen=True, kw_only=True)
class OnnxFlags(Flags):
    """Writes a Keras model as an ONNX file and proves it against the model."""

    opset: Literal[17, 15, 13] = 17
    """ONNX operator set."""
    layout: Literal["nhwc", "nchw"] = "nhwc"
    """Axes of the input."""


def main(args: list[str] | None = None) -> None:
    flags = parse(OnnxFlags, args, prog="python -m export.onnx")
    _paths(flags.out, flags.force)
    with step("loading"):
        source = load(flags)
    export_onnx(**source, path=flags.out, **arguments(flags))


if __name__ == "__main__":
    run(main)
