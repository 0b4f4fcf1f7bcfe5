"""A data spec such as `digits` or `folder:PATH`, and the images in a user's folder."""

import hashlib
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import tensorflow as tf

from keras_resnet.common.errors import InputError
from keras_resnet.common.progress import Progress
from keras_resnet.images.files import SUFFIXES
from keras_resnet.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from keras_resnet.training.pipeline import Data, decode, evaluation_preprocessing

VALIDATION_SHARE = 0.2  # of each class, where the folder is not split already
HELD_OUT = ("validation", "val", "test")  # sub-folders to validate with, beside `train`
CHANNELS = 3

Images = dict[str, list[Path]]  # class -> files


def load(
    spec: str,
    *,
    image_size: int | None = None,
    data_dir: Path | None = None,
    strict: bool = False,
) -> Data:
    """Labelled images to train on and to validate with.

    Args:
        spec: `digits` (embedded), any TFDS name (`cifar10`, `imagenet2012`, ...), or
            `folder:PATH`, images in a folder a class.
        image_size: side of the network's input, in pixels. None: that of the
            images where all have the same, else 224. Images of a common size are
            resized whole; of others the central part is taken at evaluation.
        data_dir: folder of prepared TFDS data sets; None: ~/tensorflow_datasets.
        strict: a broken image in a folder is an error, not left out.

    Raises:
        InputError: no such data, or it cannot be used; the message says why.
    """
    if image_size is not None and image_size < 1:
        raise InputError(f"image_size={image_size}: 1 or more is needed.")
    kind, _, path = spec.partition(":")
    if kind == "folder":
        if not path:
            raise InputError(f"data={spec!r}: folder:PATH is needed.")
        data = _read_folder(spec, strict)
    else:
        from keras_resnet.training.tfds_source import read_data_set

        data = read_data_set(spec, data_dir)
    if image_size is None:
        return data
    resized = replace(data.preprocessing, size=(image_size, image_size))
    return replace(data, preprocessing=resized)


def _read_folder(spec: str, strict: bool) -> Data:
    """The images in a folder, each in the sub-folder that its class is named by.

    A sub-folder's own sub-folders belong to its class. Hidden files and folders, and
    files whose suffix is no image's (in any case), are skipped. Grey images become
    RGB; transparency and EXIF orientation are dropped.

    Where the folder has `train` and one of `validation`, `val` and `test`, the classes
    are looked for in these two. Otherwise a fifth of each class, one image at
    least, is held out for validation: those whose path below the folder has the
    smallest SHA-256. So the split stays when the program runs again, or the folder
    moves.

    Every file is decoded once beforehand. One that cannot be is named on standard error
    and left out, or is an error with `strict`; so are TIFF files, which
    `tf.io.decode_image` does not read.
    """
    root = Path(spec.removeprefix("folder:"))
    if not root.is_dir():
        raise InputError(f"data={spec}: no such folder.")
    held_out = next((root / name for name in HELD_OUT if (root / name).is_dir()), None)
    if held_out and (root / "train").is_dir():
        parts = (_find(root / "train"), _find(held_out))
    else:
        parts = (_find(root),)
    broken = _broken(spec, [path for part in parts for path in _files(part)], strict)
    parts = tuple(
        {label: [p for p in paths if p not in broken] for label, paths in part.items()}
        for part in parts
    )
    _check_classes(spec, parts[0])
    train, validation = parts if len(parts) == 2 else _split(parts[0], root)
    if not _files(validation):
        raise InputError(f"data={spec}: no readable image to validate with.")
    if foreign := sorted(set(validation) - set(train)):
        raise InputError(
            f"data={spec}: class {foreign[0]!r} of the validation images is none of "
            f"the training classes {', '.join(train)}."
        )
    labels = tuple(train)
    train_files = _listed(train, labels, root)
    count = len(train_files)

    def read_files(files: tf.data.Dataset) -> tf.data.Dataset:
        return files.map(
            lambda path, label: (tf.io.read_file(path), label), tf.data.AUTOTUNE
        )

    return Data(
        name=spec,
        labels=labels,
        common_size=None,
        train_examples=count,
        validation_examples=len(_files(validation)),
        shuffled=lambda seed: read_files(
            train_files.shuffle(count, seed=seed, reshuffle_each_iteration=False)
        ),
        held_out=read_files(_listed(validation, labels, root)),
        preprocessing=evaluation_preprocessing(None, IMAGENET_MEAN, IMAGENET_STD),
    )


def _find(root: Path) -> Images:
    """The image files below each sub-folder of `root`, both in order of name."""
    return {
        folder.name: [
            path
            for path in sorted(folder.rglob("*"))
            if path.suffix.lower() in SUFFIXES
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
            and not path.is_dir()
        ]
        for folder in sorted(root.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
    }


def _files(images: Images) -> list[Path]:
    return [path for paths in images.values() for path in paths]


def _broken(spec: str, paths: list[Path], strict: bool) -> set[Path]:
    """Those of `paths` that cannot be decoded; each is named on standard error."""

    def fault(path: Path) -> str | None:
        try:
            decode(tf.io.read_file(os.fsencode(path)), CHANNELS)
        except tf.errors.OpError as error:
            # TensorFlow's message without the names of its operations
            text = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", error.message).strip()
            return text.splitlines()[0].rstrip(".") if text else type(error).__name__

    broken = set()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        faults = pool.map(fault, paths)
        progress = Progress(faults, "checking images", len(paths), leave=False)
        for path, reason in zip(paths, progress, strict=True):
            if reason is None:
                continue
            shown = os.fsencode(path).decode(errors="replace")
            line = f"{shown} cannot be decoded: {reason}"
            if strict:
                pool.shutdown(cancel_futures=True)
                raise InputError(f"data={spec}: {line}.")
            progress.write(line, file=sys.stderr)
            broken.add(path)
    if broken:
        print(f"{len(broken)} of {len(paths)} images left out.", file=sys.stderr)
    return broken


def _check_classes(spec: str, images: Images) -> None:
    """Raises an InputError unless there are two classes of two images or more."""
    layout = (
        f"data={spec}: a folder of JPEG, PNG, WebP, GIF or BMP files for each class"
    )
    if not _files(images):
        raise InputError(f"{layout} is needed, and no readable image was found.")
    if len(images) < 2:
        raise InputError(f"{layout} is needed, and there is only {min(images)!r}.")
    for label, paths in images.items():
        if len(paths) < 2:
            raise InputError(
                f"{layout} is needed, with 2 images or more: {label!r} has "
                f"{len(paths)} that can be read."
            )


def _split(images: Images, root: Path) -> tuple[Images, Images]:
    """Takes a share of each class out for validation."""
    train, validation = {}, {}
    for label, paths in images.items():
        ordered = sorted(paths, key=lambda path: _hash(path, root))
        count = max(1, round(len(paths) * VALIDATION_SHARE))
        validation[label], train[label] = ordered[:count], ordered[count:]
    return train, validation


def _hash(path: Path, root: Path) -> bytes:
    return hashlib.sha256(os.fsencode(path.relative_to(root).as_posix())).digest()


def _listed(images: Images, labels: tuple[str, ...], root: Path) -> tf.data.Dataset:
    """A data set of (path, number of the class), in the order of the hashes."""
    numbered = [
        (path, labels.index(label)) for label, paths in images.items() for path in paths
    ]
    numbered.sort(key=lambda pair: _hash(pair[0], root))
    paths, numbers = zip(*numbered, strict=True)
    return tf.data.Dataset.from_tensor_slices(
        (tf.constant([os.fsencode(p) for p in paths]), tf.constant(numbers, tf.int64))
    )
