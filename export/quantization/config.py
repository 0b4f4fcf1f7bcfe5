"""What a user asks of a lower precision. The standard library alone."""

from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path
from typing import Literal, get_args

from keras_resnet.common.errors import InputError
from keras_resnet.common.numbers import check_choice

Precision = Literal["float32", "float16", "int8", "int8-tensorrt", "int8-weights"]
CalibrationMethod = Literal["percentile", "entropy", "minmax"]
CALIBRATED = ("int8", "int8-tensorrt")  # those whose activations need a range
FEWEST_CALIBRATION_IMAGES = 8  # images that a range can be taken from
NO_EVALUATION = "none"  # as `validate`: accuracy is not measured
# Options that say something only where ranges are taken, or accuracy is measured.
CALIBRATION_OPTIONS = ("calibrate", "calibration_images", "calibration_method")
ACCURACY_OPTIONS = ("validation_images", "max_drop")


@dataclass(frozen=True, kw_only=True)
class QuantizationConfig:
    """A precision, and the images that it is calibrated and evaluated with.

    Raises:
        InputError: a value is none of these, or nothing would read an option.
    """

    precision: Precision
    """Of the weights and of the arithmetic; int8 is for CPUs, int8-tensorrt for
    TensorRT, int8-weights keeps the arithmetic in float32."""
    calibrate: str | None = None
    """Data, as training takes it, whose training images give the ranges of int8
    activations: digits, a TFDS name or folder:PATH. Default: what the model was
    trained on."""
    calibration_images: int = 256
    """How many of them, 8 or more."""
    calibration_method: CalibrationMethod = "percentile"
    """How a range is taken."""
    validate: str | None = None
    """Data whose validation images the accuracy is measured on. Default: of a lower
    precision, as --calibrate ("none" leaves it unmeasured); of float32 none."""
    validation_images: int | None = None
    """How many of them. Default: all."""
    max_drop: float = 0.5
    """Points of top-1 accuracy, of 100, that a lower precision may lose. Where it loses
    more, the most sensitive layers stay in float32, chosen on the same images."""
    data_dir: Path | None = None
    """Folder of prepared TFDS data sets. Default: ~/tensorflow_datasets."""
    layout: Literal["nhwc", "nchw"] = "nhwc"
    """Axes of the file's input."""

    def __post_init__(self):
        check_choice("precision", self.precision, get_args(Precision))
        check_choice(
            "calibration_method", self.calibration_method, get_args(CalibrationMethod)
        )
        if self.calibration_images < FEWEST_CALIBRATION_IMAGES:
            raise InputError(
                f"calibration_images={self.calibration_images}: "
                f"{FEWEST_CALIBRATION_IMAGES} or more are needed; hundreds are usual."
            )
        if self.validation_images is not None and self.validation_images < 1:
            raise InputError(
                f"validation_images={self.validation_images}: 1 or more are needed."
            )
        if not (isfinite(self.max_drop) and 0 <= self.max_drop <= 100):
            raise InputError(
                f"max_drop={self.max_drop}: points of top-1 from 0 to 100 are accepted."
            )
        self._refuse_unread()

    def _refuse_unread(self) -> None:
        """What was asked for must not be passed over in silence."""
        unread = () if self.precision in CALIBRATED else CALIBRATION_OPTIONS
        where = f"precision={self.precision!r}"
        if self.precision == "float32":
            unread += ("max_drop",)
            if self.validate in (None, NO_EVALUATION):
                unread += ("validation_images",)
        elif self.validate == NO_EVALUATION:
            unread += ACCURACY_OPTIONS
            where += f" and validate={NO_EVALUATION!r}"
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in unread and value != field.default:
                raise InputError(
                    f"{field.name}={value!r} has no effect with {where}: leave it out."
                )
