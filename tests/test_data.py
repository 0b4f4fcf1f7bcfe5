"""Data for training: what comes out, in which order, and what is refused."""

import gzip
import shutil
import socket
import struct

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_resnet.errors import InputError
from keras_resnet.training import augment, fashion_mnist
from keras_resnet.training.data import Augmentation, load

PLAIN = Augmentation("none")
CROP = Augmentation("pad-crop-flip", padding=2)
PART = Augmentation("random-resized-crop")


class _Test(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS data set of a few random pictures."""

    VERSION = tfds.core.Version("1.0.0")
    image = tfds.features.Image(shape=(None, None, 3), encoding_format="png")

    def _info(self):
        features = {
            "image": self.image,
            "label": tfds.features.ClassLabel(names=["first", "second"]),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples(40),
            "validation": self._generate_examples(10),
        }

    def _generate_examples(self, count):
        generator = np.random.default_rng(count)
        for index in range(count):
            shape = (*generator.integers(12, 40, 2), 3)
            picture = generator.integers(0, 256, shape, "uint8")
            yield index, {"image": picture, "label": index % 2}


class AssortedPictures(_Test):
    """Pictures of many sizes."""


class TrainOnly(_Test):
    """No split to validate with."""

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(4)}


class UndefinedPictures(_Test):
    """Floating-point pictures, with NaN."""

    image = tfds.features.Tensor(shape=(8, 8, 1), dtype=np.float32)

    def _generate_examples(self, count):
        for index in range(count):
            yield index, {"image": np.full((8, 8, 1), np.nan, "float32"), "label": 0}


class FullDisk(_Test):
    """Stops in the middle of its preparation."""

    def _generate_examples(self, count):
        yield from list(super()._generate_examples(count))[:3]
        raise OSError(28, "No space left on device")


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """A folder of TFDS data sets, where `assorted_pictures` spreads over four files."""
    folder = tmp_path_factory.mktemp("tensorflow_datasets")
    four = tfds.download.DownloadConfig(num_shards=4)
    AssortedPictures(data_dir=folder).download_and_prepare(download_config=four)
    return folder


@pytest.fixture(scope="module")
def digits(data_dir):
    return load("digits", data_dir=data_dir)


def write_picture(path, height=40, width=50, channels=3, seed=0):
    """A random picture, in the format of the path's suffix."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (4, 4, channels))
    picture = tf.cast(tf.image.resize(coarse, (height, width)), tf.uint8)
    encode = tf.io.encode_png if path.suffix == ".png" else tf.io.encode_jpeg
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(picture).numpy())


@pytest.fixture
def photos(tmp_path):
    """Ten pictures of cats and ten of dogs, in every accepted format."""
    root = tmp_path / "photos"
    for index in range(10):
        write_picture(root / f"cats/{index}.jpg", seed=index)
        write_picture(root / f"dogs/{index}.png", seed=index)
    write_picture(root / "cats/grey.JPEG", channels=1)
    write_picture(root / "cats/deep/grey.png", channels=1)
    write_picture(root / "dogs/transparent.png", channels=4)
    (root / "dogs/notes.txt").write_text("no picture")
    (root / "dogs/.hidden.jpg").write_text("no picture either")
    (root / ".cache").mkdir()
    return root


def batches(data, first_epoch=0, epochs=2, seed=0, augmentation=PLAIN, batch_size=8):
    return [
        (images.numpy(), labels.numpy())
        for images, labels in data.training(
            batch_size=batch_size,
            seed=seed,
            first_epoch=first_epoch,
            epochs=epochs,
            augmentation=augmentation,
        )
    ]


def same(some, others):
    return len(some) == len(others) and all(
        np.array_equal(one, other)
        for pair, other_pair in zip(some, others, strict=True)
        for one, other in zip(pair, other_pair, strict=True)
    )


# Digits.


