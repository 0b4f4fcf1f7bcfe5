"""A Keras model as an ONNX file, verified against the model.

python -m export.onnx runs/digits/best.keras --out exported/resnet20.onnx
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from export.api import Format, export_source, run_export
from export.config import DEFAULT_TOP, ExportConfig, OutputKind, PreprocessKind
from export.graph.files import save, weights_beside
from export.model.source import Loaded, Source
from export.quantization.config import (
    CalibrationMethod,
    Precision,
    QuantizationConfig,
)
from keras_resnet.common.command import parse, run, step
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import write_beside
from keras_resnet.common.numbers import check_choice

if TYPE_CHECKING:
    import keras

    from keras_resnet.saving import Card

OPSETS = tuple(range(13, 24))  # each is verified for a net of every mechanism


@dataclass(frozen=True, kw_only=True)
class OnnxConfig(QuantizationConfig, ExportConfig):
    """What can be asked of an ONNX file: also a lower precision, and the images to
    calibrate it and to measure its accuracy with."""

    opset: int = 17
    """ONNX operator set, 13 to 23."""
    external_data: bool = False
    """Write the weights into <path>.<digest>.data beside the file; from 2 GB on it is
    done in any case."""
    precision: Precision = "float32"
    """Of the weights and of the arithmetic; int8 is for CPUs, int8-tensorrt for
    TensorRT, int8-weights keeps the arithmetic in float32."""

    def __post_init__(self):
        ExportConfig.__post_init__(self)
        QuantizationConfig.__post_init__(self)
        if self.opset not in OPSETS:
            why = "what is newer is not proven"
            if self.opset < min(OPSETS):
                why = (
                    "before, operators had other inputs than those that are made small"
                )
            raise InputError(
                f"opset={self.opset!r}: {min(OPSETS)} to {max(OPSETS)} are accepted; "
                f"{why}."
            )
        check_choice("layout", self.layout, ("nhwc", "nchw"))
        if (self.layout, self.preprocess) == ("nchw", "full"):
            raise InputError(
                "layout='nchw' with preprocess='full': images come channels last from "
                "every decoder; leave one of them out."
            )


def export_onnx(
    model: "keras.Model",
    path: str | os.PathLike,
    *,
    output: OutputKind = "probabilities",
    top: int = DEFAULT_TOP,
    preprocess: PreprocessKind = "none",
    input_size: tuple[int, int] | None = None,
    batch: int | None = None,
    opset: int = 17,
    layout: Literal["nhwc", "nchw"] = "nhwc",
    external_data: bool = False,
    precision: Precision = "float32",
    calibrate: str | None = None,
    calibration_images: int = 256,
    calibration_method: CalibrationMethod = "percentile",
    validate: str | None = None,
    validation_images: int | None = None,
    max_drop: float = 0.5,
    data_dir: Path | None = None,
    verify: bool = True,
    tolerance: float | None = None,
    force: bool = False,
    verbose: bool = True,
    card: "Card | None" = None,
    images: Any = None,
    origin: dict | None = None,
) -> dict:
    """Writes an ONNX file, and `<path>.parity.json` where it is verified.

    The file has one input, `images`, and outputs named as `make_signature` says. Its
    metadata has one key, `keras_resnet`, with JSON: architecture, origin, input,
    outputs, labels, preprocessing, precision, calibration, accuracy, opset, versions,
    multiply-adds, parameters and parity.

    It is verified in onnxruntime at its default optimization level on the CPU. A lower
    precision is made of the float32 form, which is verified as well.

    Args:
        model, card, origin: as `export.api.export` takes them.
        path: ending in `.onnx`.
        output, top, preprocess, input_size, batch, verify, tolerance, force, verbose:
            as in `export.config.ExportConfig`.
        opset: 13 to 23.
        layout: of the input: "nhwc" or "nchw".
        external_data: write the weights into a file of their own beside it, as is done
            in any case where they take 2 GB.
        precision, calibrate, calibration_images, calibration_method, validate,
            validation_images, max_drop, data_dir: as in
            `export.quantization.config.QuantizationConfig`.
        images: as `export.api.export` takes them; None, in a lower precision, takes
            those that it is made with.

    Returns:
        The metadata.

    Raises:
        InputError: an argument cannot be used, the model cannot be converted, or a
            file cannot be written.
        AccuracyError: a lower precision loses more than `max_drop`, with half of the
            layers in float32 still.
        ParityError: the file differs from the model. In any case, what stood at `path`
            is as it was.
    """
    config = OnnxConfig(
        output=output,
        top=top,
        preprocess=preprocess,
        input_size=input_size,
        batch=batch,
        opset=opset,
        layout=layout,
        external_data=external_data,
        precision=precision,
        calibrate=calibrate,
        calibration_images=calibration_images,
        calibration_method=calibration_method,
        validate=validate,
        validation_images=validation_images,
        max_drop=max_drop,
        data_dir=data_dir,
        verify=verify,
        tolerance=tolerance,
        force=force,
        verbose=verbose,
    )
    return run_export(
        Onnx, path, config, Loaded(model, input_size, images, origin, card)
    )


class Onnx(Format):
    """An `.onnx` file, its weights inside or beside it."""

    suffix = ".onnx"
    packages = ("tf2onnx", "onnx", "onnxruntime")
    config_class = OnnxConfig

    def __init__(self, signature, config, images=None):
        super().__init__(signature, config, images)
        self.precision, self.layout = config.precision, config.layout
        self.weights: Path | None = None  # the file beside, if there is one

    @classmethod
    def beside(cls, path):
        return (path.with_name(f"{path.name}.parity.json"),)

    def convert(self):
        from export.graph.convert import convert
        from export.graph.counts import count
        from export.quantization.images import images_of
        from export.quantization.measure import Evaluation
        from export.quantization.quantize import quantize

        config, signature, verbose = self.config, self.signature, self.config.verbose
        calibration, evaluation = images_of(config, signature)
        self.model = convert(signature, config.opset, config.layout, verbose)
        size = signature.preprocessing.size if signature.preprocessing else None
        counts = count(self.model, size)
        metadata = {
            "multiply_adds": counts["multiply_adds"],
            "parameters": counts["parameters"],
            "opset": config.opset,
            "precision": config.precision,
        }
        if config.precision != "float32":
            if config.verify:
                self._verify_float32()
                self._choose_images(calibration, evaluation)
            quantized = quantize(self.model, config, calibration, evaluation, verbose)
            self.model = quantized.model
            metadata["calibration"] = quantized.calibration
            metadata["accuracy"] = quantized.accuracy
        elif evaluation:
            measured = Evaluation(evaluation, config, verbose)
            metadata["accuracy"] = measured.of_float32(self.model)
        self.summary = f", {len(self.model.graph)} nodes"
        return metadata

    def _verify_float32(self) -> None:
        """Rounding to lower precision could hide what a wrong conversion did."""
        from export.parity.verify import verify
        from export.quantization.measure import session_of

        with step("verifying float32", self.config.verbose):
            session = session_of(self.model, self.layout)
            verify(self.signature, session.outputs, self.images)

    def _choose_images(self, calibration, evaluation) -> None:
        """Real images to verify a lower precision on: those that were named, else
        some that its accuracy is measured with, or its ranges."""
        from export.parity.images import MAX_REAL_IMAGES

        if self.images is not None:
            if not (calibration and calibration.assumed):
                return
            if self.config.verbose:  # they would be far beyond the ranges
                print(
                    "named images are not used to verify: nothing says how they are "
                    "normalized, and the ranges are of normalized ones"
                )
        data = evaluation or calibration
        self.images = data and data.first(MAX_REAL_IMAGES)

    def write(self, path, metadata):
        self.weights = save(self.model, metadata, path, self.config.external_data)

    def open(self, path):
        """In onnxruntime on the CPU."""
        from export.runtime.session import Session

        return Session(path, "cpu").outputs

    def place(self, part, path):
        # The parity of an earlier file must not stand beside the new one.
        (report,) = self.beside(path)
        report.unlink(missing_ok=True)
        super().place(part, path)

    def finish(self, path, metadata):
        for file in weights_beside(path):
            if self.weights is None or file.name != self.weights.name:
                file.unlink()  # an earlier file's
        if metadata["parity"]:
            (report,) = self.beside(path)
            with write_beside(report, force=True) as part:
                part.write_text(json.dumps(metadata["parity"], indent=2) + "\n")


@dataclass(frozen=True, kw_only=True)
class OnnxCommand(Source, OnnxConfig):
    """Writes a Keras model as an ONNX file and verifies it against the model."""


def main(args: list[str] | None = None) -> None:
    export_source(Onnx, parse(OnnxCommand, args, prog="python -m export.onnx"))


if __name__ == "__main__":
    run(main)
