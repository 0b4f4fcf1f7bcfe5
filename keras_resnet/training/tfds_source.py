"""Data sets of TFDS, our embedded digits and an offline Fashion-MNIST among them."""

import socket
import struct
import sys
import tempfile
import textwrap
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_resnet.common.errors import InputError, closest
from keras_resnet.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from keras_resnet.training.pipeline import Data, evaluation_preprocessing

# Up to this size a data set is held decoded in memory; a whole shuffle holds a second
# copy. CIFAR takes 180 MB, SVHN 305 MB.
IN_MEMORY_BYTES = 2**29
# TFDS shuffles once when it writes; each epoch mixes the files and, in a window of
# this many examples (0.5 GB of ImageNet's JPEGs), what comes out of them.
SHUFFLE_WINDOW = 4096
VALIDATION_SPLITS = ("validation", "test")  # the first one that a data set has
DIGITS_TEST_EVERY = 5  # within each class: a fifth, spread over all writers
FASHION_MNIST_PACKAGE = "dataset-fashion-mnist"  # of Debian
FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # where it installs
# In the published gzip headers: file name -> seconds since 1970.
FASHION_MNIST_TIMES = {
    "train-images-idx3-ubyte.gz": 1504176606,
    "train-labels-idx1-ubyte.gz": 1504176606,
    "t10k-images-idx3-ubyte.gz": 1504176627,
    "t10k-labels-idx1-ubyte.gz": 1504176627,
}
_GZIP_HEADER = 10  # bytes of one without a name (RFC 1952, section 2.3)

# TFDS's decorators hide from type checkers what a builder's methods take.
Builder = Any  # tfds.core.DatasetBuilder


def read_data_set(spec: str, data_dir: Path | None = None) -> Data:
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
    shape, labels = _features(spec, builder)
    _prepare(spec, builder)
    splits = builder.info.splits
    held_out = next((name for name in VALIDATION_SPLITS if name in splits), None)
    if "train" not in splits or held_out is None:
        raise InputError(
            f"data={spec!r} has the splits {', '.join(splits)}: 'train' and one of "
            f"{', '.join(map(repr, VALIDATION_SPLITS))} are needed."
        )
    train, validation = (splits[s].num_examples for s in ("train", held_out))
    common_size = None if None in shape else shape[:2]
    if common_size and (train + validation) * np.prod(shape) <= IN_MEMORY_BYTES:
        images = _in_memory(spec, builder, held_out)
    else:
        images = _streamed(builder, held_out)
    shuffled, held_out_images, mean, std = images
    return Data(
        name=spec,
        labels=labels,
        common_size=common_size,
        train_examples=train,
        validation_examples=validation,
        shuffled=shuffled,
        held_out=held_out_images,
        preprocessing=evaluation_preprocessing(common_size, mean, std),
    )


def _streamed(builder: Builder, held_out: str):
    """As `_in_memory`, of many images or images of many sizes: encoded, on the disk.

    Their mean and deviation are ImageNet's.
    """

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

    return shuffled, read_split(held_out), IMAGENET_MEAN, IMAGENET_STD


def _in_memory(spec: str, builder: Builder, held_out: str):
    """`shuffled` and `held_out` of `Data`, of decoded images; and what normalises them.

    That is the mean and the deviation of the training images.
    """
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
    ordered, count = tf.data.Dataset.from_tensor_slices(train), len(train[0])

    def shuffled(seed):
        return ordered.shuffle(count, seed=seed, reshuffle_each_iteration=False)

    mean, std = channel_statistics(train[0].numpy())
    return shuffled, tf.data.Dataset.from_tensor_slices(validation), mean, std


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


def _find(spec: str, data_dir: Path | None) -> Builder:
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


def _features(spec: str, builder: Builder) -> tuple[Any, tuple[str, ...]]:
    """(height, width, channels) of the images, None for any; the classes' names."""
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
    return image.shape, tuple(label.names)


