"""A Keras model as an ONNX file, proven against the model.

python -m export.onnx runs/digits/best.keras --out exported/resnet20.onnx
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from export.graph.convert import check_opset, convert
from export.graph.files import save, weights_beside
from export.model.metadata import describe
from export.model.source import MOST_IMAGES, Flags, arguments, load, prepare
from export.parity.verify import gate_of, prove
from export.quantization.images import Images, images_of
from export.quantization.plan import METHODS, PRECISIONS, Plan
from export.quantization.reduce import measure, reduce
from export.quantization.running import runner as in_memory
from export.steps import step
from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import refuse_existing, write_beside

if TYPE_CHECKING:
    import keras
    import numpy as np
    import onnx

    from export.model.signature import Signature

LAYOUTS = ("nhwc", "nchw")


def export_onnx(
    model: "keras.Model",
    path: str | os.PathLike,
    *,
    opset: int = 17,
    layout: str = "nhwc",
    plan: Plan | None = None,
    external_data: bool = False,
    images: Any = None,
    origin: dict | None = None,
    verify: bool = True,
    tolerance: float | None = None,
    force: bool = False,
    verbose: bool = True,
    **options: Any,
) -> dict:
    """Writes an ONNX file, and `<path>.parity.json` where it is proven.

    The file has one input, `images`, and outputs named as `make_signature` says. Its
    metadata has one key, `keras_resnet`, with JSON: architecture, origin, input,
    outputs, labels, preprocessing, precision, calibration, accuracy, opset, versions,
    multiply-adds, parameters and the proof's figures.

    Args:
        model: as `make_signature` takes it.
        path: ending in `.onnx`.
        opset: 13 to 23.
        layout: of the input: "nhwc" or "nchw".
        plan: a lower precision, and the images to make and judge it with, as in
            Plan(precision="int8", calibrate="digits"); None for float32.
        external_data: write the weights into a file of their own beside it, as is done
            in any case where they take 2 GB.
        images: real images for the proof, as `real_images` takes them; None, in a
            lower precision, takes those of the plan.
        origin: where the weights are from, beside what the card tells, as
            `describe_origin` takes it.
        verify: hold the file, in onnxruntime at its default optimisation level on the
            CPU, against the model; also on noise and on adversarial images. Of a lower
            precision the float32 form, which it is made from, is proven as well.
        tolerance: largest difference allowed, as a share of the outputs' spread; None
            takes the precision's gate.
        force: replace existing files.
        verbose: print the steps and the result.
        **options: `card`, `output`, `top`, `preprocess`, `input_size` and `batch`, as
            `make_signature` takes them.

    Returns:
        The metadata.

    Raises:
        InputError: an argument cannot be used, the model cannot be converted, or a
            file cannot be written.
        AccuracyError: a lower precision loses more than the plan allows, with half of
            the layers in float32 still.
        ParityError: the proof failed.

    All of these are InputErrors, and leave what stood at `path` as it was.
    """
    path = _refuse(path, force)
    plan = replace(plan or Plan(precision="float32"), layout=layout)
    _check(opset, layout, options.get("preprocess"), plan.precision, tolerance)
    signature, real = prepare(model, images, verbose, **options)
    calibration, judges = images_of(plan, signature)
    proto = convert(signature, opset, layout, verbose)
    metadata = _describe(proto, signature, layout, origin)
    metadata |= {"opset": opset, "precision": plan.precision}
    if plan.precision != "float32":
        if verify:
            with step("proving float32", verbose):
                prove(signature, in_memory(proto, layout), real)
            real = _typical(real, calibration, judges, verbose)
        reduced = reduce(proto, plan, calibration, judges, verbose)
        proto = reduced.proto
        metadata["calibration"] = reduced.calibration
        metadata["accuracy"] = reduced.accuracy
    elif judges:
        metadata["accuracy"] = measure(proto, plan, judges, verbose)

    with write_beside(path, force) as part:
        weights = save(proto, metadata, part, external_data)
        if verify:
            with step("proving", verbose):
                parity = prove(
                    signature,
                    runner(part, signature, layout),
                    real,
                    precision=plan.precision,
                    tolerance=tolerance,
                )
            metadata["parity"] = parity.to_json()
            weights = save(proto, metadata, part, external_data)
        _place_beside(weights, path)
    _finish(path, weights, metadata["parity"])
    if verbose:
        size = sum(one.stat().st_size for one in (path, *weights_beside(path)))
        print(f"{path}: {size / 1e6:.1f} MB, {len(proto.graph.node)} nodes")
        print(parity if verify else "not held against the model")
    return metadata


def _typical(
    named: "Sequence[np.ndarray] | None",
    calibration: Images | None,
    judges: Images | None,
    verbose: bool,
) -> "Sequence[np.ndarray] | None":
    """Real images for the proof of a lower precision: those that were named, else some
    that it is judged by or made with."""
    if named is not None:
        if not (calibration and calibration.assumed):
            return named
        if verbose:  # they would enter as they are, far beyond the ranges
            print(
                "named images are left out of the proof: nothing says how they are "
                "normalised, and the ranges are of normalised ones"
            )
    own = judges or calibration
    return own and own.first(MOST_IMAGES)


def runner(path: Path, signature: "Signature", layout: str = "nhwc"):
    """A file in onnxruntime on the CPU, as `prove` takes an artifact."""
    from export.runtime import Session

    session = Session(path, "cpu")

    def run_session(images):
        if layout == "nchw":
            images = images.transpose(0, 3, 1, 2).copy()
        found = session.run(images)
        if isinstance(found, dict):
            return found
        return {signature.outputs[0].name: found}

    return run_session


def _check(opset, layout, preprocess, precision, tolerance) -> None:
    """Refuses what cannot be meant, before the long work."""
    check_opset(opset)
    if layout not in LAYOUTS:
        raise InputError(f"layout={layout!r}: accepted are {LAYOUTS}.")
    if (layout, preprocess) == ("nchw", "full"):
        raise InputError(
            "layout='nchw' with preprocess='full': images come channels last from "
            "every decoder; leave one of them out."
        )
    gate_of(precision, tolerance)


def _describe(
    proto: "onnx.ModelProto", signature: "Signature", layout: str, origin: dict | None
) -> dict:
    """The metadata; multiply-adds for one image at the size that is known."""
    from export.graph.counts import count

    size = signature.preprocessing.size if signature.preprocessing else None
    counts = count(proto, size)
    libraries = "tf2onnx", "onnx", "onnxruntime"
    return describe(signature, origin, *libraries, layout=layout) | {
        "multiply_adds": counts["multiply_adds"],
        "parameters": counts["parameters"],
    }


def _refuse(path: str | os.PathLike, force: bool) -> Path:
    """`refuse_existing`, of the artifact and of the proof's figures beside it."""
    path = Path(path)
    if path.suffix != ".onnx":
        raise InputError(f"{path}: a name that ends in .onnx is needed.")
    for one in (path, _report(path)):
        if one.is_dir():
            raise InputError(f"{one} is a folder: choose another path.")
        refuse_existing(one, force)
    return path


