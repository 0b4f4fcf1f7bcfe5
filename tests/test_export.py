"""Export: what the user names, the serving function, SavedModel, bad input."""

import contextlib
import hashlib
import json
import re
import resource
import subprocess
import sys
import warnings
import zipfile
from dataclasses import replace
from datetime import datetime

import keras
import numpy as np
import onnx_ir as ir
import pytest
from conftest import randomize
from keras import layers
from onnx import numpy_helper

import keras_resnet
from export import ExportConfig, export, onnx, savedmodel
from export.graph import convert as graph_convert
from export.model.signature import make_signature
from export.model.source import randomize_normalization
from export.parity.images import as_input
from export.runtime import Session
from keras_resnet.architectures import get_architecture
from keras_resnet.common import files
from keras_resnet.common.errors import InputError, ParityError
from keras_resnet.complexity import count
from keras_resnet.images.preprocessing import Preprocessing
from keras_resnet.saving import Card, read_card, save_model
from keras_resnet.weights import download

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


def probabilities(model, random_images):
    images = PREPROCESSING.normalize(random_images)
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
    config = ExportConfig(preprocess="normalize", verbose=False)
    metadata = export(model, tmp_path / "model", config, card=card)
    random_images = pixels()
    np.save(tmp_path / "images.npy", random_images)
    subprocess.run([sys.executable, "-c", ALONE], cwd=tmp_path, check=True)
    answer = np.load(tmp_path / "answer.npy")
    np.testing.assert_allclose(answer, probabilities(model, random_images), atol=1e-6)
    written = json.loads((tmp_path / "model" / "keras_resnet.json").read_text())
    assert written == json.loads(json.dumps(metadata))
    assert written["input"]["dtype"] == "uint8"
    assert written["preprocess"] == "normalize"
    assert written["parameters"] == model.count_params()
    assert written["parity"]["max_rel"] < 1e-5


@pytest.mark.parametrize("batch", [1, 3])
def test_savedmodel_gives_logits(batch, tmp_path, random_images):
    import tensorflow as tf

    model = build(classifier_activation="softmax", input_shape=(None, None, 3))
    export(model, tmp_path / "model", ExportConfig(output="logits", verbose=False))
    loaded = tf.saved_model.load(tmp_path / "model")
    serve = loaded.signatures["serving_default"]
    images = random_images(*SIZE, 3, batch=batch)
    answer = serve(images=tf.constant(images))
    assert list(answer) == ["logits"]
    expected = np.asarray(model(images, training=False))
    softmax = keras.ops.softmax(answer["logits"])
    np.testing.assert_allclose(np.asarray(softmax), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["model.onnx", "model"])
def test_the_suffix_tells_the_format(name, tmp_path, capsys):
    model = build(input_shape=(None, None, 3))
    config = ExportConfig(output="logits", input_size=(33, 33), verify=False)
    metadata = export(model, tmp_path / name, config, origin={"source": "mine"})
    assert (tmp_path / name).is_file() == name.endswith(".onnx")
    assert metadata["input"]["shape"] == [None, 33, 33, 3]
    assert metadata["origin"]["source"] == "mine"
    printed = capsys.readouterr().out
    assert re.search(rf"{name}: \d\.\d MB", printed)
    assert "not verified against the model" in printed


def test_suffixes_and_options_of_no_format(tmp_path):
    with pytest.raises(InputError, match=r"the suffix tells .*\.onnx, \.tflite, \.xml"):
        export(build(), tmp_path / "model.pb")
    with pytest.raises(
        InputError, match=r"config=OnnxConfig: \.tflite takes ExportConfig"
    ):
        export(build(), tmp_path / "model.tflite", onnx.OnnxConfig())
    for options in ({"tolerance": 0}, {"batch": 0}, {"output": "labels"}):
        with pytest.raises(InputError, match=next(iter(options))):
            ExportConfig(**options)


