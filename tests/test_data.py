"""Data for training: what comes out, and in which order."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from data_sets import PART, PLAIN, batches, same

from keras_resnet.common.errors import InputError
from keras_resnet.training import augment
from keras_resnet.training.augment import Augmentation
from keras_resnet.training.data import load

CROP = Augmentation("pad-crop-flip", padding=2)


@pytest.fixture(scope="module")
def digits(data_dir):
    return load("digits", data_dir=data_dir)


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
    assert digits.input_shape == (8, 8, 1)
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
    assert data.input_shape == (12, 12, 1)
    assert data.sample(3)[0].shape == (3, 12, 12, 1)
    assert batches(data, epochs=1)[0][0].shape == (8, 12, 12, 1)


# Order and randomness.


@pytest.mark.parametrize("augmentation", [PLAIN, CROP, PART], ids=lambda a: a.name)
@pytest.mark.parametrize("spec", ["digits", "assorted_images", "folder"])
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


@pytest.mark.parametrize("spec", ["assorted_images", "folder"])
def test_an_epoch_sees_each_image_at_most_once(spec, data_dir, photos):
    spec = f"folder:{photos}" if spec == "folder" else spec
    data = load(spec, data_dir=data_dir, image_size=8)
    batch_size = 6
    steps = data.steps_per_epoch(batch_size)
    seen = batches(data, epochs=2, batch_size=batch_size)
    for epoch in (seen[:steps], seen[steps:]):
        distinct = {image.tobytes() for images, _ in epoch for image in images}
        assert len(distinct) == steps * batch_size
    assert data.train_examples - steps * batch_size < batch_size


@pytest.mark.parametrize("batch_size", [0, 1443])
def test_a_batch_that_the_data_cannot_fill(digits, batch_size):
    with pytest.raises(InputError, match=f"batch_size={batch_size}: 1 to 1442"):
        digits.steps_per_epoch(batch_size)


# Augmentation.


def test_pad_and_crop_moves_images():
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


def test_flip_mirrors_half_of_the_images():
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
