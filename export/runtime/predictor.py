"""What a service calls: images in, numpy out, without TensorFlow or Keras.

    predictor = load("resnet50.onnx")
    probabilities = predictor(images)  # uint8, one, a batch or a list of any sizes
    predictor.top(images, 3)  # [[("tabby", 0.81), ...], ...]

Below it is `Session`, which takes just what the file takes. The preprocessing is that
of `keras_resnet.images.preprocessing`, which imitates Pillow's resize with Keras; here
Pillow itself resizes.
"""

import logging
import os
from collections.abc import Iterator
from math import floor
from typing import Any

import numpy as np
from PIL import Image

from export.runtime.session import Session
from export.runtime.settings import Settings, read_settings, tuned_path
from keras_resnet.common.errors import InputError
from keras_resnet.images.preprocessing import Preprocessing

log = logging.getLogger(__name__)

DEFAULT_BATCH = 32  # images a call, where neither the file nor the settings say
BAKED_IN = ("none", "normalize", "full")  # what a file can do with images by itself
MAX_PIXELS = 2**28  # of a resized image, 800 MB in colour
READ_ERRORS = (AttributeError, KeyError, TypeError, ValueError, OverflowError)
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def load(
    path: str | os.PathLike, settings: Settings | str | os.PathLike | None = None
) -> "Predictor":
    """A function of images from an ONNX file that `export.onnx` wrote.

        >>> model = keras_resnet.build("resnet20")
        >>> metadata = export(model, "resnet20.onnx", ExportConfig(verbose=False))
        >>> predictor = load("resnet20.onnx")
        >>> predictor(np.zeros((2, 32, 32, 3), "float32")).shape
        (2, 10)

    Args:
        path: of the file.
        settings: how to run it, or the JSON that `export.tune` wrote. None reads
            `<name>.tuned.json` beside the file; where there is none, or it was made
            for another file or machine (then a warning is logged), `Session` decides.

    Raises:
        InputError: the file or the settings that were named cannot be used.
    """
    if settings is not None:
        return _load_as(path, settings)
    beside = tuned_path(path)
    if beside.exists():
        try:
            return _load_as(path, beside)
        except InputError as error:
            log.warning("settings not used: %s", error)
    return Predictor(Session(path))


def _load_as(
    path: str | os.PathLike, settings: Settings | str | os.PathLike
) -> "Predictor":
    if not isinstance(settings, Settings):
        settings = read_settings(settings, path)
    largest = (settings.batch, None, None, None)
    session = Session(path, **settings.session_arguments(), largest_input=largest)
    return Predictor(session, settings.batch)