def test_digits_are_scikit_learns(digits, data_dir):
    from sklearn.datasets import load_digits

    original = load_digits()
    expected = np.rint(original.images * 255 / 16).astype(int)
    builder = tfds.builder("digits", data_dir=data_dir)
    train, test = (
        tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
        for split in ("train", "test")
    )
    assert len(train["label"]) == digits.train_examples == 1442
    assert len(test["label"]) == digits.validation_examples == 355

    def multiset(images, labels):
        return sorted(
            (int(y), tuple(x.ravel().tolist()))
            for x, y in zip(images, labels, strict=True)
        )

    both = [np.concatenate([train[key], test[key]]) for key in ("image", "label")]
    assert multiset(*both) == multiset(expected, original.target)
    share = np.bincount(test["label"]) / np.bincount(original.target)
    assert np.all(np.abs(share - 0.2) < 0.01)


def test_digits_as_a_network_sees_them(digits):
    assert digits.labels == tuple("0123456789")
    assert (digits.image_size, digits.channels) == ((8, 8), 1)
    images, labels = map(
        np.concatenate, zip(*batches(digits, epochs=1, batch_size=103), strict=True)
    )
    assert images.shape == (1442, 8, 8, 1)
    assert (images.dtype, labels.dtype) == (np.float32, np.int64)
    assert abs(images.mean()) < 1e-4
    assert abs(images.std() - 1) < 1e-4


def test_normalisation_is_the_record_s(digits):
    """Export applies `Preprocessing.normalize` to what `sample` returns."""
    raw, labels = digits.sample(64)
    assert raw.dtype == np.uint8
    assert labels.dtype == np.int64
    assert len(set(labels.tolist())) == 10
    images, same_labels = next(iter(digits.validation(batch_size=64)))
    np.testing.assert_array_equal(same_labels, labels)
    normalized = np.asarray(digits.preprocessing.normalize(raw))
    np.testing.assert_allclose(images, normalized, atol=1e-6)


def test_validation_is_whole_and_fixed(digits):
    first, second = (list(digits.validation(batch_size=100)) for _ in range(2))
    assert [len(labels) for _, labels in first] == [100, 100, 100, 55]
    assert same(first, second)
    assert len(digits.sample(1000)[1]) == 355


def test_another_image_size(data_dir):
    data = load("digits", data_dir=data_dir, image_size=12)
    assert data.image_size == (12, 12)
    assert data.sample(3)[0].shape == (3, 12, 12, 1)
    assert batches(data, epochs=1)[0][0].shape == (8, 12, 12, 1)


# Order and randomness.


@pytest.mark.parametrize("augmentation", [PLAIN, CROP, PART], ids=lambda a: a.name)
@pytest.mark.parametrize("spec", ["digits", "assorted_pictures", "folder"])
def test_a_resumed_run_sees_what_an_uninterrupted_one_sees(
    spec, augmentation, data_dir, photos
):
    """Also where the process has drawn random numbers, or set seeds, in between."""
    spec = f"folder:{photos}" if spec == "folder" else spec
    data = load(spec, data_dir=data_dir, image_size=None if spec == "digits" else 16)
    tf.random.set_seed(1)
    whole = batches(data, 0, 3, seed=5, augmentation=augmentation)
    tf.random.set_seed(2)
    tf.random.uniform(())
    resumed = batches(data, 1, 3, seed=5, augmentation=augmentation)
    steps = data.steps_per_epoch(8)
    assert len(whole) == 3 * steps
    assert same(whole[steps:], resumed)
    assert not same(whole[:steps], whole[steps : 2 * steps])
    other_seed = batches(data, 0, 1, seed=6, augmentation=augmentation)
    assert not same(whole[:steps], other_seed)


@pytest.mark.parametrize("spec", ["assorted_pictures", "folder"])
def test_an_epoch_sees_each_picture_at_most_once(spec, data_dir, photos):
    spec = f"folder:{photos}" if spec == "folder" else spec
    data = load(spec, data_dir=data_dir, image_size=8)
    batch_size = 6
    steps = data.steps_per_epoch(batch_size)
    seen = batches(data, epochs=2, batch_size=batch_size)
    for epoch in (seen[:steps], seen[steps:]):
        pictures = {image.tobytes() for images, _ in epoch for image in images}
        assert len(pictures) == steps * batch_size
    assert data.train_examples - steps * batch_size < batch_size


@pytest.mark.parametrize("batch_size", [0, 1443])
def test_a_batch_that_the_data_cannot_fill(digits, batch_size):
    with pytest.raises(InputError, match=f"batch_size={batch_size}: 1 to 1442"):
        digits.steps_per_epoch(batch_size)


