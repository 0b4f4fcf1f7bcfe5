"""A user's own images: JPEG and PNG files in a folder for each class."""

import hashlib
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tensorflow as tf
from tqdm import tqdm

from keras_resnet.common.errors import InputError
from keras_resnet.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from keras_resnet.training.augment import decode
from keras_resnet.training.source import Source

SUFFIXES = (".jpg", ".jpeg", ".png")
VALIDATION_SHARE = 0.2  # of each class, where the folder is not split already
HELD_OUT = ("validation", "val", "test")  # sub-folders to validate with, beside `train`
CHANNELS = 3

Images = dict[str, list[Path]]  # class -> files


def read(root: Path, strict: bool = False) -> Source:
    """The images in a folder, each in the sub-folder that its class is named by.

    A sub-folder's own sub-folders belong to its class. Hidden files and folders, and
    files of another suffix than .jpg, .jpeg and .png (in any case), are passed over.
    Grey images become RGB; transparency and EXIF orientation are dropped.

    Where `root` has `train` and one of `validation`, `val` and `test`, the classes
    are looked for in these two. Otherwise a fifth of each class, one image at
    least, is held out for validation: those whose path below `root` has the smallest
    SHA-256. So the split stays when the program runs again or the folder moves.

    Every file is decoded once beforehand. One that cannot be is named on standard
    error and left out.

    Args:
        root: the folder.
        strict: a broken image is an error.

    Raises:
        InputError: no such folder, no images, a single class, a class of fewer than
            two images, a validation class that training lacks; or, with `strict`, a
            broken image.
    """
    if not root.is_dir():
        raise InputError(f"data=folder:{root}: no such folder.")
    held_out = next((root / name for name in HELD_OUT if (root / name).is_dir()), None)
    if held_out and (root / "train").is_dir():
        parts = (_find(root / "train"), _find(held_out))
    else:
        parts = (_find(root),)
    broken = _broken([path for part in parts for path in _files(part)], root, strict)
    parts = tuple(
        {label: [p for p in paths if p not in broken] for label, paths in part.items()}
        for part in parts
    )
    _check_classes(root, parts[0])
    train, validation = parts if len(parts) == 2 else _split(parts[0], root)
    _check_validation(root, train, validation)
    return _source(root, train, validation)


def _find(root: Path) -> Images:
    """The image files below each sub-folder of `root`, both in order of name."""
    return {
        folder.name: [
            path
            for path in sorted(folder.rglob("*"))
            if path.suffix.lower() in SUFFIXES
            and not _hidden(path, folder)
            and not path.is_dir()
        ]
        for folder in sorted(root.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
    }


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _files(images: Images) -> list[Path]:
    return [path for paths in images.values() for path in paths]


def _broken(paths: list[Path], root: Path, strict: bool) -> set[Path]:
    """Those of `paths` that cannot be decoded; each is named on standard error."""

    def fault(path):
        try:
            decode(tf.io.read_file(os.fsencode(path)), CHANNELS)
        except tf.errors.OpError as error:
            return _reason(error)

    broken = set()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        faults = pool.map(fault, paths)
        progress = tqdm(
            faults, "checking images", len(paths), leave=False, disable=None
        )
        for path, reason in zip(paths, progress, strict=True):
            if reason is None:
                continue
            shown = os.fsencode(path).decode(errors="replace")
            line = f"{shown} cannot be decoded: {reason}"
            if strict:
                pool.shutdown(cancel_futures=True)
                raise InputError(f"data=folder:{root}: {line}.")
            progress.write(line, file=sys.stderr)
            broken.add(path)
    if broken:
        print(f"{len(broken)} of {len(paths)} images left out.", file=sys.stderr)
    return broken


def _reason(error: tf.errors.OpError) -> str:
    """TensorFlow's message without the names of its operations."""
    text = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", error.message).strip()
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__


def _check_classes(root: Path, images: Images) -> None:
    """Raises an InputError unless there are two classes of two images or more."""
    layout = f"data=folder:{root}: a folder of .jpg, .jpeg or .png files for each class"
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


def _check_validation(root: Path, train: Images, validation: Images) -> None:
    """Raises an InputError where validation has no image, or a class of its own."""
    if not _files(validation):
        raise InputError(f"data=folder:{root}: no readable image to validate with.")
    if foreign := sorted(set(validation) - set(train)):
        raise InputError(
            f"data=folder:{root}: class {foreign[0]!r} of the validation images is "
            f"none of the training classes {', '.join(train)}."
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


def _source(root: Path, train: Images, validation: Images) -> Source:
    """Data sets of file contents; validation in the order of the hashes."""
    labels = tuple(train)

    def listed(images):
        pairs = [
            (p, i) for i, label in enumerate(labels) for p in images.get(label, [])
        ]
        pairs.sort(key=lambda pair: _hash(pair[0], root))
        paths, numbers = zip(*pairs, strict=True)
        return tf.data.Dataset.from_tensor_slices(
            (
                tf.constant([os.fsencode(p) for p in paths]),
                tf.constant(numbers, tf.int64),
            )
        )

    def opened(files):
        return files.map(
            lambda path, label: (tf.io.read_file(path), label), tf.data.AUTOTUNE
        )

    files, count = listed(train), len(_files(train))
    return Source(
        labels=labels,
        size=None,
        channels=CHANNELS,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        train_examples=count,
        validation_examples=len(_files(validation)),
        shuffled=lambda seed: opened(
            files.shuffle(count, seed=seed, reshuffle_each_iteration=False)
        ),
        validation=opened(listed(validation)),
    )
