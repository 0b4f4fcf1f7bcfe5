"""Data sets of TFDS, our embedded digits among them."""

import socket
import tempfile
import textwrap
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_resnet.common.errors import InputError, closest
from keras_resnet.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from keras_resnet.training import (
    digits,  # noqa: F401  registers the builder
    fashion_mnist,
)
from keras_resnet.training.source import Source

# Up to this size a data set is held decoded in memory; a whole shuffle holds a second
# copy. CIFAR takes 180 MB, SVHN 305 MB.
IN_MEMORY_BYTES = 2**29
# TFDS shuffles once when it writes; each epoch mixes the files and, in a window of
# this many examples (0.5 GB of ImageNet's JPEGs), what comes out of them.
SHUFFLE_WINDOW = 4096
VALIDATION_SPLITS = ("validation", "test")  # the first one that a data set has


def read(spec: str, data_dir: Path | None = None) -> Source:
    """A data set by its TFDS name, downloaded and prepared where it is not yet.

    Args:
        spec: `name`, `name/config` or `name:version`, as `tfds.load` takes it.
        data_dir: folder of prepared data sets; None: TFDS's own,
            ~/tensorflow_datasets.

    Raises:
        InputError: no data set of this name; it cannot be downloaded or prepared; it
            has no split to train or to validate with; or it is not one of 8-bit
            images with a class each.
    """
    builder = _find(spec, data_dir)
    # Before a long download, where the data set's code knows its features.
    image, labels = _features(spec, builder)
    _prepare(spec, builder)
    splits = builder.info.splits
    held_out = next((name for name in VALIDATION_SPLITS if name in splits), None)
    if "train" not in splits or held_out is None:
        raise InputError(
            f"data={spec!r} has the splits {', '.join(splits)}: 'train' and one of "
            f"{', '.join(map(repr, VALIDATION_SPLITS))} are needed."
        )
    train, validation = (splits[s].num_examples for s in ("train", held_out))
    fixed = None not in image.shape
    if fixed and (train + validation) * np.prod(image.shape) <= IN_MEMORY_BYTES:
        return _in_memory(spec, builder, held_out, labels)
    return _streamed(builder, held_out, labels, image.shape[:2] if fixed else None)


