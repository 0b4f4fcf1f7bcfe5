"""Images as a set of weights expects them, against timm's transforms and Pillow."""

import base64
import contextlib
import functools
import json
import os
import subprocess
import sys
import zlib
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_resnet
from keras_resnet.common.errors import InputError
from keras_resnet.images.files import (
    check_images,
    find_images,
    read_image,
    read_images,
    read_npz,
)
from keras_resnet.images.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
    preprocess,
)
from keras_resnet.saving import Card, attach

ROOT = Path(__file__).parent
GOLDEN = json.loads((ROOT / "golden/preprocessing.json").read_text())
RECORD = Preprocessing((224, 224), 0.875, "bicubic", IMAGENET_MEAN, IMAGENET_STD)
LEVELS = replace(RECORD, mean=(0,) * 3, std=(1 / 255,) * 3)  # the network gets 0..255
CAFFE = (103.939, 116.779, 123.68)  # keras.applications' means, blue first


@functools.cache
def photograph(name: str) -> np.ndarray:
    """One of scikit-learn's two sample photographs."""
    return read_image(files("sklearn.datasets.images") / f"{name}.jpg")


def cut_out(case: dict) -> np.ndarray:
    left, top, right, bottom = case["box"]
    return photograph(case["image"])[top:bottom, left:right]


def record(case: dict) -> Preprocessing:
    size = (case["size"],) * 2
    return replace(
        LEVELS, size=size, crop=case["crop"], interpolation=case["interpolation"]
    )


def hold(levels: np.ndarray, case: dict) -> None:
    """Raises unless images of 0..255 are timm's."""
    expected = zlib.decompress(base64.b64decode(case["pixels"]))
    expected = np.frombuffer(expected, "uint8").reshape(-1, 3)
    pixels = levels.reshape(-1, 3)
    difference = np.abs(pixels[:: GOLDEN["step"]] - expected)
    assert difference.max() <= 1.01
    assert np.mean(difference < 0.01) > 0.998
    np.testing.assert_allclose(pixels.mean(0, "float64"), case["means"], atol=2e-3)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["image"])
def test_photographs_come_out_as_from_timm(case):
    levels = np.asarray(record(case)(cut_out(case)))
    assert levels.shape == (1, case["size"], case["size"], 3)
    hold(levels, case)


def test_normalised_values_are_timms():
    case, golden = GOLDEN["cases"][0], GOLDEN["normalized"]
    mean, std = golden["mean"], golden["std"]
    images = replace(record(case), mean=tuple(mean), std=tuple(std))(cut_out(case))
    assert keras.backend.standardize_dtype(images.dtype) == "float32"
    pixels = np.asarray(images).reshape(-1, 3)[:: golden["step"]]
    level = 1 / 255 / min(std)
    np.testing.assert_allclose(pixels, golden["pixels"], atol=1.01 * level)
    assert np.median(np.abs(pixels - golden["pixels"])) < 1e-5


def test_a_tf_data_map_knows_no_sizes():
    """Files of several sizes, decoded, prepared and batched inside the pipeline."""
    import tensorflow as tf

    cases = [case for case in GOLDEN["cases"] if case["size"] == 224]
    prepare = replace(LEVELS, crop=0.95)
    chosen = [case for case in cases if case["crop"] == 0.95]
    encoded = [tf.io.encode_png(cut_out(case)).numpy() for case in chosen]

    def load(content):
        return preprocess(tf.io.decode_png(content, channels=3), prepare)

    pipeline = tf.data.Dataset.from_tensor_slices(encoded).map(load).unbatch()
    assert pipeline.element_spec.shape == (224, 224, 3)
    images = next(iter(pipeline.batch(len(chosen)))).numpy()
    for one, case in zip(images, chosen, strict=True):
        hold(one, case)


def test_one_image_a_batch_and_a_list_are_the_same():
    china, flower = photograph("china"), photograph("flower")
    both = np.asarray(RECORD(np.stack([china, flower])))
    np.testing.assert_array_equal(np.asarray(RECORD(flower))[0], both[1])
    listed = [Image.fromarray(china), flower, china[:50]]
    np.testing.assert_array_equal(np.asarray(RECORD(listed))[:2], both)
    grey = replace(RECORD, mean=(0.5,), std=(0.2,))
    assert np.asarray(grey(china[..., :1])).shape == (1, 224, 224, 1)


