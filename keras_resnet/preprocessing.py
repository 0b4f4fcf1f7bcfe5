"""What a set of weights expects of a picture."""

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from keras_resnet.errors import InputError

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # torchvision's reference transforms
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """From a picture of 8-bit values to a network's input.

    Attributes:
        size: (height, width) of the input, in pixels.
        crop: share of the shorter side that the central crop keeps, in (0, 1].
        interpolation: of the resize, as `keras.ops.image.resize` names it.
        mean, std: one value a channel, on the scale 0..1.
    """

    size: tuple[int, int]
    crop: float
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self):
        numbers = [*self.mean, *self.std]
        finite = all(isinstance(one, int | float) and isfinite(one) for one in numbers)
        if not finite or len(self.mean) != len(self.std) or min(self.std) <= 0:
            raise InputError(
                f"mean={self.mean}, std={self.std}: a finite number a channel is "
                "needed in both, and above 0 in std."
            )

    def normalize(self, images: Any) -> Any:
        """(..., height, width, channels) of values 0..255 to float32, normalised.

        One multiplication and one addition, which exporters can fold or fuse.
        """
        from keras import ops

        scale, shift = self.scale_and_shift()
        images = ops.cast(images, "float32")
        return images * ops.array(scale, "float32") + ops.array(shift, "float32")

    def scale_and_shift(self) -> tuple[list[float], list[float]]:
        """What `normalize` multiplies by and then adds: one value a channel each."""
        scale = [1 / (255 * std) for std in self.std]
        shift = [-mean / std for mean, std in zip(self.mean, self.std, strict=True)]
        return scale, shift

    def to_json(self) -> dict:
        """A dictionary that `Preprocessing.from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict) -> "Preprocessing":
        """The record that `to_json` wrote."""
        tuples = ("size", "mean", "std")
        return cls(**record | {key: tuple(record[key]) for key in tuples})
