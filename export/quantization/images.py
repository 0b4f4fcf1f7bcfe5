"""Images of a data spec, as an exported file wants them at its input."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import floor
from typing import TYPE_CHECKING, Any

import numpy as np

from export.quantization.config import (
    CALIBRATED,
    FEWEST_CALIBRATION_IMAGES,
    NO_EVALUATION,
    QuantizationConfig,
)
from keras_resnet.common.errors import InputError
from keras_resnet.common.progress import Progress

if TYPE_CHECKING:
    import tensorflow as tf

    from export.model.signature import Signature
    from keras_resnet.images.preprocessing import Preprocessing
    from keras_resnet.training.pipeline import Data

PIXELS = 4 * 224 * 224  # that go through a network at once: its maps stay small
MAX_BATCH = 256  # images at once
SEED = 0  # of the order that calibration images are drawn in


@dataclass(frozen=True)
class Images:
    """Labelled images of one part of a data set.

    Iterating gives (images, labels) batch after batch, each time anew: images as the
    file's input takes them, NHWC; int64 labels.

    Attributes:
        name: the data spec.
        count: how many images.
        batches: a data set of these batches.
        assumed: "mean" and "std" that they are normalised with, as training on this
            data would do it, where nothing says what the weights expect; else None.
    """

    name: str
    count: int
    batches: "tf.data.Dataset"
    assumed: dict[str, tuple[float, ...]] | None = None

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        import tensorflow as tf

        try:
            batches: Any = self.batches.as_numpy_iterator()
            yield from batches
        except tf.errors.OpError as error:
            raise InputError(
                f"data={self.name!r} cannot be read: {error.message}"
            ) from error

    def first(self, count: int) -> np.ndarray | list[np.ndarray]:
        """So many images: one array, or a list where their sizes differ."""
        images = []
        for batch, _ in self:
            images += list(batch[: count - len(images)])
            if len(images) == count:
                break
        same_size = len({image.shape for image in images}) == 1
        return np.stack(images) if same_size else images

    def watched(self, name: str, verbose: bool) -> Iterator:
        """As iterating, with the progress shown under this name."""
        with Progress(
            total=self.count,
            desc=name,
            unit=" images",
            disable=not verbose,
            leave=False,
        ) as progress:
            for images, labels in self:
                yield images, labels
                progress.update(len(images))


def images_of(
    config: QuantizationConfig, signature: "Signature"
) -> tuple[Images | None, Images | None]:
    """Images to take ranges of, and images to measure the accuracy on.

    The first are training images, drawn in an order that is always the same, and None
    where the precision needs no ranges. The others are validation images, and None
    where the accuracy is not measured.

    Raises:
        InputError: no data is named or recorded; those to calibrate with are too few,
            or of one value; or their classes, channels or size are not the model's.
    """
    from keras_resnet.training.data import load

    if config.precision == "float32" and config.validate in (None, NO_EVALUATION):
        return None, None
    calibrate = _calibration_data(config, signature)
    evaluate = _evaluation_data(config, signature)
    loaded = {
        spec: load(spec, data_dir=config.data_dir)
        for spec in dict.fromkeys((calibrate, evaluate))
        if spec is not None
    }
    calibration_images = evaluation_images = None
    if calibrate is not None:
        calibration_images = _training_images(loaded[calibrate], config, signature)
    if evaluate is not None:
        evaluation_images = _validation_images(loaded[evaluate], config, signature)
    return calibration_images, evaluation_images


def _calibration_data(config: QuantizationConfig, signature: "Signature") -> str | None:
    """The data to take ranges of, if the precision needs any."""
    if config.precision not in CALIBRATED:
        return None
    spec = config.calibrate or _recorded(config, signature)
    if spec is None:
        raise InputError(
            f"precision={config.precision!r} needs images for calibration, and the "
            "model's card records no data set that is on this machine: name one with "
            "--calibrate, such as digits, cifar10 or folder:PATH."
        )
    return spec


def _evaluation_data(config: QuantizationConfig, signature: "Signature") -> str | None:
    """The data to measure the accuracy on, if it shall and can be measured."""
    from export.config import CLASSIFIER_OUTPUTS

    if signature.output not in CLASSIFIER_OUTPUTS:
        if config.validate not in (None, NO_EVALUATION):
            raise InputError(
                f"validate={config.validate!r}: output={signature.output!r} names no "
                "classes, so that there is no accuracy to measure."
            )
        return None
    if config.validate == NO_EVALUATION:
        return None
    spec = config.validate or config.calibrate or _recorded(config, signature)
    if spec is None:
        raise InputError(
            f"precision={config.precision!r}: accuracy needs labelled images, and the "
            "model's card records no data set that is on this machine: name one with "
            "--validate, or --validate none to leave the accuracy unmeasured."
        )
    return spec


def _training_images(
    data: "Data", config: QuantizationConfig, signature: "Signature"
) -> Images:
    count = min(config.calibration_images, data.train_examples)
    if count < FEWEST_CALIBRATION_IMAGES:
        raise InputError(
            f"calibrate={data.name!r} has {count} training images: "
            f"{FEWEST_CALIBRATION_IMAGES} or more are needed; hundreds are usual."
        )
    import tensorflow as tf

    source = data.shuffled(tf.constant(SEED, tf.int64)).take(count)
    labelled = _images(data, source, count, signature)
    if not any(np.ptp(images, axis=(1, 2)).any() for images, _ in labelled):
        raise InputError(
            f"calibrate={data.name!r}: each image has one value everywhere, and "
            "ranges cannot be taken from such."
        )
    return labelled


def _validation_images(
    data: "Data", config: QuantizationConfig, signature: "Signature"
) -> Images:
    classes = signature.model.outputs[0].shape[-1]
    recorded = signature.card.labels if signature.card else ()
    advice = "name another with --validate, or --validate none to go without"
    if len(data.labels) != classes:
        raise InputError(
            f"validate={data.name!r} has {len(data.labels)} classes, the model "
            f"{classes}: {advice}."
        )
    if set(recorded) == set(data.labels) and tuple(recorded) != tuple(data.labels):
        raise InputError(
            f"validate={data.name!r} has the model's classes in another order: "
            f"{advice}."
        )
    count = data.validation_examples
    count = min(config.validation_images or count, count)
    return _images(data, data.held_out.take(count), count, signature)


def _images(data: "Data", source, count: int, signature: "Signature") -> Images:
    assumed = None
    if not signature.scaling_known:
        assumed = {"mean": data.preprocessing.mean, "std": data.preprocessing.std}
    return Images(data.name, count, _prepared(data, source, signature), assumed)


def _recorded(config: QuantizationConfig, signature: "Signature") -> str | None:
    """The data set that the card says the model was trained on, where it is local.

    A card is data from a file: it may choose among data sets that are prepared here,
    never name a path, nor start a download.
    """
    name = signature.card.training.get("data") if signature.card else None
    if not isinstance(name, str) or not re.fullmatch(r"\w+(/[\w.]+)?", name):
        return None
    import tensorflow_datasets as tfds

    from keras_resnet.training.tfds_source import fashion_mnist_installed

    if name == "digits" or (name == "fashion_mnist" and fashion_mnist_installed()):
        return name
    try:
        return (
            name if tfds.builder(name, data_dir=config.data_dir).is_prepared() else None
        )
    except Exception:  # a builder can refuse a name in any way
        return None


def _prepared(data: "Data", source, signature: "Signature") -> "tf.data.Dataset":
    """(images, labels) in batches, from (image, label) one by one."""
    import tensorflow as tf

    from keras_resnet.images.resample import resize_and_crop
    from keras_resnet.training.pipeline import decode

    channels, record = signature.shape[-1], _record(data, signature)

    height, width = record.size

    def pixels(image, label):
        if image.dtype == tf.string:
            image = decode(image, channels)
        return tf.ensure_shape(image, (None, None, channels)), label

    def resize(image, label):
        scaled = floor(height / record.crop), floor(width / record.crop)
        method = record.interpolation
        return resize_and_crop(image[None], scaled, record.size, method)[0], label

    def normalize(images, labels):
        if not signature.takes_levels:
            images = record.normalize(images)
        return tf.cast(images, signature.dtype), labels

    batch = max(1, min(MAX_BATCH, PIXELS // (height * width)))
    source = source.map(pixels, tf.data.AUTOTUNE)
    if signature.preprocess == "full":
        return source.batch(batch if data.common_size else 1)
    if data.common_size != record.size or record.crop != 1:
        source = source.map(resize, tf.data.AUTOTUNE)
    return source.batch(batch).map(normalize).prefetch(tf.data.AUTOTUNE)


def _record(data: "Data", signature: "Signature") -> "Preprocessing":
    """How images become the input: as the card says, or as training would do it."""
    sides = signature.shape[1:3]
    *data_sides, channels = data.input_shape
    if channels != signature.shape[-1]:
        raise InputError(
            f"data={data.name!r} has images of {channels} channels, the model takes "
            f"{signature.shape[-1]}."
        )
    if signature.preprocessing:
        return signature.preprocessing
    size = tuple(a or b for a, b in zip(sides, data_sides, strict=True))
    common_size = data.common_size
    if common_size and common_size != size:
        raise InputError(
            f"data={data.name!r} has images of {common_size[0]}x{common_size[1]}, "
            f"the model takes {size[0]}x{size[1]}, and no card "
            "says how they are resized."
        )
    return replace(data.preprocessing, size=size)
