"""A Keras model as an OpenVINO IR (`.xml` and `.bin`), proven against the model.

    python -m export.openvino runs/digits/best.keras --out exported/resnet20.xml

OpenVINO reads our ONNX graph, in which normalisation is folded already, and writes its
own form of it. Keras's exporter (`model.export(format="openvino")`) goes from the
TensorFlow graph instead: it takes the model as it ends, without our outputs and
preprocessing, and tells neither names nor origin. The metadata stands in the IR's
`rt_info` under `keras_resnet`, as JSON. Needs `openvino`, of the extra of that name.
"""

import importlib.util
import json
import os
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.graph.convert import convert
from export.graph.files import save
from export.model.source import Flags, arguments, load, prepare
from export.parity.verify import gate_of, prove
from export.savedmodel import describe
from export.steps import step
from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import refuse_existing, write_beside

if TYPE_CHECKING:
    import keras
    import openvino


KEY = "keras_resnet"  # of the metadata
OPSET = 17  # of the ONNX graph on the way


def export_openvino(
    model: "keras.Model",
    path: str | os.PathLike,
    *,
    half_weights: bool = False,
    images: Any = None,
    origin: dict | None = None,
    verify: bool = True,
    tolerance: float | None = None,
    force: bool = False,
    verbose: bool = True,
    **options: Any,
) -> dict:
    """Writes an OpenVINO IR: `<name>.xml`, and the weights as `<name>.bin` beside it.

    It has one input, `images`, and outputs named as `make_signature` says. What it is
    computed in is chosen where it is compiled: on processors with bfloat16 OpenVINO
    takes that unless its INFERENCE_PRECISION_HINT says f32, as this proof does.

    Args:
        model: as `make_signature` takes it.
        path: ending in `.xml`.
        half_weights: keep the weights in float16, in half the space.
        images: real images for the proof, as `real_images` takes them.
        origin: where the weights are from, beside what the card tells, as
            `describe_origin` takes it.
        verify: hold the files, in OpenVINO on the CPU in float32, against the model.
        tolerance: largest difference allowed, as a share of the outputs' spread; None
            takes the gate of float32, or of float16 for half weights.
        force: replace existing files.
        verbose: print the steps and the result.
        **options: `card`, `output`, `top`, `preprocess`, `input_size` and `batch`, as
            `make_signature` takes them.

    Returns:
        The metadata.

    Raises:
        InputError: an argument cannot be used, openvino is not installed or cannot
            read the model, or a file cannot be written.
        ParityError: the proof failed. What stood at `path` is as it was.
    """
    path = _refuse(path, force)
    precision = "float16" if half_weights else "float32"
    gate_of(precision, tolerance)
    signature, real = prepare(model, images, verbose, **options)
    metadata = describe(signature, origin) | {"precision": precision}
    metadata["versions"] |= _versions()
    proto = convert(signature, OPSET, "nhwc", verbose)
    with tempfile.TemporaryDirectory() as folder, write_beside(path, force) as part:
        save(proto, {}, Path(folder) / "model.onnx")
        trial = Path(folder) / "model.xml"
        with step("rewriting", verbose):
            read = _read(f"{folder}/model.onnx", signature.model.name)
            _save(read, metadata, trial, half_weights)
        if verify:
            with step("proving", verbose):
                parity = prove(
                    signature,
                    _artifact(trial),
                    real,
                    precision=precision,
                    tolerance=tolerance,
                )
            metadata["parity"] = parity.to_json()
        _save(read, metadata, part, half_weights)
        with write_beside(_weights(path), force=True) as place:
            _weights(part).rename(place)
    if verbose:
        megabytes = sum(one.stat().st_size for one in (path, _weights(path))) / 1e6
        print(f"{path}: {megabytes:.1f} MB with its weights")
        print(parity if verify else "not held against the model")
    return metadata


def _refuse(path: str | os.PathLike, force: bool) -> Path:
    """`refuse_existing`, of both files; also refuses where openvino is missing."""
    path = Path(path)
    if path.suffix != ".xml":
        raise InputError(f"{path}: a name that ends in .xml is needed.")
    for one in (path, _weights(path)):
        if one.is_dir():
            raise InputError(f"{one} is a folder: choose another path.")
        refuse_existing(one, force)
    if importlib.util.find_spec("openvino") is None:
        raise InputError(
            "openvino is not installed: pip install "
            "'keras-resnet-applications[openvino]'."
        )
    return path


def _weights(path: Path) -> Path:
    return path.with_suffix(".bin")


def _read(path: str, name: str) -> "openvino.Model":
    """An ONNX file in OpenVINO's form, in which shapes that are known are computed."""
    import openvino
    from openvino.passes import ConstantFolding, Manager

    try:
        model = openvino.Core().read_model(path)
    except RuntimeError as error:
        raise InputError(f"model {name!r} has no OpenVINO form: {error}") from error
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)
    return model


def _save(model: "openvino.Model", metadata: dict, path: Path, half: bool) -> None:
    import openvino

    model.set_rt_info(json.dumps(metadata), [KEY])
    openvino.save_model(model, path, compress_to_fp16=half)


def _artifact(path: Path):
    """The files in OpenVINO on the CPU in float32, as a function of arrays."""
    import openvino

    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", hint)

    def run_compiled(images):
        found = compiled({"images": images})
        return {one.get_any_name(): value for one, value in found.items()}

    return run_compiled


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("onnx", "tf2onnx", "openvino")}


@dataclass(frozen=True, kw_only=True)
class OpenvinoFlags(Flags):
    """Writes a Keras model as an OpenVINO IR and proves it against the model."""

    half_weights: bool = False
    """Keep the weights in float16, in half the space."""


def main(args: list[str] | None = None) -> None:
    flags = parse(OpenvinoFlags, args, prog="python -m export.openvino")
    _refuse(flags.out, flags.force)
    gate_of("float32", flags.tolerance)
    with step("loading"):
        source = load(flags)
    options = arguments(flags) | {"half_weights": flags.half_weights}
    export_openvino(**source, path=flags.out, **options)


if __name__ == "__main__":
    run(main)
