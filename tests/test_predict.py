"""`python -m keras_resnet.predict`, from files of images to names."""

import csv
import io
import os
import subprocess
import sys
from importlib.resources import files

import keras
import numpy as np
import pytest
from conftest import randomize
from PIL import Image

import keras_resnet
from keras_resnet.common.errors import InputError
from keras_resnet.images.files import read_image
from keras_resnet.images.labels import decode_predictions
from keras_resnet.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from keras_resnet.predict import HEADER, main
from keras_resnet.saving import Card, attach, save_model

NAMES = ("china", "flower")


def photograph(name: str) -> np.ndarray:
    return read_image(files("sklearn.datasets.images") / f"{name}.jpg")


def crops(name: str, count: int, seed: int) -> list[np.ndarray]:
    """Squares of various sizes out of one of scikit-learn's photographs."""
    generator, whole = np.random.default_rng(seed), photograph(name)
    corners = generator.integers(0, (200, 400), (count, 2))
    sides = generator.integers(80, 220, count)
    return [
        whole[y : y + side, x : x + side]
        for (y, x), side in zip(corners, sides, strict=True)
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A file of a small network that has learnt to tell the two photographs apart."""
    preprocessing = Preprocessing(
        (32, 32), 0.875, "bicubic", IMAGENET_MEAN, IMAGENET_STD
    )
    keras.utils.set_random_seed(0)
    model = keras_resnet.build("resnet8", classes=2)
    net = keras_resnet.get_architecture("resnet8")
    attach(model, Card(net, NAMES, preprocessing))
    images = preprocessing(crops("china", 24, 0) + crops("flower", 24, 1))
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(np.asarray(images), np.repeat([0, 1], 24), epochs=12, verbose=0)
    path = tmp_path_factory.mktemp("trained") / "model.keras"
    save_model(model, path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Five unseen crops of either photograph, and two files that are no images."""
    folder = tmp_path / "crops"
    (folder / "deep").mkdir(parents=True)
    for seed, name in enumerate(NAMES, start=2):
        for i, crop in enumerate(crops(name, 5, seed)):
            Image.fromarray(crop).save(folder / f"{name}{i}.png")
    (folder / "flower0.png").rename(folder / "deep" / "flower0.png")
    (folder / "broken.jpg").write_bytes(b"no image")
    (folder / "notes.txt").write_text("not looked at")
    return folder


def table(text: str) -> list[dict]:
    reader = csv.DictReader(io.StringIO(text))
    rows = list(reader)
    assert tuple(reader.fieldnames) == HEADER
    return rows


def test_a_folder_makes_a_table(trained, folder, capsys, monkeypatch):
    """Every unseen crop is told; what cannot be read is named; progress is shown."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    words = [str(folder), "--weights", str(trained), "--batch-size", "4"]
    main(words)
    printed = capsys.readouterr()
    rows = table(printed.out)
    assert "broken.jpg cannot be read" in printed.err
    assert "notes.txt" not in printed.err
    assert "0/11 [" in printed.err
    assert "11/11" in printed.err
    assert len(rows) == 20
    best = [row for row in rows if row["rank"] == "1"]
    assert len(best) == 10
    right = [row["name"] in row["file"].rpartition("/")[2] for row in best]
    assert sum(right) >= 8
    for row in best:
        assert row["class"] == str(NAMES.index(row["name"]))
        assert 0.5 < float(row["probability"]) <= 1

    out = folder / "predictions.csv"
    main([*words, "--out", str(out), "--top", "1"])
    assert capsys.readouterr().out == ""
    assert table(out.read_text()) == best
    with pytest.raises(InputError, match=r"predictions\.csv exists already.*--force"):
        main([*words, "--out", str(out)])
    main([*words, "--out", str(out), "--force"])
    assert table(out.read_text()) == rows


def test_a_name_that_is_not_utf8(trained, folder):
    odd = folder / "deep" / os.fsdecode(b"\xff.png")
    (folder / "deep" / "flower0.png").rename(odd)
    out = folder / "odd.csv"
    main([str(odd.parent), "--weights", str(trained), "--out", str(out)])
    assert b"\xff.png,1," in out.read_bytes()


def test_photographs_make_lines(trained, capsys):
    paths = [str(files("sklearn.datasets.images") / f"{name}.jpg") for name in NAMES]
    main([*paths, "--weights", str(trained), "--model", "resnet8"])
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[3]) == tuple(paths)
    for line, name in ((lines[1], "china"), (lines[4], "flower")):
        rank, share, found = line.split()
        assert (rank, found) == ("1", name) and float(share.rstrip("%")) > 50


def top_lines(text: str) -> list[tuple[str, float]]:
    """Name and percentage of every line but the first, which is the file's."""
    lines = [line.split(maxsplit=2) for line in text.splitlines()[1:]]
    return [(name, float(share.rstrip("%"))) for _, share, name in lines]


def test_safetensors_in_a_process_of_its_own(tmp_path):
    """Preprocessing is the architecture's default, the names are ImageNet's."""
    model = keras_resnet.build("test_resnet")
    randomize(model)
    keras_resnet.export_weights(model, tmp_path / "own.safetensors")
    photo = files("sklearn.datasets.images") / "china.jpg"
    command = [sys.executable, "-m", "keras_resnet.predict", str(photo)]
    command += ["--model", "test_resnet", "--weights", "own.safetensors"]
    ended = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    images = keras_resnet.preprocess(photograph("china"), "test_resnet.r160_in1k")
    (expected,) = decode_predictions(model.predict_on_batch(images))
    found = top_lines(ended.stdout)
    assert [name for name, _ in found] == [name for _, name, _ in expected]
    shares = [100 * probability for *_, probability in expected]
    np.testing.assert_allclose([share for _, share in found], shares, atol=0.011)


def test_another_number_of_classes(tmp_path, capsys):
    """It must be said: a re-initialised classifier would name classes at random."""
    model = keras_resnet.build("test_resnet", classes=3)
    path = tmp_path / "model.safetensors"
    keras_resnet.export_weights(model, path)
    photo = str(files("sklearn.datasets.images") / "china.jpg")
    words = [photo, "--model", "test_resnet", "--weights", str(path)]
    with pytest.raises(InputError, match=r"classes=None: .*has 3 classes"):
        main(words)
    main([*words, "--classes", "3"])
    found = top_lines(capsys.readouterr().out)
    assert sorted(name for name, _ in found) == ["class 0", "class 1", "class 2"]


def test_what_cannot_be_used(trained, folder, tmp_path):
    weights = ["--weights", str(trained)]
    for words, message in (
        ([*weights], "0 images.*1 or more"),
        ([str(folder), *weights, "--top", "0"], "top=0"),
        ([str(folder / "none.jpg"), *weights], r"none\.jpg: no such file"),
        ([str(folder / "broken.jpg"), *weights], "none of the 1 images"),
        ([str(folder), *weights, "--model", "resnet20"], "resnet20.*holds 'resnet8'"),
        ([str(folder), *weights, "--model", "resnet9"], "unknown model 'resnet9'"),
        ([str(folder), "--weights", "own.safetensors"], "--model is needed"),
        ([str(folder), "--weights", "x.keras"], r"x\.keras: no such file"),
    ):
        with pytest.raises(InputError, match=message):
            main(words)
    bare = tmp_path / "bare.keras"
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()]).save(bare)
    with pytest.raises(InputError, match="say nothing of how images are prepared"):
        main([str(folder), "--weights", str(bare)])
    out = tmp_path / "out.csv"
    with pytest.raises(InputError, match="none of the 1 images"):
        main([str(folder / "broken.jpg"), *weights, "--out", str(out)])
    assert not out.exists()


def test_a_wrong_call_is_answered_before_keras_is_imported(tmp_path):
    command = [sys.executable, "-X", "importtime", "-m", "keras_resnet.predict"]
    for words in (["--help"], ["nowhere.jpg", "--weights", "resnet50.a1_in1k"]):
        ended = subprocess.run([*command, *words], capture_output=True, text=True)
        assert ended.returncode == (0 if words == ["--help"] else 2)
        assert "| keras\n" not in ended.stderr and "| numpy\n" not in ended.stderr