# Augmentation.


def test_pad_and_crop_moves_pictures():
    images = np.random.default_rng(0).integers(1, 256, (64, 5, 7, 3), "uint8")
    moved = augment.pad_and_crop(tf.constant(images), tf.constant([1, 2]), 2).numpy()
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)])
    shifts = set()
    for source, result in zip(padded, moved, strict=True):
        found = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if np.array_equal(source[top : top + 5, left : left + 7], result)
        ]
        assert len(found) == 1
        shifts.update(found)
    assert len(shifts) > 15


def test_flip_mirrors_half_of_the_pictures():
    images = np.random.default_rng(0).integers(0, 256, (200, 4, 5, 1), "uint8")
    batch, seed = tf.constant(images), tf.constant([1, 2])
    flipped = Augmentation("pad-crop-flip", padding=0).vary_batch(batch, seed).numpy()
    mirrored = (flipped == images[:, :, ::-1]).all(axis=(1, 2, 3))
    kept = (flipped == images).all(axis=(1, 2, 3))
    assert np.all(np.logical_xor(mirrored, kept))
    assert 60 < sum(mirrored) < 140
    upright = Augmentation("pad-crop-flip", padding=0, flip=False)
    np.testing.assert_array_equal(upright.vary_batch(batch, seed), images)


def test_random_windows_keep_to_scale_and_ratio():
    shape = tf.constant([100, 200, 3])
    windows = np.array(
        [PART.random_window(shape, tf.constant([0, index])) for index in range(300)]
    )
    top, left, height, width = windows.T
    assert np.all(windows >= 0)
    assert np.all(top + height <= 100)
    assert np.all(left + width <= 200)
    share, ratio = height * width / 20000, width / height
    assert 0.07 < share.min() < 0.15
    assert share.max() > 0.5
    assert 0.70 < ratio.min() < 0.8
    assert 1.2 < ratio.max() < 1.40


def test_unknown_augmentation():
    with pytest.raises(InputError, match="Did you mean 'pad-crop-flip'"):
        Augmentation("pad-crop-flop")


# Folders.


def test_folder_of_every_format(photos):
    data = load(f"folder:{photos}", image_size=32)
    assert data.labels == ("cats", "dogs")
    assert data.channels == 3
    assert (data.train_examples, data.validation_examples) == (19, 4)
    assert sorted(data.sample(9)[1].tolist()) == [0, 0, 1, 1]
    images, _ = batches(data, epochs=1, augmentation=PART)[0]
    assert images.shape == (8, 32, 32, 3)
    assert np.isfinite(images).all()
    assert load(f"folder:{photos}").image_size == (224, 224)


def test_folder_split_stays_when_the_folder_moves(photos, tmp_path):
    images, labels = load(f"folder:{photos}", image_size=16).sample(9)
    moved = photos.rename(tmp_path / "elsewhere")
    again = load(f"folder:{moved}", image_size=16)
    assert same([again.sample(9)], [(images, labels)])
    seen, held_out = (
        {images.tobytes() for images, _ in dataset.as_numpy_iterator()}
        for dataset in (
            again.training(
                batch_size=1, seed=0, first_epoch=0, epochs=1, augmentation=PLAIN
            ),
            again.validation(batch_size=1),
        )
    )
    assert (len(seen), len(held_out)) == (19, 4)
    assert not seen & held_out


@pytest.mark.parametrize("held_out", ["validation", "val", "test"])
def test_folder_that_is_split_already(photos, tmp_path, held_out):
    root = tmp_path / "split"
    root.mkdir()
    photos.rename(root / "train")
    write_picture(root / held_out / "dogs/one.jpg")
    data = load(f"folder:{root}", image_size=16)
    assert data.labels == ("cats", "dogs")
    assert (data.train_examples, data.validation_examples) == (23, 1)
    assert data.sample(1)[1].tolist() == [1]
    write_picture(root / held_out / "horses/one.jpg")
    with pytest.raises(InputError, match="class 'horses' of the validation pictures"):
        load(f"folder:{root}")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_evaluation_sees_the_central_part(tmp_path, suffix):
    """Seven eighths of the shorter side, centred: here, exactly the white square."""
    picture = np.zeros((64, 96, 3), "uint8")
    picture[4:60, 20:76] = 255
    encode = tf.io.encode_png if suffix == "png" else tf.io.encode_jpeg
    for label in "ab":
        (tmp_path / label).mkdir()
        for index in range(2):
            path = tmp_path / label / f"{index}.{suffix}"
            path.write_bytes(encode(picture).numpy())
    images, _ = load(f"folder:{tmp_path}", image_size=28).sample(2)
    assert images[:, 1:-1, 1:-1].min() > 250
    assert images.min() > (250 if suffix == "png" else 180)


