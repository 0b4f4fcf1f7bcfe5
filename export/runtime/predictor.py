"""What a service calls: images in, numpy out, without TensorFlow or Keras.

    predictor = load("resnet50.onnx")
    probabilities = predictor(images)  # uint8, one, a batch or a list of any sizes
    predictor.top(images, 3)  # [[("tabby", 0.81), ...], ...]

Beneath it stands `Session`, which takes just what the file takes.
"""

import logging
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from export.runtime.prepare import checked, normalize, read_record, resize_and_crop
from export.runtime.session import Session as Session
from export.runtime.settings import Settings, read_settings, tuned_path
from keras_resnet.common.errors import InputError

log = logging.getLogger(__name__)

MOST_IMAGES = 32  # a call, where neither the file nor the settings say
BAKED_IN = ("none", "normalize", "full")  # what a file can do with images by itself


def load(
    path: str | os.PathLike, settings: Settings | str | os.PathLike | None = None
) -> "Predictor":
    """A function of images from an ONNX file that `export.onnx` wrote.

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
        said = session.metadata
        entry = said.get("input", {})
        labels, self._baked_in = said.get("labels", []), said.get("preprocess", "none")
        words = isinstance(labels, list) and all(isinstance(n, str) for n in labels)
        if not isinstance(entry, dict) or not words or self._baked_in not in BAKED_IN:
            raise InputError(
                f"{session.path}: its metadata is not what export.onnx writes."
            )
        if len(session.input_shape) != 4:
            raise InputError(
                f"{session.path} takes {session.input_shape}; batches of images, four "
                "axes, are needed."
            )
        self.labels = tuple(labels)
        record = said.get("preprocessing")
        try:
            self.preprocessing = None if record is None else read_record(record)
        except InputError as error:
            raise InputError(f"{session.path}: {error}") from error
        self.channels_first = entry.get("layout") == "nchw"
        self._fixed = session.input_shape[0]
        self._batch = self._fixed or batch or MOST_IMAGES

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
        parts = [self._run(batch) for batch in self.batches(images)]
        if isinstance(parts[0], dict):
            return {k: _joined([part[k] for part in parts]) for k in parts[0]}
        return _joined(parts)

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
        found = self(images)
        if names == ("logits",):
            found = np.exp(found - found.max(axis=-1, keepdims=True))
            found /= found.sum(axis=-1, keepdims=True)
        if len(names) == 1:
            classes = np.argsort(-found, axis=-1, kind="stable")
            scores = np.take_along_axis(found, classes, axis=-1)
        else:
            scores, classes = found["scores"], found["classes"]
        return [
            [(self._label(one), float(score)) for one, score in pairs]
            for pairs in map(zip, classes[:, :k].tolist(), scores[:, :k].tolist())
        ]

    def _label(self, index: int) -> str:
        return self.labels[index] if index < len(self.labels) else str(index)

    def _arrays(self, images: Any) -> list[np.ndarray]:
        """Each image, or ready image, on its own."""
        if isinstance(images, list | tuple):
            if not images:
                raise InputError("images=[]: one image or more is needed.")
            return [one for part in images for one in self._arrays(part)]
        array = checked(images, self.dtype)
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

    def _run(self, batch: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
        """The outputs of at most one batch, filled up where the file's is fixed."""
        size = len(batch)
        if self._fixed and size < self._fixed:
            filling = np.repeat(batch[-1:], self._fixed - size, axis=0)
            batch = np.concatenate([batch, filling])
        found = self.session.run(np.ascontiguousarray(batch))
        if isinstance(found, dict):
            return {name: values[:size] for name, values in found.items()}
        return found[:size]


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    if len({part.shape[1:] for part in parts}) > 1:  # maps of images of two sizes
        raise InputError(
            f"images: of different sizes, which give {parts[0].shape[1:]} and others; "
            "call with one size at a time."
        )
    return np.concatenate(parts)