def _streamed(builder, held_out, labels, size) -> Source:
    """A large data set, or one of images of many sizes: left encoded on the disk."""

    def read_split(split, **reading):
        return builder.as_dataset(
            split=split,
            as_supervised=True,
            decoders={builder.info.supervised_keys[0]: tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(try_autocache=False, **reading),
            shuffle_files=bool(reading),
        )

    def shuffled(seed):
        files_mixed = read_split(
            "train", shuffle_seed=seed, shuffle_reshuffle_each_iteration=False
        )
        return files_mixed.shuffle(
            SHUFFLE_WINDOW, seed=seed, reshuffle_each_iteration=False
        )

    return Source(
        labels=labels,
        size=size,
        channels=3,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        train_examples=builder.info.splits["train"].num_examples,
        validation_examples=builder.info.splits[held_out].num_examples,
        shuffled=shuffled,
        validation=read_split(held_out),
    )


def _in_memory(spec, builder, held_out, labels) -> Source:
    """A small data set, decoded; its mean and deviation are taken over `train`."""
    try:
        train, validation = (
            builder.as_dataset(split=split, batch_size=-1, as_supervised=True)
            for split in ("train", held_out)
        )
    except tf.errors.OpError as error:
        raise InputError(
            f"data={spec!r}: the files in {builder.data_dir} cannot be read "
            f"({_reason(error)}); remove that folder to prepare them anew."
        ) from error
    images = train[0]
    mean, std = channel_statistics(images.numpy())
    ordered = tf.data.Dataset.from_tensor_slices(train)
    count = len(images)
    return Source(
        labels=labels,
        size=tuple(images.shape[1:3]),
        channels=images.shape[-1],
        mean=mean,
        std=std,
        train_examples=count,
        validation_examples=len(validation[0]),
        shuffled=lambda seed: ordered.shuffle(
            count, seed=seed, reshuffle_each_iteration=False
        ),
        validation=tf.data.Dataset.from_tensor_slices(validation),
    )


def channel_statistics(
    images: np.ndarray,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, on the scale 0..1.

    Args:
        images: uint8 (n, height, width, channels).
    """
    levels = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(images.shape[-1]):
        share = np.bincount(images[..., channel].ravel(), minlength=256)
        share = share / share.sum()
        mean = levels @ share
        means.append(float(mean))
        deviations.append(float(np.sqrt((levels - mean) ** 2 @ share)))
    return tuple(means), tuple(deviations)


def _find(spec: str, data_dir: Path | None) -> tfds.core.DatasetBuilder:
    """The builder that `spec` names."""
    try:
        return tfds.builder(spec, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        names = tfds.list_builders(with_community_datasets=False)
        raise InputError(
            f"data={spec!r}: neither folder:PATH nor a data set of TFDS."
            + (closest(spec, names) or " tfds.list_builders() names them all.")
        ) from error
    except Exception as error:  # a builder can refuse a config or version in any way
        raise InputError(f"data={spec!r}: {_reason(error)}") from error


def _features(spec: str, builder: tfds.core.DatasetBuilder):
    """The image feature, and the names of the classes."""
    keys, features = builder.info.supervised_keys, dict(builder.info.features.items())
    if not isinstance(keys, tuple) or len(keys) != 2:
        raise InputError(f"data={spec!r} has no pair of an image and a class.")
    image, label = (features.get(key) for key in keys)
    if not isinstance(image, tfds.features.Image) or image.np_dtype != np.uint8:
        raise InputError(
            f"data={spec!r}: {keys[0]!r} is {image!r}; images of type uint8 are "
            "needed: others may hold NaN, and have no agreed range."
        )
    if not isinstance(label, tfds.features.ClassLabel):
        raise InputError(f"data={spec!r}: {keys[1]!r} is {label!r}; a class is needed.")
    return image, tuple(label.names)


def _prepare(spec: str, builder: tfds.core.DatasetBuilder) -> None:
    """Downloads and writes the data set; it appears in its folder whole or not."""
    if builder.is_prepared():
        return
    advice = "prepare it where there is a network, and name its folder with --data-dir"
    config = None
    with tempfile.TemporaryDirectory() as scratch:
        if builder.name == "digits":
            advice = "name a folder that can be written to with --data-dir"
        elif builder.name == "fashion_mnist":
            advice = f"install Debian's package {fashion_mnist.PACKAGE}, or {advice}"
            if fashion_mnist.installed():
                fashion_mnist.restore(Path(scratch))
                config = tfds.download.DownloadConfig(
                    manual_dir=scratch, extract_dir=scratch
                )
        try:
            if config is None and not builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
                _check_network(builder)
            builder.download_and_prepare(download_config=config)
        except Exception as error:  # network, disk, checksum, manual download ...
            if builder.is_prepared():  # by another process in the meantime
                return
            raise InputError(
                f"data={spec!r} is not in {builder.data_dir} and cannot be prepared "
                f"({_reason(error)}): {advice}."
            ) from error


def _check_network(builder: tfds.core.DatasetBuilder) -> None:
    """Raises a ConnectionError where none of the data set's hosts has an address.

    TFDS would find out too, after three minutes of further attempts. A proxy may know
    hosts that this machine does not, and what is downloaded already needs none.
    """
    downloads = Path(builder.data_dir_root, "downloads", builder.name)
    urls = map(urlsplit, builder.url_infos or ())
    hosts = {url.hostname for url in urls if url.scheme in ("http", "https", "ftp")}
    if not hosts or urllib.request.getproxies() or any(downloads.rglob("*.INFO")):
        return
    for host in hosts:
        try:
            socket.getaddrinfo(host, None)
            return
        except OSError as error:
            failure = error
    raise ConnectionError(f"no network: {', '.join(hosts)}: {failure}")


def _reason(error: Exception) -> str:
    """An exception's message, on one line of bounded length."""
    text = str(error).strip().rstrip(".") or type(error).__name__
    return textwrap.shorten(text, 300, placeholder=" ...")
