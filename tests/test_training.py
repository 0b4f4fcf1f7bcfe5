"""What a run leaves behind, and what it refuses."""

import csv
import json
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny
from tensorflow.python.framework.config import disable_op_determinism

from keras_resnet.common.errors import InputError
from keras_resnet.saving import load_model, read_card, read_member
from keras_resnet.training.data import load
from keras_resnet.training.fit import train
from keras_resnet.training.pipeline import Data
from keras_resnet.training.recipes import Recipe, get_recipe

QUICK = replace(get_recipe("digits", 128), epochs=2, label_smoothing=0.1)
NET = tiny("resnet8")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Data:
    return load("digits", data_dir=tmp_path_factory.mktemp("tfds"))


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """The folder of a finished run."""
    return train(NET, data, QUICK, tmp_path_factory.mktemp("runs") / "run")


def rows(folder):
    with (folder / "log.csv").open() as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def weights(path):
    return [np.array(value) for value in load_model(path).get_weights()]


# What a run leaves


def test_a_run_leaves_everything_that_was_promised(finished):
    assert {path.name for path in finished.iterdir()} == {
        "best.keras",
        "last.keras",
        "recipe.json",
        "report.json",
        "log.csv",
        "curves.png",
        "tensorboard",
        "validation.npz",
    }
    assert [row["epoch"] for row in rows(finished)] == [1, 2]
    record = json.loads((finished / "recipe.json").read_text())
    assert Recipe.from_json(record["recipe"]) == QUICK
    assert (record["model"], record["data"]) == (NET.name, "digits")
    assert (finished / "curves.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((finished / "report.json").read_text())
    assert report["xla"]["asked"] == "auto"
    assert report["xla"]["compiled"] is False
    assert report["results"]["training_images_per_second"] > 0
    assert report["machine"]["keras"] == keras.__version__
    assert report["recipe"]["seed"] == 0


def test_tensorboard_has_the_losses_of_both_parts(finished):
    tags = set()
    for file in (finished / "tensorboard").rglob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            tags |= {(file.parent.name, value.tag) for value in event.summary.value}
    assert {("train", "epoch_loss"), ("validation", "epoch_loss")} <= tags


def test_best_keras_gives_the_logged_results_from_the_images_alone(finished, data):
    """Logits, preprocessing, labels and the smoothed loss agree with the log."""
    path = finished / "best.keras"
    card = read_card(path)
    saved = np.load(finished / "validation.npz")
    assert saved["images"].shape == (355, 8, 8, 1)  # all: they are small
    assert saved["images"].dtype == np.uint8
    images, labels = data.sample(data.validation_examples)
    np.testing.assert_array_equal(saved["images"], images)
    np.testing.assert_array_equal(saved["labels"], labels)

    model = load_model(path)
    logits = model.predict(card.preprocessing.normalize(images), verbose=0)
    accuracy = float(np.mean(logits.argmax(-1) == labels))
    logged = rows(finished)[card.training["epoch"] - 1]
    assert accuracy == pytest.approx(card.training["val_accuracy"], abs=1e-6)
    assert accuracy == pytest.approx(max(r["val_accuracy"] for r in rows(finished)))
    shifted = logits - logits.max(-1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    target = 0.9 * np.eye(10)[labels] + 0.1 / 10
    loss = -np.mean(np.sum(target * log_softmax, axis=-1))
    assert loss == pytest.approx(logged["val_loss"], rel=1e-4)
    assert (card.architecture, card.labels) == (NET, data.labels)
    assert card.training["recipe"] == QUICK.to_json() | {"drops": []}


def test_best_keras_leaves_the_optimizer_out(finished):
    best, last = finished / "best.keras", finished / "last.keras"
    assert best.stat().st_size < last.stat().st_size
    assert not load_model(best, compile=True).compiled
    assert load_model(last, compile=True).optimizer.iterations == 2 * (1442 // 128)


def test_a_seed_makes_a_run_repeatable(finished, data, tmp_path):
    again = train(NET, data, QUICK, tmp_path / "again")
    assert (again / "log.csv").read_bytes() == (finished / "log.csv").read_bytes()
    for one, other in zip(
        weights(again / "last.keras"), weights(finished / "last.keras"), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    other = train(NET, data, replace(QUICK, seed=1), tmp_path / "other")
    assert (other / "log.csv").read_bytes() != (finished / "log.csv").read_bytes()


# XLA and precision


def compiled(folder):
    return json.loads((folder / "report.json").read_text())["xla"]


def test_xla_on_compiles_the_step(data, tmp_path):
    out = train(NET, data, replace(QUICK, epochs=1), tmp_path / "run", xla="on")
    assert compiled(out)["compiled"] is True


def test_op_determinism_turns_xla_off_and_the_report_says_so(data, tmp_path):
    tf.config.experimental.enable_op_determinism()
    try:
        with pytest.warns(UserWarning, match="jit_compile"):
            out = train(NET, data, replace(QUICK, epochs=1), tmp_path / "run", xla="on")
    finally:
        disable_op_determinism()
    assert compiled(out)["compiled"] is False
    assert "op determinism" in compiled(out)["explanation"]


def test_mixed_precision_reaches_the_layers_and_not_the_process(data, tmp_path):
    recipe = replace(QUICK, epochs=1)
    out = train(NET, data, recipe, tmp_path / "run", precision="mixed_bfloat16")
    assert keras.config.dtype_policy().name == "float32"
    layers = load_model(out / "best.keras").layers
    assert layers[1].compute_dtype == "bfloat16"
    assert layers[-1].compute_dtype == "float32"


# Refusals


class Poisoned(Data):
    """Images that turn into NaN from the second epoch on."""

    def training(self, *, first_epoch, **options):
        steps = self.steps_per_epoch(options["batch_size"])

        def poison(step, batch):
            lost = first_epoch * steps + step >= steps + 3
            return tf.where(lost, np.nan, batch[0]), batch[1]

        clean = super().training(first_epoch=first_epoch, **options)
        return clean.enumerate().map(poison)


def test_nan_images_stop_the_run_and_the_last_epoch_stays(data, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(InputError, match=r"nan in epoch 2, step 4.*hold NaN"):
        train(NET, Poisoned(**vars(data)), QUICK, out)
    assert read_member(out / "last.keras", "state")["epoch"] == 1
    assert all(np.isfinite(value).all() for value in weights(out / "best.keras"))
    assert not (out / "report.json").exists()
    assert len(rows(out)) == 1


def test_a_loss_that_diverges_names_what_to_change(data, tmp_path):
    recipe = replace(QUICK, learning_rate=1e30)
    with pytest.raises(InputError, match=r"became .* Try a learning_rate below 1e\+30"):
        train(NET, data, recipe, tmp_path / "run")


def test_too_large_a_batch_names_itself(data, tmp_path, monkeypatch):
    def fit(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")

    monkeypatch.setattr(keras.Model, "fit", fit)
    with pytest.raises(InputError, match=f"batch_size={QUICK.batch_size} .* memory"):
        train(NET, data, QUICK, tmp_path / "run")


def test_an_existing_folder_is_refused_and_left_alone(data, tmp_path):
    out = tmp_path / "precious"
    out.mkdir()
    (out / "file").write_text("mine")
    with pytest.raises(InputError, match="--resume"):
        train(NET, data, QUICK, out)
    with pytest.raises(InputError, match=r"no recipe\.json"):
        train(NET, data, QUICK, out, resume=True)
    assert [path.name for path in out.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("model", "changes", "wanted"),
    [
        ("resnet18", {}, "set image_size"),  # 8 pixels a side, halved 5 times
        ("resnet8", {"xla": "perhaps"}, "'auto', 'on', 'off'"),
        ("resnet8", {"precision": "float8"}, "'mixed_bfloat16'"),
        ("resnet21", {}, "Did you mean"),
    ],
)
def test_what_cannot_be_trained_leaves_no_folder(
    model, changes, wanted, data, tmp_path
):
    with pytest.raises(InputError, match=wanted):
        train(model, data, QUICK, tmp_path / "run", **changes)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_one_clear_line(data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        train(NET, data, QUICK, tmp_path / "file" / "run")


def test_a_log_that_cannot_be_written_is_one_clear_line(data, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(InputError, match="hold NaN"):
        train(NET, Poisoned(**vars(data)), QUICK, out)
    shutil.rmtree(out / "tensorboard")
    (out / "tensorboard").write_text("a file where a folder should be")
    with pytest.raises(InputError, match=r"cannot write .*tensorboard"):
        train(NET, data, QUICK, out, resume=True)