def _prepare(spec: str, builder: Builder) -> None:
    """Downloads and writes the data set; it appears in its folder whole or not."""
    if builder.is_prepared():
        return
    advice = "prepare it where there is a network, and name its folder with --data-dir"
    config = None
    with tempfile.TemporaryDirectory() as scratch:
        if builder.name == "digits":
            advice = "name a folder that can be written to with --data-dir"
        elif builder.name == "fashion_mnist":
            advice = f"install Debian's package {FASHION_MNIST_PACKAGE}, or {advice}"
            if fashion_mnist_installed():
                for name, seconds in FASHION_MNIST_TIMES.items():
                    content = (FASHION_MNIST_FOLDER / name).read_bytes()
                    content = restore_header(content, name, seconds)
                    Path(scratch, name).write_bytes(content)
                config = tfds.download.DownloadConfig(
                    manual_dir=scratch, extract_dir=scratch
                )
        if not sys.stderr.isatty():  # a bar of TFDS would fill a log
            tfds.disable_progress_bar()
            print(f"preparing {spec} in {builder.data_dir}", file=sys.stderr)
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


def _check_network(builder: Builder) -> None:
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
    raise ConnectionError(f"no network: {', '.join(map(str, hosts))}: {failure}")


def _reason(error: Exception) -> str:
    """An exception's message, on one line of bounded length."""
    text = str(error).strip().rstrip(".") or type(error).__name__
    return textwrap.shorten(text, 300, placeholder=" ...")


class Digits(tfds.core.GeneratorBasedBuilder):
    """1,797 handwritten digits of 8x8 pixels, in ten classes.

    The images come with scikit-learn (`sklearn.datasets.load_digits`), which has
    them from the test set of UCI's "Optical Recognition of Handwritten Digits". Their
    grey values 0..16 are spread over 0..255. Of each class, the 5th, 10th, 15th ...
    image in scikit-learn's order makes up the split "test", the others "train".
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=type(self).__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1)),
                    "label": tfds.features.ClassLabel(names=list("0123456789")),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        return {
            "train": self._generate_examples(test=False),
            "test": self._generate_examples(test=True),
        }

    def _generate_examples(self, test: bool):
        from sklearn.datasets import load_digits

        digits: Any = load_digits()
        images = np.rint(digits.images * 255 / 16).astype("uint8")[..., None]
        for label in range(10):
            for place, index in enumerate(np.flatnonzero(digits.target == label), 1):
                if (place % DIGITS_TEST_EVERY == 0) == test:
                    yield int(index), {"image": images[index], "label": label}


def fashion_mnist_installed() -> bool:
    """Whether the files of Debian's package are on this machine."""
    return all((FASHION_MNIST_FOLDER / name).is_file() for name in FASHION_MNIST_TIMES)


def restore_header(content: bytes, name: str, seconds: int) -> bytes:
    """A gzip file's content with the original file's time and name in its header.

    Debian's package holds the four published files of Fashion-MNIST without these two,
    so that TFDS's checksums refuse them. With the header put back they are the
    published files, byte for byte.

    Args:
        content: of a gzip file whose header has no optional field.
        name: of the gzip file; the header takes it without ".gz".
        seconds: the original file's time, in seconds since 1970.

    Raises:
        InputError: `content` does not begin with such a header.
    """
    if content[:4] != b"\x1f\x8b\x08\x00" or len(content) < _GZIP_HEADER:
        raise InputError(
            f"{name} of the package {FASHION_MNIST_PACKAGE}: a gzip file without a "
            "name in its header is needed, and this begins with "
            f"{content[:4].hex(' ')!r}."
        )
    # Method 8 (deflate), flag 8 (a name follows), system 3 (Unix).
    header = struct.pack("<2sBBIBB", b"\x1f\x8b", 8, 8, seconds, 0, 3)
    return header + name.removesuffix(".gz").encode() + b"\0" + content[_GZIP_HEADER:]
