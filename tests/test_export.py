"""Export: what the user names, the serving function, SavedModel, bad input."""

import contextlib
import json
import resource
import subprocess
import sys
import warnings
import zipfile

import keras
import numpy as np
import pytest
from conftest import randomize
from keras import layers

import keras_resnet
from export import onnx, savedmodel
from export.savedmodel import export_savedmodel
from export.signature import make_signature
from export.source import draw_normalization
from export.verify import ParityError, entering
from keras_resnet.errors import InputError
from keras_resnet.preprocessing import Preprocessing
from keras_resnet.saving import Card, save_model

SIZE = (16, 18)
PREPROCESSING = Preprocessing(SIZE, 1.0, "bilinear", (0.1, 0.4, 0.7), (0.2, 0.3, 0.4))
COMMANDS = {onnx.main: "model.onnx", savedmodel.main: "model"}
# Runs a SavedModel in a process where neither Keras nor this package can be imported.
ALONE = """
import sys
sys.modules |= dict.fromkeys(["keras", "keras_resnet", "export"])  # refuses them
import numpy as np
import tensorflow as tf
serve = tf.saved_model.load("model").signatures["serving_default"]
images = np.load("images.npy")
np.save("answer.npy", serve(images=tf.constant(images))["probabilities"].numpy())
"""


def build(**options):
    defaults = {
        "classes": 7,
        "classifier_activation": None,
        "input_shape": (*SIZE, 3),
    }
    model = keras_resnet.build("resnet8", **defaults | options)
    randomize(model)
    return model


def pixels(count=3):
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)


def probabilities(model, pictures):
    images = PREPROCESSING.normalize(pictures)
    return np.asarray(keras.ops.softmax(model(images, training=False)))


@pytest.fixture
def run_folder(tmp_path):
    """A folder as training leaves it, and its model."""
    folder = tmp_path / "run"
    model = build()
    card = Card(
        keras_resnet.get_architecture("resnet8"), tuple("abcdefg"), PREPROCESSING
    )
    save_model(model, folder / "best.keras", card)
    labels = np.zeros(5, "int64")
    np.savez(folder / "validation.npz", images=pixels(5), labels=labels)
    return folder, model


def test_tensorflow_alone_serves_the_folder(tmp_path):
    model = build()
    card = Card(keras_resnet.get_architecture("resnet8"), preprocessing=PREPROCESSING)
    metadata = export_savedmodel(
        model, tmp_path / "model", card=card, preprocess=True, verbose=False
    )
    pictures = pixels()
    np.save(tmp_path / "images.npy", pictures)
    subprocess.run([sys.executable, "-c", ALONE], cwd=tmp_path, check=True)
    answer = np.load(tmp_path / "answer.npy")
    np.testing.assert_allclose(answer, probabilities(model, pictures), atol=1e-6)
    written = json.loads((tmp_path / "model" / "keras_resnet.json").read_text())
    assert written == json.loads(json.dumps(metadata))
    assert written["input"]["dtype"] == "uint8"
    assert written["preprocessing_baked_in"] is True
    assert written["parity"]["max_rel"] < 1e-5