def _report(path: Path) -> Path:
    """Where the proof's figures stand."""
    return path.with_name(f"{path.name}.parity.json")


def _place_beside(weights: Path | None, path: Path) -> None:
    """Moves a new file's weights to their place, beside those of an older file, which
    stays whole: the last step of all is that the new file takes its name."""
    _report(path).unlink(missing_ok=True)
    if weights:
        with write_beside(path.with_name(weights.name), force=True) as place:
            weights.rename(place)


def _finish(path: Path, weights: Path | None, parity: dict | None) -> None:
    """Removes an older file's weights; writes the proof's figures, if there are any."""
    for one in weights_beside(path):
        if weights is None or one.name != weights.name:
            one.unlink()
    if parity:
        with write_beside(_report(path), force=True) as part:
            part.write_text(json.dumps(parity, indent=2) + "\n")


@dataclass(frozen=True, kw_only=True)
class OnnxFlags(Flags):
    """Writes a Keras model as an ONNX file and proves it against the model."""

    opset: int = 17
    """ONNX operator set, 13 to 23."""
    layout: Literal["nhwc", "nchw"] = "nhwc"
    """Axes of the input."""
    external_data: bool = False
    """Write the weights into <out>.<digest>.data beside the file; from 2 GB on it is
    done in any case."""
    precision: Literal[PRECISIONS] = "float32"
    """Of the weights and of the arithmetic; int8 is for CPUs, int8-tensorrt for
    TensorRT, int8-weights keeps the arithmetic in float32."""
    calibrate: str | None = None
    """Data, as training takes it, whose training images give the ranges of int8
    activations: digits, a TFDS name or folder:PATH. Default: what the model was
    trained on."""
    calibration_images: int = 256
    """How many of them."""
    calibration_method: Literal[METHODS] = "percentile"
    """How a range is taken."""
    validate: str | None = None
    """Data whose validation images the accuracy is measured on. Default: of a lower
    precision, as --calibrate ("none" leaves it unmeasured); of float32 none."""
    validation_images: int | None = None
    """How many of them. Default: all."""
    max_drop: float = 0.5
    """Points of top-1 accuracy that a lower precision may lose. Where it loses more,
    the most sensitive layers stay in float32, chosen on the same images."""
    data_dir: Path | None = None
    """Folder of prepared TFDS data sets. Default: ~/tensorflow_datasets."""

    def plan(self) -> Plan:
        return Plan(**{one.name: getattr(self, one.name) for one in fields(Plan)})


def main(args: list[str] | None = None) -> None:
    flags = parse(OnnxFlags, args, prog="python -m export.onnx")
    _refuse(flags.out, flags.force)
    plan = flags.plan()
    _check(flags.opset, flags.layout, flags.preprocess, plan.precision, flags.tolerance)
    with step("loading"):
        source = load(flags)
    own = {name: getattr(flags, name) for name in ("opset", "layout", "external_data")}
    export_onnx(**source, path=flags.out, plan=plan, **own, **arguments(flags))


if __name__ == "__main__":
    run(main)
