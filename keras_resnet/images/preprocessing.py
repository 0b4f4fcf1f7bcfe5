"""What a set of weights expects of an image."""

from dataclasses import asdict, dataclass, fields, replace
from math import floor
from typing import Any

from keras_resnet.common.errors import InputError
from keras_resnet.common.numbers import (
    check_choice,
    check_number,
    is_number,
    is_whole,
)

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # torchvision's reference transforms
IMAGENET_STD = (0.229, 0.224, 0.225)
INTERPOLATIONS = ("bilinear", "bicubic")
CHANNEL_ORDERS = ("rgb", "bgr")


@dataclass(frozen=True)
class Preprocessing:
    """From an image of 8-bit values to a network's input.

    Attributes:
        size: (height, width) of the input, in pixels.
        crop: share of the shorter side that the central crop keeps, in (0, 1].
        interpolation: of the resize, "bilinear" or "bicubic".
        mean, std: one value a channel, on the scale 0..1, in the network's order.
        channel_order: of the network: "rgb", or "bgr" as Caffe has it (for weights of
            keras.applications), which reverses the image's channels.
    """

    size: tuple[int, int]
    crop: float
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: str = "rgb"

    def __post_init__(self):
        sides = self.size if isinstance(self.size, tuple) else ()
        if [is_whole(side) for side in sides] != [True, True]:
            raise InputError(f"size={self.size}: two whole numbers from 1 are needed.")
        check_number("crop", self.crop, above=0, maximum=1)
        check_choice("interpolation", self.interpolation, INTERPOLATIONS)
        numbers = _are_numbers(self.mean) and _are_numbers(self.std)
        if not numbers or len(self.mean) != len(self.std) or min(self.std) <= 0:
            raise InputError(
                f"mean={self.mean}, std={self.std}: a finite number a channel is "
                "needed in both, and above 0 in std."
            )
        check_choice("channel_order", self.channel_order, CHANNEL_ORDERS)

    def __call__(self, images: Any) -> Any:
        """Images to a network's input, as timm's transforms for evaluation do it.

        The shorter side is resized to `size / crop`, rounded down, with the aspect
        kept; the centre is cut out; values are normalised. It works eagerly and, on
        the TensorFlow backend, inside a `tf.data` map.

        Args:
            images: uint8, channels last, of one image (height, width, channels) or a
                batch; or a list of images of any sizes. A Pillow image counts as
                an array.

        Returns:
            float32 (batch, *size, channels), batch being 1 for one image.

        Raises:
            InputError: other values, shapes or numbers of channels.
        """
        from keras import device, ops

        with device("cpu"):  # GPUs multiply in ten bits, which rounds otherwise
            if isinstance(images, list | tuple):
                if not images:
                    raise InputError("images=[]: one image or more is needed.")
                return ops.concatenate([self._batch(image) for image in images])
            return self._batch(images)

    def _batch(self, images: Any) -> Any:
        from keras import ops

        from keras_resnet.images.resample import resize_and_crop

        images = self._checked(images)
        images = images if len(images.shape) == 4 else images[None]
        height, width = (floor(side / self.crop) for side in self.size)
        images = resize_and_crop(images, (height, width), self.size, self.interpolation)
        return self.normalize(ops.reshape(images, (-1, *self.size, len(self.mean))))

    def _checked(self, images: Any) -> Any:
        """`images` as a tensor or array."""
        import numpy as np

        if not hasattr(images, "shape"):
            images = np.asarray(images)
        dtype = getattr(images.dtype, "name", str(images.dtype).split(".")[-1])
        shape = tuple(images.shape or [])  # of unknown rank it is empty
        if dtype != "uint8" or len(shape) not in (3, 4) or 0 in shape:
            raise InputError(
                f"images: {dtype} of {images.shape}; uint8 images of 0..255, one of "
                "(height, width, channels) or a batch, are needed."
            )
        if shape[-1] not in (None, len(self.mean)):
            raise InputError(
                f"images: {shape[-1]} channels (the last axis of {shape}); the "
                f"weights take {len(self.mean)}."
            )
        return images

    def normalize(self, images: Any) -> Any:
        """(..., height, width, channels) of values 0..255 to float32, normalised.

        One multiplication and one addition, which exporters can fold or fuse.
        """
        from keras import backend, ops

        if self.channel_order == "bgr":
            # a slice, which the ONNX export folds; torch has none that go backwards
            torch = backend.backend() == "torch"
            images = ops.flip(images, axis=-1) if torch else images[..., ::-1]
        scale, shift = self.scale_and_shift()
        images = ops.cast(images, "float32")
        return images * ops.array(scale, "float32") + ops.array(shift, "float32")

    def scale_and_shift(self) -> tuple[list[float], list[float]]:
        """What `normalize` multiplies by and then adds: one value a channel each.

        They are for channels in the network's order.
        """
        scale = [1 / (255 * std) for std in self.std]
        shift = [-mean / std for mean, std in zip(self.mean, self.std, strict=True)]
        return scale, shift

    def to_json(self) -> dict:
        """A dictionary that `Preprocessing.from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict) -> "Preprocessing":
        """The record that `to_json` wrote; an InputError if it holds anything else."""
        unknown = record.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise InputError(f"preprocessing has an unknown entry {min(unknown)!r}.")
        tuples: dict[str, Any] = {
            key: tuple(record[key]) for key in ("size", "mean", "std")
        }
        return cls(**record | tuples)


def preprocess(images: Any, weights: Any) -> Any:
    """Images as a set of weights expects them: `Preprocessing` of those weights.

        >>> photo = np.full((480, 640, 3), 128, "uint8")
        >>> tuple(keras_resnet.preprocess(photo, "resnet50.a1_in1k").shape)
        (1, 224, 224, 3)

    Args:
        images: uint8 images, as `Preprocessing.__call__` takes them: one, a batch, or
            a list of any sizes. On the TensorFlow backend also inside a `tf.data` map.
        weights: a model with a card; a tag with its architecture,
            "resnet50.a1_in1k" or "timm/resnet50.a1_in1k"; a record of the catalogue;
            or a `Preprocessing`.

    Returns:
        float32 (batch, height, width, channels), normalised.

    Raises:
        InputError: images or weights of another kind, an unknown tag, or weights of
            which nobody has recorded what they expect.
    """
    return preprocessing_of(weights)(images)


def preprocessing_of(weights: Any) -> Preprocessing:
    """What `weights` expect, which are named as for `preprocess`.

    A model of a fixed input size has it at that size.
    """
    if isinstance(weights, str):
        weights = _registered(weights)
    if isinstance(weights, Preprocessing):
        return weights
    record = getattr(getattr(weights, "card", weights), "preprocessing", None)
    if not isinstance(record, Preprocessing):
        name = getattr(weights, "name", type(weights).__name__)
        raise InputError(
            f"weights={name!r} say nothing of how images are prepared: a model with "
            "it on its card, a tag such as 'resnet50.a1_in1k' or a Preprocessing is "
            "needed."
        )
    size = getattr(weights, "input_shape", (None, None, None))[1:3]
    return replace(record, size=size) if None not in size else record


def _registered(weights: str) -> Any:
    """The registry's record of a tag with its architecture."""
    from keras_resnet.weights import registry

    architecture, dot, _ = weights.rpartition("/")[2].partition(".")
    if not dot:
        raise InputError(
            f"weights={weights!r}: the architecture and a tag are needed, such as "
            "'resnet50.a1_in1k'."
        )
    return registry.find(architecture, weights)


def _are_numbers(values: Any) -> bool:
    """Whether `values` is a tuple of one or more finite numbers."""
    return isinstance(values, tuple) and bool(values) and all(map(is_number, values))
