"""Data sets of TFDS: what is refused, and Fashion-MNIST without a network."""

import gzip
import shutil
import socket
import struct

import numpy as np
import pytest

from keras_resnet.common.errors import InputError
from keras_resnet.training import tfds_source
from keras_resnet.training.data import load


@pytest.fixture(scope="module")
def digits(data_dir):
    return load("digits", data_dir=data_dir)


@pytest.mark.parametrize(
    ("spec", "advice"),
    [
        ("cifer10", "Did you mean 'cifar10'"),
        ("digit", "Did you mean 'digits'"),
        ("cifar10:9.9.9", "only: 3.0.2"),
        ("emnist/nothing", "BuilderConfig nothing not found"),
        ("", "data=''"),
    ],
)
def test_no_such_data_set(spec, advice, data_dir):
    with pytest.raises(InputError, match=advice) as raised:
        load(spec, data_dir=data_dir)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("train_only", "has the splits train: 'train' and one of 'validation', 'test'"),
        ("undefined_images", "uint8 are needed: others may hold NaN"),
        ("coco", "no pair of an image and a class"),
        ("imdb_reviews", "'text' is Text"),
    ],
)
def test_data_that_is_no_labelled_images(spec, reason, data_dir):
    with pytest.raises(InputError, match=reason):
        load(spec, data_dir=data_dir)


def test_image_size_below_one(data_dir):
    with pytest.raises(InputError, match="image_size=0: 1 or more"):
        load("digits", data_dir=data_dir, image_size=0)


def test_a_failed_preparation_leaves_nothing(data_dir):
    with pytest.raises(InputError, match=r"cannot be prepared .*No space left"):
        load("full_disk", data_dir=data_dir)
    assert not list((data_dir / "full_disk").iterdir())


def test_damaged_files(digits, data_dir, tmp_path):
    shutil.copytree(data_dir / "digits", tmp_path / "digits")
    records = next(tmp_path.rglob("*train.tfrecord*"))
    records.write_bytes(records.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be read"):
        load("digits", data_dir=tmp_path)


@pytest.fixture
def no_network(monkeypatch):
    def unknown(*args):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr("urllib.request.getproxies", dict)


def test_no_network(no_network, data_dir, monkeypatch, tmp_path):
    with pytest.raises(
        InputError, match=r"no network: www\.cs\.toronto\.edu.*--data-dir"
    ):
        load("cifar10", data_dir=data_dir)
    monkeypatch.setattr(tfds_source, "FASHION_MNIST_FOLDER", tmp_path)
    with pytest.raises(InputError, match="Debian's package dataset-fashion-mnist"):
        load("fashion_mnist", data_dir=data_dir)


# Fashion-MNIST from Debian's package.


def test_gzip_header_as_published():
    content = b"images" * 100
    stripped = gzip.compress(content, mtime=0)
    restored = tfds_source.restore_header(stripped, "train.gz", 1504176606)
    assert gzip.decompress(restored) == content
    assert restored[:4] == b"\x1f\x8b\x08\x08"
    assert struct.unpack("<I", restored[4:8]) == (1504176606,)
    assert restored[8:10] == b"\0\3"
    assert restored[10:16] == b"train\0"
    assert restored[16:] == stripped[10:]


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08\x08 has a name", b"text"])
def test_gzip_header_of_another_kind(content):
    with pytest.raises(InputError, match=r"train\.gz of the package"):
        tfds_source.restore_header(content, "train.gz", 0)


@pytest.mark.slow
@pytest.mark.skipif(
    not tfds_source.fashion_mnist_installed(),
    reason="dataset-fashion-mnist is not installed",
)
def test_fashion_mnist_without_network(no_network, data_dir):
    """TFDS's own builder checks the files' SHA-256."""
    data = load("fashion_mnist", data_dir=data_dir)
    assert (data.train_examples, data.validation_examples) == (60000, 10000)
    assert data.input_shape == (28, 28, 1)
    assert data.labels[0] == "T-shirt/top"
    # As published for the training images.
    np.testing.assert_allclose(data.preprocessing.mean, [0.2860], atol=1e-4)
    np.testing.assert_allclose(data.preprocessing.std, [0.3530], atol=1e-4)
    assert len(data.sample(64)[1]) == 64
