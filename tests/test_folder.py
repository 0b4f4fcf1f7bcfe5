"""A user's own images in folders: formats, split, what is refused."""

import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from data_sets import PART, PLAIN, batches, same, write_image
from PIL import Image

from keras_resnet.common.errors import InputError
from keras_resnet.images.files import SUFFIXES
from keras_resnet.training.data import load


def test_folder_of_every_format(photos):
    data = load(f"folder:{photos}", image_size=32)
    assert data.labels == ("cats", "dogs")
    assert data.input_shape == (32, 32, 3)
    assert (data.train_examples, data.validation_examples) == (19, 4)
    assert sorted(data.sample(9)[1].tolist()) == [0, 0, 1, 1]
    images, _ = batches(data, epochs=1, augmentation=PART)[0]
    assert images.shape == (8, 32, 32, 3)
    assert np.isfinite(images).all()
    assert load(f"folder:{photos}").input_shape == (224, 224, 3)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_image_is_used_or_named(photos, capsys, suffix):
    """TensorFlow's decoder reads no TIFF, and says so."""
    image = Image.fromarray(np.full((30, 20, 3), 77, "uint8"))
    image.save(photos / f"cats/another{suffix.upper()}")
    data = load(f"folder:{photos}", image_size=16)
    printed = capsys.readouterr().err
    if suffix in (".tif", ".tiff"):
        assert data.train_examples + data.validation_examples == 23
        assert f"another{suffix.upper()} cannot be decoded: " in printed
    else:
        assert data.train_examples + data.validation_examples == 24
        assert printed == ""
        assert np.isfinite(np.stack([x for x, _ in batches(data, epochs=1)])).all()


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
    write_image(root / held_out / "dogs/one.jpg")
    data = load(f"folder:{root}", image_size=16)
    assert data.labels == ("cats", "dogs")
    assert (data.train_examples, data.validation_examples) == (23, 1)
    assert data.sample(1)[1].tolist() == [1]
    write_image(root / held_out / "horses/one.jpg")
    with pytest.raises(InputError, match="class 'horses' of the validation images"):
        load(f"folder:{root}")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_evaluation_sees_the_central_part(tmp_path, suffix):
    """Seven eighths of the shorter side, centred: here, exactly the white square."""
    image = np.zeros((64, 96, 3), "uint8")
    image[4:60, 20:76] = 255
    encode = tf.io.encode_png if suffix == "png" else tf.io.encode_jpeg
    for label in "ab":
        (tmp_path / label).mkdir()
        for index in range(2):
            path = tmp_path / label / f"{index}.{suffix}"
            path.write_bytes(encode(image).numpy())
    images, _ = load(f"folder:{tmp_path}", image_size=28).sample(2)
    assert images[:, 1:-1, 1:-1].min() > 250
    assert images.min() > (250 if suffix == "png" else 180)


def test_a_name_that_is_no_unicode_and_a_dangling_link(photos, capsys):
    shutil.copy(photos / "cats/0.jpg", os.fsencode(photos) + b"/cats/\xff.jpg")
    (photos / "cats/nowhere.jpg").symlink_to("/nowhere.jpg")
    data = load(f"folder:{photos}", image_size=16)
    assert "1 of 25 images left out" in capsys.readouterr().err
    assert len(batches(data, epochs=1)) == data.steps_per_epoch(8)


def test_broken_images_are_named_and_left_out(photos, capsys):
    whole = (photos / "cats/0.jpg").read_bytes()
    (photos / "cats/truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "dogs/text.png").write_text("not an image at all")
    (photos / "dogs/empty.png").touch()
    data = load(f"folder:{photos}", image_size=16)
    assert data.train_examples + data.validation_examples == 23
    printed = capsys.readouterr().err
    for name in ("cats/truncated.jpg", "dogs/text.png", "dogs/empty.png"):
        assert f"{name} cannot be decoded: " in printed
    assert "3 of 26 images left out." in printed
    with pytest.raises(InputError, match=r"truncated\.jpg cannot be decoded") as raised:
        load(f"folder:{photos}", strict=True)
    assert "\n" not in str(raised.value)


def test_folders_that_cannot_be_used(photos, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        load(f"folder:{tmp_path}/nowhere")
    with pytest.raises(InputError, match="folder:PATH is needed"):
        load("folder:")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no readable image was found"):
        load(f"folder:{tmp_path}/empty")
    (photos / "dogs").rename(tmp_path / "dogs")
    with pytest.raises(InputError, match="there is only 'cats'"):
        load(f"folder:{photos}")
    write_image(photos / "birds/one.jpg")
    with pytest.raises(InputError, match="'birds' has 1 that can be read"):
        load(f"folder:{photos}")