@pytest.mark.parametrize("batch", [1, 3])
def test_savedmodel_gives_logits(batch, tmp_path, pictures):
    import tensorflow as tf

    model = build(classifier_activation="softmax", input_shape=(None, None, 3))
    export_savedmodel(model, tmp_path / "model", output="logits", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    serve = loaded.signatures["serving_default"]
    images = pictures(*SIZE, 3, batch=batch)
    answer = serve(images=tf.constant(images))
    assert list(answer) == ["logits"]
    expected = np.asarray(model(images, training=False))
    softmax = keras.ops.softmax(answer["logits"])
    np.testing.assert_allclose(np.asarray(softmax), expected, atol=1e-6)


@pytest.mark.parametrize("main", COMMANDS)
def test_a_run_folder_or_its_file_is_proven_on_real_images(main, run_folder, capsys):
    folder, _ = run_folder
    out = folder.parent / "out" / COMMANDS[main]
    main([str(folder), "--out", str(out), "--preprocess"])
    assert "5 real and 12 random images" in capsys.readouterr().out
    main([str(folder / "best.keras"), "--out", str(out), "--force"])
    assert "5 real and 12 random images" in capsys.readouterr().out


@pytest.mark.parametrize("baked_in", [False, True])
def test_real_images_enter_as_the_weights_expect_them(baked_in):
    model = build()
    card = Card(keras_resnet.get_architecture("resnet8"), preprocessing=PREPROCESSING)
    signature = make_signature(model, card=card, preprocess=baked_in)
    images = entering(signature, pixels())
    assert images.dtype == ("uint8" if baked_in else "float32")
    np.testing.assert_allclose(
        np.asarray(signature(images)), probabilities(model, pixels()), atol=1e-6
    )


def test_a_folder_of_pictures(run_folder):
    folder, _ = run_folder
    pictures = folder.parent / "pictures"
    (pictures / "cats").mkdir(parents=True)
    for i, size in enumerate([(20, 30), (50, 17)]):
        noise = np.random.default_rng(i).integers(0, 256, (*size, 3))
        keras.utils.save_img(pictures / "cats" / f"{i}.png", noise, scale=False)
    out = folder.parent / "model"
    words = [str(folder), "--out", str(out), "--images", str(pictures)]
    savedmodel.main(words)
    written = json.loads((out / "keras_resnet.json").read_text())
    assert written["parity"]["images"] == {"real": 2, "random": 12}
    (pictures / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"broken\.png cannot be read"):
        savedmodel.main([*words, "--force"])


def test_random_weights_show_every_part_of_normalisation():
    model = keras_resnet.build("resnet8_v2", classifier_activation=None)
    draw_normalization(model)
    for variable in model.weights:
        if variable.name != "bias":
            assert np.ptp(variable.numpy()) > 0.2, variable.path


def test_existing_output_is_refused_before_the_model_is_loaded(tmp_path):
    for main, name in COMMANDS.items():
        out = tmp_path / name
        out.write_text("precious")
        with pytest.raises(InputError, match=f"{name} exists already.*--force"):
            main([str(tmp_path / "missing.keras"), "--out", str(out)])
        assert out.read_text() == "precious"


def damaged(folder):
    """Sources that cannot be used, and what the message says."""
    whole = folder / "run" / "best.keras"
    truncated = folder / "truncated.keras"
    truncated.write_bytes(whole.read_bytes()[:-2000])
    text = folder / "text.keras"
    text.write_text("a text file")
    (folder / "empty").mkdir()
    return {
        folder / "missing.keras": "missing.keras: no such file",
        truncated: "truncated.keras is not a whole .keras file",
        text: "text.keras is not a whole .keras file",
        folder / "empty": "without best.keras",
        "resnet51": "unknown model 'resnet51'.*resnet50",
    }


@pytest.mark.parametrize("main", COMMANDS)
def test_sources_that_cannot_be_used(main, run_folder):
    folder = run_folder[0].parent
    for source, message in damaged(folder).items():
        with pytest.raises(InputError, match=message):
            main([str(source), "--out", str(folder / "out" / COMMANDS[main])])
        assert not (folder / "out").exists()


def test_images_that_cannot_be_used(run_folder):
    folder, _ = run_folder
    here = folder.parent
    np.savez(here / "floats.npz", images=np.zeros((2, *SIZE, 3)))
    np.savez(here / "small.npz", images=np.zeros((2, 8, 8, 3), "uint8"))
    np.savez(here / "none.npz", images=np.zeros((0, *SIZE, 3), "uint8"))
    np.savez(here / "pickled.npz", images=np.array([{}], object))
    np.savez(here / "other.npz", pictures=pixels())
    (here / "text.npz").write_text("a text file")
    for name in ("floats", "small", "none", "pickled", "other", "text", "missing"):
        path = here / f"{name}.npz"
        with pytest.raises(InputError, match=f"images={path}"):
            words = [str(folder), "--out", str(here / "m"), "--images", str(path)]
            savedmodel.main(words)
    (here / "empty").mkdir()
    with pytest.raises(InputError, match="0 pictures"):
        savedmodel.main([*words[:-1], str(here / "empty")])
    assert not (here / "m").exists()


def models_that_cannot_be_served():
    vector = keras.Sequential([keras.Input((5,)), layers.Dense(3)])
    images = keras.Input((*SIZE, 3))
    maps = keras.Model(images, layers.Conv2D(3, 1)(images))
    pooled = layers.GlobalAveragePooling2D()(images)
    two = keras.Model(images, [layers.Dense(3)(pooled), layers.Dense(3)(pooled)])
    sigmoid = keras.Model(images, layers.Dense(3, activation="sigmoid")(pooled))
    features = keras.Model(images, pooled)
    unbuilt = keras.Sequential([layers.Dense(3)])
    broken = build()
    broken.layers[1].kernel.assign(broken.layers[1].kernel * np.nan)
    return {
        vector: r"takes \(None, 5\).*images",
        maps: r"gives \(None, 16, 18, 3\).*classes",
        two: "1 inputs and 2 outputs",
        sigmoid: "ends in Dense.*cannot be told",
        features: "ends in GlobalAveragePooling2D",
        unbuilt: "a functional or sequential one",
        broken: "conv1/kernel holds NaN",
    }


def test_models_that_cannot_be_served(tmp_path):
    for model, message in models_that_cannot_be_served().items():
        with pytest.raises(InputError, match=message):
            export_savedmodel(model, tmp_path / "model", verbose=False)
    assert not list(tmp_path.iterdir())


@contextlib.contextmanager
def full_disk(limit):
    """Files cannot grow beyond `limit` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("main", COMMANDS)
def test_a_full_disk_leaves_nothing(main, tmp_path):
    out = tmp_path / "out" / COMMANDS[main]
    with full_disk(100_000), pytest.raises(InputError, match="cannot write") as caught:
        main(["resnet8", "--out", str(out)])
    assert "\n" not in str(caught.value)
    assert not list(out.parent.iterdir())


@pytest.mark.parametrize("main", COMMANDS)
def test_an_output_below_a_file_is_refused(main, tmp_path):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / COMMANDS[main]
    with pytest.raises(InputError, match="cannot write"):
        main(["resnet8", "--out", str(out)])


def test_a_failed_proof_keeps_the_earlier_folder(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_text("")
    with pytest.raises(ParityError, match="differs from the model"):
        export_savedmodel(
            build(), tmp_path / "model", tolerance=1e-12, force=True, verbose=False
        )
    assert [one.name for one in tmp_path.rglob("*")] == ["model", "saved_model.pb"]


def test_force_spares_what_no_export_wrote(tmp_path):
    """A run folder, or one with other exports in it."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "best.keras").write_text("")
    with pytest.raises(InputError, match=r"best\.keras, which no export wrote"):
        savedmodel.main(["resnet8", "--out", str(tmp_path / "mine"), "--force"])
    (tmp_path / "mine.onnx").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        onnx.main(["resnet8", "--out", str(tmp_path / "mine.onnx"), "--force"])
    assert (tmp_path / "mine" / "best.keras").exists()


@pytest.mark.parametrize(
    "card",
    ["not JSON", "[1]", '{"architecture": 1}', '{"preprocessing": {"std": [0]}}'],
)
def test_a_damaged_card_is_one_clear_line(card, tmp_path):
    path = tmp_path / "model.keras"
    save_model(build(), path, Card(keras_resnet.get_architecture("resnet8")))
    record = json.loads(zipfile.ZipFile(path).read("assets/card.json"))
    if card.startswith("{"):
        card = json.dumps(record | json.loads(card))
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the last of two members is read
        archive.writestr("assets/card.json", card)
    with pytest.raises(InputError, match="card"):
        onnx.main([str(path), "--out", str(tmp_path / "model.onnx")])


@pytest.mark.parametrize("module", ["export.onnx", "export.savedmodel"])
def test_a_wrong_flag_is_one_line_and_status_2(module, tmp_path):
    command = [sys.executable, "-m", module, "resnet8", "--out", "x", "--opset", "18"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1