def test_importing_the_package_loads_no_library():
    check = "import export, sys; export.__all__; print(*sys.modules, *dir(export))"
    words = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"keras", "tensorflow", "numpy", "onnxruntime"} & {*words}
    assert {"export", "ExportConfig", "load"} < {*words}


@pytest.mark.parametrize("main", COMMANDS)
def test_a_run_folder_or_its_file_is_verified_on_real_images(main, run_folder, capsys):
    folder, _ = run_folder
    out = folder.parent / "out" / COMMANDS[main]
    main([str(folder), "--out", str(out), "--preprocess", "normalize"])
    assert "5 real and 10 other images" in capsys.readouterr().out
    main([str(folder / "best.keras"), "--out", str(out), "--force"])
    assert "5 real and 10 other images" in capsys.readouterr().out


@pytest.mark.parametrize("preprocess", ["none", "normalize"])
def test_real_images_enter_as_the_weights_expect_them(preprocess):
    model = build()
    card = Card(keras_resnet.get_architecture("resnet8"), preprocessing=PREPROCESSING)
    signature = make_signature(model, card=card, preprocess=preprocess)
    images = as_input(signature, pixels())
    assert images.dtype == ("uint8" if preprocess == "normalize" else "float32")
    (actual,) = signature(images).values()
    expected = probabilities(model, pixels())
    np.testing.assert_allclose(np.asarray(actual), expected, atol=1e-6)