@pytest.mark.parametrize("shape", [(1, 1), (3, 4000), (2000, 2), (1, 60000)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_extreme_shapes_equal_pillow(shape, interpolation):
    """A single pixel, and strips whose positions would overflow 32 bits."""
    height, width = shape
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (*shape, 3), dtype=np.uint8)
    resized = max(8, width * 8 // height), max(8, height * 8 // width)
    kind = getattr(Image.Resampling, interpolation.upper())
    expected = np.asarray(Image.fromarray(image).resize(resized, kind))
    left, top = (round((side - 8) / 2) for side in resized)
    expected = expected[top : top + 8, left : left + 8]
    record = replace(LEVELS, size=(8, 8), crop=1.0, interpolation=interpolation)
    difference = np.abs(np.asarray(record(image))[0] - expected)
    assert difference.max() <= 1.01
    assert np.mean(difference < 0.01) > 0.99


def test_caffes_order_equals_keras_applications():
    pixels = photograph("china")[None, :100, :100]
    mean, std = tuple(value / 255 for value in CAFFE), (1 / 255,) * 3
    record = replace(RECORD, mean=mean, std=std, channel_order="bgr")
    expected = keras.applications.resnet.preprocess_input(pixels.astype("float32"))
    np.testing.assert_allclose(
        np.asarray(record.normalize(pixels)), expected, atol=1e-4
    )


def test_records_survive_json_and_older_ones_are_read():
    record = replace(RECORD, channel_order="bgr")
    written = json.loads(json.dumps(record.to_json()))
    assert Preprocessing.from_json(written) == record
    del written["channel_order"]
    assert Preprocessing.from_json(written) == RECORD
    with pytest.raises(InputError, match="unknown entry 'gamma'"):
        Preprocessing.from_json(written | {"gamma": 2.2})


@pytest.mark.parametrize(
    "change, words",
    [
        ({"interpolation": "nearest"}, "interpolation='nearest'.*bicubic"),
        ({"channel_order": "grb"}, "channel_order='grb'.*bgr"),
        ({"crop": 0}, r"crop=0.*\(0, 1\]"),
        ({"size": (224,)}, r"size=\(224,\).*two whole numbers"),
        ({"std": (1, 1)}, r"std=\(1, 1\).*a channel"),
        ({"size": None}, "size=None"),
        ({"mean": 0.5}, "mean=0.5"),
    ],
)
def test_a_wrong_record_is_refused(change, words):
    with pytest.raises(InputError, match=words):
        replace(RECORD, **change)


@pytest.mark.parametrize(
    "images, words",
    [
        (np.zeros((8, 8, 3)), "float64.*uint8 images"),
        (np.zeros((8, 8), "uint8"), r"uint8 of \(8, 8\).*channels"),
        (np.zeros((8, 8, 4), "uint8"), "4 channels.*the weights take 3"),
        (np.zeros((0, 8, 3), "uint8"), r"\(0, 8, 3\)"),
        ([], "one image or more"),
        ("photo.jpg", "images"),
    ],
)
def test_wrong_images_are_refused(images, words):
    with pytest.raises(InputError, match=words):
        RECORD(images)


def test_weights_are_a_tag_a_model_or_a_record():
    china = photograph("china")
    expected = np.asarray(replace(RECORD, crop=0.95)(china))
    for tag in ("resnet50.a1_in1k", "timm/resnet50.a1_in1k"):
        np.testing.assert_array_equal(np.asarray(preprocess(china, tag)), expected)
    model = keras.Sequential([keras.Input((96, 128, 3)), keras.layers.Flatten()])
    for weights in (model, keras_resnet.get_architecture("resnet8"), 3):
        with pytest.raises(InputError, match=r"weights=.*card"):
            preprocess(china, weights)
    attach(model, Card(keras_resnet.get_architecture("resnet8"), (), RECORD))
    assert preprocess(china, model).shape == (1, 96, 128, 3)  # the model's own size
    with pytest.raises(InputError, match=r"resnet50\.a1_in1k"):
        preprocess(china, "resnet50")


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1"])
def test_images_of_every_mode_are_read(mode, tmp_path):
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    whole = Image.fromarray(photograph("china"))
    whole.convert(mode).save(path)
    image = read_image(path)
    assert (image.dtype, image.shape) == (np.uint8, (427, 640, 3))
    if mode in ("RGBA", "CMYK"):
        np.testing.assert_array_equal(image, photograph("china"))
    assert read_image(path, channels=1).shape == (427, 640, 1)


def test_orientation_and_depth(tmp_path):
    whole = Image.fromarray(photograph("china"))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees to see it upright
    whole.save(tmp_path / "turned.png", exif=exif)
    upright = np.rot90(photograph("china"), -1)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), upright)
    deep = photograph("china")[..., 0].astype("uint16") * 256 + 7
    Image.fromarray(deep).save(tmp_path / "deep.png")
    expected = photograph("china")[..., :1]
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png", 1), expected)


