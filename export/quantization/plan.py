"""What a user asks of a lower precision. The standard library alone."""

from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path

from keras_resnet.common.errors import InputError

PRECISIONS = ("float32", "float16", "int8", "int8-tensorrt", "int8-weights")
CALIBRATED = ("int8", "int8-tensorrt")  # those whose activations need a range
METHODS = ("percentile", "entropy", "minmax")
FEWEST = 8  # images that a range can be taken from
NO_DATA = "none"  # as `validate`: accuracy is not measured
# Options that say something only where ranges are taken, or accuracy is measured.
OF_RANGES = ("calibrate", "calibration_images", "calibration_method")
OF_ACCURACY = ("validation_images", "max_drop")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A precision, and the images that it is made and judged with.

    Attributes:
        precision: "float32", "float16", "int8" (for CPUs), "int8-tensorrt" or
            "int8-weights".
        calibrate: of both int8 with activations: data spec, as training takes it,
            whose training images give the activations' ranges; None for what the
            model was trained on.
        calibration_images: how many of them, 8 or more.
        calibration_method: how a range is taken: "percentile", "entropy" or "minmax".
        validate: data spec whose validation images the accuracy is measured on;
            None for the same data as above; "none" to leave it unmeasured.
        validation_images: how many of them; None for all.
        max_drop: points of top-1, of 100, that may be lost against float32. Where more
            are, layers that stay in float32 are chosen, on the same images.
        data_dir: folder of prepared TFDS data sets; None: ~/tensorflow_datasets.
        layout: of the file's input: "nhwc" or "nchw"; an export sets it.

    Raises:
        InputError: a value is none of these, or nothing would read an option.
    """

    precision: str
    calibrate: str | None = None
    calibration_images: int = 256
    calibration_method: str = "percentile"
    validate: str | None = None
    validation_images: int | None = None
    max_drop: float = 0.5
    data_dir: Path | None = None
    layout: str = "nhwc"

    def __post_init__(self):
        for name, choices in (
            ("precision", PRECISIONS),
            ("calibration_method", METHODS),
        ):
            if (value := getattr(self, name)) not in choices:
                raise InputError(f"{name}={value!r}: accepted are {choices}.")
        if self.calibration_images < FEWEST:
            raise InputError(
                f"calibration_images={self.calibration_images}: {FEWEST} or more are "
                "needed; hundreds are usual."
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
        unread = () if self.precision in CALIBRATED else OF_RANGES
        where = f"precision={self.precision!r}"
        if self.precision == "float32":
            unread += ("max_drop",)
            if self.validate in (None, NO_DATA):
                unread += ("validation_images",)
        elif self.validate == NO_DATA:
            unread += OF_ACCURACY
            where += f" and validate={NO_DATA!r}"
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name in unread and value != one.default:
                raise InputError(
                    f"{one.name}={value!r} has no effect with {where}: leave it out."
                )