def test_broken_pictures_are_named_and_left_out(photos, capsys):
    whole = (photos / "cats/0.jpg").read_bytes()
    (photos / "cats/truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "dogs/text.png").write_text("not a picture at all")
    (photos / "dogs/empty.png").touch()
    data = load(f"folder:{photos}", image_size=16)
    assert data.train_examples + data.validation_examples == 23
    printed = capsys.readouterr().err
    for name in ("cats/truncated.jpg", "dogs/text.png", "dogs/empty.png"):
        assert f"{name} cannot be decoded: " in printed
    assert "3 of 26 pictures left out." in printed
    with pytest.raises(InputError, match=r"truncated\.jpg cannot be decoded") as raised:
        load(f"folder:{photos}", strict=True)
    assert "\n" not in str(raised.value)


def test_folders_that_cannot_be_used(photos, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        load(f"folder:{tmp_path}/nowhere")
    with pytest.raises(InputError, match="folder:PATH is needed"):
        load("folder:")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no readable picture was found"):
        load(f"folder:{tmp_path}/empty")
    (photos / "dogs").rename(tmp_path / "dogs")
    with pytest.raises(InputError, match="there is only 'cats'"):
        load(f"folder:{photos}")
    write_picture(photos / "birds/one.jpg")
    with pytest.raises(InputError, match="'birds' has 1 that can be read"):
        load(f"folder:{photos}")


# Data sets of TFDS.


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
        ("undefined_pictures", "uint8 are needed: others may hold NaN"),
        ("coco", "no pair of a picture and a class"),
        ("imdb_reviews", "'text' is Text"),
    ],
)
def test_data_that_is_no_labelled_pictures(spec, reason, data_dir):
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
    monkeypatch.setattr(fashion_mnist, "FOLDER", tmp_path)
    with pytest.raises(InputError, match="Debian's package dataset-fashion-mnist"):
        load("fashion_mnist", data_dir=data_dir)


# Fashion-MNIST from Debian's package.


def test_gzip_header_as_published():
    content = b"pictures" * 100
    stripped = gzip.compress(content, mtime=0)
    restored = fashion_mnist.restore_header(stripped, "train.gz", 1504176606)
    assert gzip.decompress(restored) == content
    assert restored[:4] == b"\x1f\x8b\x08\x08"
    assert struct.unpack("<I", restored[4:8]) == (1504176606,)
    assert restored[8:10] == b"\0\3"
    assert restored[10:16] == b"train\0"
    assert restored[16:] == stripped[10:]


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08\x08 has a name", b"text"])
def test_gzip_header_of_another_kind(content):
    with pytest.raises(InputError, match=r"train\.gz of the package"):
        fashion_mnist.restore_header(content, "train.gz", 0)


@pytest.mark.slow
@pytest.mark.skipif(
    not fashion_mnist.installed(), reason="dataset-fashion-mnist is not installed"
)
def test_fashion_mnist_without_network(no_network, data_dir):
    """TFDS's own builder checks the files' SHA-256."""
    data = load("fashion_mnist", data_dir=data_dir)
    assert (data.train_examples, data.validation_examples) == (60000, 10000)
    assert (data.image_size, data.channels) == ((28, 28), 1)
    assert data.labels[0] == "T-shirt/top"
    # As published for the training pictures.
    np.testing.assert_allclose(data.preprocessing.mean, [0.2860], atol=1e-4)
    np.testing.assert_allclose(data.preprocessing.std, [0.3530], atol=1e-4)
    assert len(data.sample(64)[1]) == 64