def test_a_folder_of_images(run_folder):
    folder, _ = run_folder
    random_images = folder.parent / "images"
    (random_images / "cats").mkdir(parents=True)
    for i, size in enumerate([(20, 30), (50, 17)]):
        noise = np.random.default_rng(i).integers(0, 256, (*size, 3))
        keras.utils.save_img(random_images / "cats" / f"{i}.png", noise, scale=False)
    out = folder.parent / "model"
    words = [str(folder), "--out", str(out), "--images", str(random_images)]
    for preprocess in ("none", "full"):  # "full" gets them in their own sizes
        savedmodel.main([*words, "--force", "--preprocess", preprocess])
        written = json.loads((out / "keras_resnet.json").read_text())
        assert written["parity"]["sets"]["real"]["images"] == 2
    (random_images / "broken.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"broken\.png cannot be read"):
        savedmodel.main([*words, "--force"])


def test_random_weights_show_every_part_of_normalisation():
    model = keras_resnet.build("resnet8_v2", classifier_activation=None)
    randomize_normalization(model)
    for variable in model.weights:
        if variable.name != "bias":
            assert np.ptp(variable.numpy()) > 0.2, variable.path


def test_published_weights_export_in_one_command(tmp_path, monkeypatch):
    weights = tmp_path / "model.safetensors"
    keras_resnet.export_weights(keras_resnet.ResNet18(), weights)
    monkeypatch.setattr(download, "fetch", lambda weight: weights)
    path = tmp_path / "model.onnx"
    words = ["resnet18", "--out", str(path), "--input-size", "64", "64", "--no-verify"]
    onnx.main([*words, "--weights", "a1_in1k", "--preprocess", "full"])
    metadata = Session(path, "cpu").metadata
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert metadata["origin"] == {
        "source": "timm/resnet18.a1_in1k",
        "weights": "resnet18.a1_in1k",
        "sha256": digest,
    }
    assert metadata["preprocess"] == "full"
    assert metadata["preprocessing"]["size"] == [64, 64]
    assert metadata["labels"][0] == "tench"
    onnx.main([*words, "--force", "--weights", str(weights)])
    metadata = Session(path, "cpu").metadata
    expected = {"source": weights.name, "weights": None, "sha256": digest}
    assert metadata["origin"] == expected


def test_a_trained_file_tells_its_data_recipe_and_epoch(run_folder):
    folder, model = run_folder
    path, out = folder / "best.keras", folder.parent / "model.onnx"
    recipe = {"name": "cifar", "epochs": 9}
    training = {"data": "digits", "recipe": recipe, "epoch": 7, "val_accuracy": 0.9}
    card = replace(read_card(path), training=training)
    save_model(model, path, card, force=True)
    onnx.main([str(folder), "--out", str(out), "--no-verify"])
    metadata = Session(out, "cpu").metadata
    assert metadata["origin"] == {
        "source": "best.keras",
        "weights": None,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "training": {"data": "digits", "recipe": "cifar", "epoch": 7},
    }
    assert metadata["parity"] is None
    assert not out.with_name("model.onnx.parity.json").exists()


def test_metadata_counts(tmp_path):
    metadata = onnx.export_onnx(build(), tmp_path / "model.onnx", verbose=False)
    expected = count(get_architecture("resnet8"), classes=7)
    assert metadata["parameters"] == pytest.approx(expected.trainable, rel=0.01)
    assert metadata["multiply_adds"] > 0
    datetime.fromisoformat(metadata["made"])


def test_any_size_and_a_fixed_batch(tmp_path):
    path = tmp_path / "model.onnx"
    words = ["resnet8", "--out", str(path), "--force", "--no-verify"]
    onnx.main([*words, "--any-size", "--batch", "3"])
    assert Session(path, "cpu").input_shape == (3, None, None, 3)
    for more in (["--input-size", "40", "40"], ["--preprocess", "full"]):
        with pytest.raises(InputError, match="any_size is on"):
            onnx.main([*words, "--any-size", *more])


def test_versions_for_tensorflow_serving(tmp_path):
    import tensorflow as tf

    words = ["resnet8", "--out", str(tmp_path), "--serving", "digits", "--no-verify"]
    for version in ("1", "2"):
        savedmodel.main(words)
        loaded = tf.saved_model.load(tmp_path / "digits" / version)
        assert list(loaded.signatures) == ["serving_default"]
    assert sorted(file.name for file in (tmp_path / "digits").iterdir()) == ["1", "2"]
    for name in ("a/b", "..", ""):
        with pytest.raises(InputError, match=f"serving='{name}'"):
            savedmodel.main([*words[:-2], name])


@pytest.mark.parametrize(
    "words, message",
    [
        (["--layout", "nchw", "--preprocess", "full"], "layout='nchw' with preproc"),
        (["--tolerance", "0"], "tolerance=0"),
        (["--tolerance", "1", "--no-verify"], "tolerance=1.0 is for the verification"),
        (["--images", "x.npz", "--no-verify"], "images=x.npz is for the verification"),
        (["--precision", "int8", "--calibration-images", "1"], "calibration_images=1"),
        (["--max-drop", "-1"], "max_drop=-1"),
        (["--max-drop", "1"], "max_drop=1.0 has no effect with precision='float32'"),
        (["--calibrate", "digits"], "calibrate='digits' has no effect"),
        (["--batch", "0"], "batch=0"),
        (["--output", "top_k", "--top", "0"], "top=0"),
        (["--top", "3"], "top=3 is for"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_loading(
    words, message, tmp_path, monkeypatch
):
    def load(flags):
        raise AssertionError("the model is loaded")

    monkeypatch.setattr("export.model.source._load_name", load)
    with pytest.raises(InputError, match=message):
        onnx.main(["resnet8", "--out", str(tmp_path / "model.onnx"), *words])


def test_weights_are_for_a_name(run_folder):
    folder, _ = run_folder
    words = [str(folder), "--out", str(folder.parent / "m.onnx"), "--weights", "a1"]
    with pytest.raises(InputError, match="weights='a1' is for an architecture's name"):
        onnx.main(words)


def test_a_failed_verification_leaves_the_earlier_files_whole(tmp_path):
    """Of a file with its weights beside it, in a new process, as a user runs it."""
    path = tmp_path / "model.onnx"
    onnx.export_onnx(build(), path, external_data=True, verbose=False)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    (data,) = set(before) - {"model.onnx", "model.onnx.parity.json"}
    assert re.fullmatch(r"model\.onnx\.[0-9a-f]{12}\.data", data)
    command = [sys.executable, "-m", "export.onnx", "resnet8", "--out", str(path)]
    command += ["--force", "--external-data", "--tolerance", "1e-12"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("error: the artifact differs")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    mine = tmp_path / "model.onnx.data"
    mine.write_text("a user's own")
    # An export into the file alone leaves nothing of the other.
    onnx.export_onnx(build(), path, force=True, verify=False, verbose=False)
    assert set(tmp_path.iterdir()) == {path, mine}


def test_a_crash_never_parts_a_file_from_its_weights(tmp_path, monkeypatch):
    """Between the steps in which the new file and its weights take their places."""
    path, other = tmp_path / "model.onnx", build()
    randomize(other, seed=1)
    options = {"verify": False, "verbose": False}
    onnx.export_onnx(build(), path, external_data=True, **options)
    images = pixels().astype("float32")
    expected = Session(path, "cpu").run(images)
    put = files._put

    def crash(part, place, aside):
        if place == path:
            raise KeyboardInterrupt
        put(part, place, aside)

    for external in (True, False):
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(files, "_put", crash)
            onnx.export_onnx(other, path, external_data=external, force=True, **options)
        np.testing.assert_array_equal(Session(path, "cpu").run(images), expected)
    onnx.export_onnx(other, path, external_data=True, force=True, **options)
    assert len(list(tmp_path.iterdir())) == 2
    assert np.abs(Session(path, "cpu").run(images) - expected).max() > 0.01


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
    np.savez(here / "other.npz", random_images=pixels())
    (here / "text.npz").write_text("a text file")
    for name in ("floats", "small", "none", "pickled", "other", "text", "missing"):
        path = here / f"{name}.npz"
        with pytest.raises(InputError, match=f"images={path}"):
            words = [str(folder), "--out", str(here / "m"), "--images", str(path)]
            savedmodel.main(words)
    (here / "empty").mkdir()
    with pytest.raises(InputError, match="no images"):
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
            export(model, tmp_path / "model", ExportConfig(verbose=False))
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


def test_a_failed_verification_keeps_the_earlier_folder(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_text("")
    with pytest.raises(ParityError, match="differs from the model"):
        config = ExportConfig(tolerance=1e-12, force=True, verbose=False)
        export(build(), tmp_path / "model", config)
    assert [file.name for file in tmp_path.rglob("*")] == ["model", "saved_model.pb"]


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
    command = [sys.executable, "-m", module, "resnet8", "--out", "x", "--opset", "x"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1


def flip_a_kernel(graph):
    """As a wrong transposition would."""
    for tensor in graph.initializer:
        kernel = numpy_helper.to_array(tensor)
        if kernel.shape[2:] == (3, 3):
            turned = np.ascontiguousarray(kernel[:, :, ::-1, ::-1])
            tensor.CopyFrom(numpy_helper.from_array(turned, tensor.name))
            return


@pytest.mark.parametrize("precision", ["float16", "int8-weights"])
def test_a_lower_precision_is_made_of_a_form_that_is_verified(
    precision, tmp_path, monkeypatch
):
    """Rounding to 8 bits could hide the damage."""
    path = tmp_path / "model.onnx"
    options = {"precision": precision, "validate": "none", "verbose": False}
    metadata = onnx.export_onnx(build(), path, **options)
    assert metadata["precision"] == metadata["parity"]["precision"] == precision
    assert metadata["parity"]["checked"] == ("noise",)
    convert = graph_convert.convert

    def convert_wrongly(*arguments):
        proto = ir.to_proto(convert(*arguments))
        flip_a_kernel(proto.graph)
        return ir.from_proto(proto)

    before = path.read_bytes()
    monkeypatch.setattr(graph_convert, "convert", convert_wrongly)
    with pytest.raises(ParityError, match="tolerance for float32"):
        onnx.export_onnx(build(), path, force=True, **options)
    assert path.read_bytes() == before