def test_folders_and_files_are_found(photos):
    paths = find_images([photos / "dogs/0.png", photos / "cats"])
    assert paths[0] == photos / "dogs/0.png"
    assert [path.name for path in paths[1:3]] == ["0.jpg", "1.jpg"]
    assert photos / "cats/deep/grey.png" in paths and len(paths) == 13
    with pytest.raises(InputError, match="no such file"):
        find_images([photos / "birds"])
    with pytest.raises(InputError, match="no images in it"):
        find_images([photos / ".cache"])
    with pytest.raises(InputError, match=r"notes\.txt cannot be read as an image"):
        read_image(photos / "dogs/notes.txt")


def test_images_and_labels_of_an_npz(tmp_path):
    path = tmp_path / "validation.npz"
    batch = np.zeros((5, 8, 9, 3), "uint8")
    np.savez(path, images=batch)
    images, labels = read_npz(path)
    assert images.shape == batch.shape and labels is None
    np.savez(path, images=batch, labels=[1, 0, 2, 1, 0])
    for read in (read_npz, read_images):
        images, labels = read(path, 3)
        assert images.shape == (3, 8, 9, 3)
        np.testing.assert_array_equal(labels, [1, 0, 2])
    check_images(images, (8, 9, 3))
    check_images(images, (None, None, 3))
    check_images(images.astype("float32"), (8, 9, 3), np.float32)


@pytest.mark.parametrize(
    "arrays, words",
    [
        (None, "cannot be read.*`images`"),
        ({"labels": np.ones(3)}, "cannot be read.*`images`"),
        ({"images": np.array([{}, {}])}, "cannot be read.*pickle"),
        ({"images": np.array(3)}, "cannot be read"),
        ({"images": np.ones((5, 2)), "labels": np.ones(5)}, "labels are float64 of"),
        ({"images": np.ones((5, 2)), "labels": [1, 2, 3, 4]}, "each of 5 images"),
    ],
)
def test_an_npz_that_cannot_be_read(arrays, words, tmp_path):
    path = tmp_path / "arrays.npz"
    path.write_bytes(b"no archive")
    if arrays:
        np.savez(path, **arrays)
    with pytest.raises(InputError, match=rf"images=.*arrays\.npz.*{words}"):
        read_npz(path, 2)


def test_a_damaged_or_absent_npz(tmp_path):
    """Each cut and each turned byte is read or refused, never another error."""
    path = tmp_path / "arrays.npz"
    with pytest.raises(InputError, match=r"arrays\.npz cannot be read"):
        read_npz(path)
    np.savez_compressed(path, images=np.arange(300).reshape(10, 30), labels=range(10))
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        turned = bytearray(whole)
        turned[position] ^= 0xFF
        for content in (whole[:position], turned):
            path.write_bytes(content)
            with contextlib.suppress(InputError):
                read_npz(path)


@pytest.mark.parametrize(
    "images, words",
    [
        (np.zeros((2, 8, 8, 3)), r"float64 of \(2, 8, 8, 3\); uint8 of"),
        (np.zeros((2, 9, 8, 3), "uint8"), r"uint8 of \(None, 8, None, 3\) is needed"),
        (np.zeros((2, 8, 8, 4), "uint8"), r"of \(2, 8, 8, 4\)"),
        (np.zeros((8, 8, 3), "uint8"), r"of \(8, 8, 3\)"),
        (np.zeros((0, 8, 8, 3), "uint8"), r"of \(0, 8, 8, 3\)"),
    ],
)
def test_batches_that_are_not_what_is_needed(images, words):
    with pytest.raises(InputError, match=f"images=here: .*{words}"):
        check_images(images, (8, None, 3), source="here")


def test_images_of_a_folder_have_no_labels(photos):
    images, labels = read_images(photos / "cats", 2, channels=1)
    assert [image.shape[-1] for image in images] == [1, 1] and labels is None
    assert len(read_images(photos / "cats")[0]) == 12
    assert len(read_images(photos / "cats/0.jpg")[0]) == 1


@pytest.mark.slow
def test_jax_gives_the_same(tmp_path):
    program = (
        "import json, numpy as np; from keras_resnet.images.preprocessing import *;"
        "record = Preprocessing((224, 224), 0.875, 'bicubic', (0.,) * 3, (1.,) * 3);"
        "image = np.load('image.npy'); import jax;"
        "np.save('eager.npy', record(image)); np.save('jit.npy', "
        "jax.jit(record.__call__)(image))"
    )
    np.save(tmp_path / "image.npy", photograph("china"))
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    command = [sys.executable, "-c", program]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    expected = np.asarray(replace(LEVELS, std=(1.0,) * 3)(photograph("china")))
    for name in ("eager", "jit"):
        difference = np.abs(np.load(tmp_path / f"{name}.npy") - expected)
        assert difference.max() * 255 <= 1.01 and np.mean(difference < 1e-6) > 0.998