class Predictor:
    """Calls a session on images, with the preprocessing that its file records.

    Several threads may call it at a time.

    Attributes:
        session: what runs.
        labels: name of each class; empty where the file has none.
        preprocessing: from an image to the network's input; None where the file
            records none: then images must come as the file takes them, but with their
            channels last.
        channels_first: whether the file takes (N, C, H, W).
    """

    def __init__(self, session: Session, batch: int | None = None):
        """
        Args:
            session: of a file with our metadata.
            batch: most images a call; a file of a fixed batch has its own.

        Raises:
            InputError: the metadata is not what the exporter writes.
        """
        self.session = session
        metadata, labels = session.metadata, session.metadata.get("labels", [])
        self._baked_in = metadata.get("preprocess", "none")
        if (
            not isinstance(metadata.get("input", {}), dict)
            or not isinstance(labels, list)
            or not all(isinstance(label, str) for label in labels)
            or self._baked_in not in BAKED_IN
        ):
            raise InputError(
                f"{session.path}: its metadata is not what export.onnx writes."
            )
        if len(session.input_shape) != 4:
            raise InputError(
                f"{session.path} takes {session.input_shape}; batches of images, four "
                "axes, are needed."
            )
        self.labels = tuple(labels)
        record = metadata.get("preprocessing")
        try:
            self.preprocessing = (
                None if record is None else Preprocessing.from_json(record)
            )
        except READ_ERRORS as error:
            reason = error if isinstance(error, InputError) else repr(error)
            raise InputError(
                f"{session.path}: its preprocessing cannot be read: {reason}"
            ) from error
        self.channels_first = session.channels_first
        self._batch = session.input_shape[0] or batch or DEFAULT_BATCH

    def __call__(self, images: Any) -> np.ndarray | dict[str, np.ndarray]:
        """The outputs for images.

        Args:
            images: uint8, channels last, in RGB, of one image (height, width,
                channels), a batch, or a list of images of any sizes; Pillow
                images count as arrays.

        Returns:
            (N, ...) of the file's output; {name: (N, ...)} where it has several.

        Raises:
            InputError: other values, shapes or numbers of channels.
        """
        outputs = self.outputs(images)
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))

    def outputs(self, images: Any) -> dict[str, np.ndarray]:
        """As a call, but by name where the file has one output too."""
        run = self.session.fill_and_run
        parts = [run(batch) for batch in self.batches(images)]
        return {name: _joined([part[name] for part in parts]) for name in parts[0]}

    def top(self, images: Any, k: int = 5) -> list[list[tuple[str, float]]]:
        """The k most probable classes of each image, most probable first.

        Returns:
            (label, probability) of each; the class's number where there is no label.

        Raises:
            InputError: the file gives no probabilities or logits; k is below 1; or as
                a call.
        """
        if k < 1:
            raise InputError(f"k={k}: whole numbers from 1 are accepted.")
        names = self.session.output_names
        if names not in (("probabilities",), ("logits",), ("scores", "classes")):
            raise InputError(
                f"{self.session.path} gives {', '.join(names)}; top needs "
                "probabilities, logits, or scores and classes."
            )
        outputs = self.outputs(images)
        scores = outputs[names[0]]
        if names == ("logits",):
            scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
            scores /= scores.sum(axis=-1, keepdims=True)
        if len(names) == 1:
            classes = np.argsort(-scores, axis=-1, kind="stable")
            scores = np.take_along_axis(scores, classes, axis=-1)
        else:
            classes = outputs["classes"]
        return [
            [
                (self.labels[i] if i < len(self.labels) else str(i), float(score))
                for i, score in pairs
            ]
            for pairs in map(zip, classes[:, :k].tolist(), scores[:, :k].tolist())
        ]

    def _arrays(self, images: Any) -> list[np.ndarray]:
        """Each image, or ready image, on its own."""
        if isinstance(images, list | tuple):
            if not images:
                raise InputError("images=[]: one image or more is needed.")
            return [array for part in images for array in self._arrays(part)]
        array = np.asarray(images)
        if array.dtype != self.dtype or array.ndim not in (3, 4) or 0 in array.shape:
            eight_bits = self.dtype == np.uint8
            levels = "uint8 images of 0..255" if eight_bits else f"{self.dtype} images"
            raise InputError(
                f"images: {array.dtype} of {array.shape}; {levels}, one of (height, "
                "width, channels), a batch or a list of them, are needed."
            )
        return [array] if array.ndim == 3 else [*array]

    @property
    def dtype(self) -> np.dtype:
        """Of the images that a call takes."""
        ready = self.preprocessing is None and self._baked_in == "none"
        return self.session.input_dtype if ready else np.dtype(np.uint8)

    def batches(self, images: Any) -> Iterator[np.ndarray]:
        """What a call makes of `images`: batches as the file takes them, but not yet
        filled up where that size is fixed. Neighbours of one shape go together.
        """
        waiting: list[np.ndarray] = []
        for array in self._arrays(images):
            image = self._prepared(array)
            if waiting and (
                image.shape != waiting[0].shape or len(waiting) == self._batch
            ):
                yield np.stack(waiting)
                waiting = []
            waiting.append(image)
        yield np.stack(waiting)

    def _prepared(self, image: np.ndarray) -> np.ndarray:
        """One image as the file takes it, but for the batch's axis."""
        record = self.preprocessing
        if record is not None and self._baked_in != "full":
            image = resize_and_crop(image, record)
            if self._baked_in == "none":
                image = normalize(image, record).astype(self.session.input_dtype)
        return image.transpose(2, 0, 1) if self.channels_first else image


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    if len({part.shape[1:] for part in parts}) > 1:  # maps of images of two sizes
        raise InputError(
            f"images: of different sizes, which give {parts[0].shape[1:]} and others; "
            "call with one size at a time."
        )
    return np.concatenate(parts)


def resize_and_crop(image: np.ndarray, record: Preprocessing) -> np.ndarray:
    """The centre of an image, resized with the aspect kept.

    Args:
        image: uint8 (height, width, channels).
        record: says the size, the share that the crop keeps, and the filter.

    Returns:
        uint8 (*record.size, channels).

    Raises:
        InputError: another number of channels, or more than 2^28 pixels after the
            resize: a damaged record, or an image hardly wider than a line.
    """
    if image.shape[-1] != len(record.mean):
        raise InputError(
            f"images: {image.shape[-1]} channels (the last axis of {image.shape}); "
            f"the weights take {len(record.mean)}."
        )
    height, width = image.shape[:2]
    tall, wide = (floor(side / record.crop) for side in record.size)
    rows, columns = max(tall, height * wide // width), max(wide, width * tall // height)
    # Halves go to the even neighbour, as in torchvision's CenterCrop.
    top = round((rows - record.size[0]) / 2)
    left = round((columns - record.size[1]) / 2)
    if rows * columns > MAX_PIXELS:
        raise InputError(
            f"images: one of {height}x{width} would be resized to {rows}x{columns}; up "
            f"to {MAX_PIXELS} pixels are accepted."
        )
    image = _resize(image, columns, rows, FILTERS[record.interpolation])
    return image[top : top + record.size[0], left : left + record.size[1]]


def _resize(image: np.ndarray, columns: int, rows: int, kernel: int) -> np.ndarray:
    """Across and then down, whatever the image: some releases of Pillow turn the two
    around for tall ones, and the rounding between them shows.
    """
    # A fourth channel would be taken as transparency: other images go by channels.
    parts = [image] if image.shape[-1] == 3 else np.moveaxis(image, -1, 0)
    resized = []
    for part in parts:
        across = Image.fromarray(part).resize((columns, len(part)), kernel)
        resized.append(np.asarray(across.resize((columns, rows), kernel)))
    return resized[0] if resized[0].ndim == 3 else np.stack(resized, axis=-1)


def normalize(images: np.ndarray, record: Preprocessing) -> np.ndarray:
    """uint8 (..., channels) to float32, as `Preprocessing.normalize` does it."""
    if record.channel_order == "bgr":
        images = images[..., ::-1]
    scale, shift = np.array(record.scale_and_shift(), np.float32)
    return images.astype(np.float32) * scale + shift
