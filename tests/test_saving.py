"""The card: it stays with a model through files that Keras alone writes and reads."""

import copy
import hashlib
import json
import pickle
import warnings
import zipfile
from dataclasses import replace

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.common.errors import InputError
from keras_resnet.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from keras_resnet.saving import (
    Card,
    attach,
    card_of,
    load_model,
    read_card,
    read_member,
    save_model,
)
from keras_resnet.weights import download

PREPROCESSING = Preprocessing((32, 32), 0.875, "bicubic", IMAGENET_MEAN, IMAGENET_STD)


@pytest.fixture
def carded():
    """A small model with a full card."""
    model = keras_resnet.build("resnet8", classes=3)
    net = keras_resnet.get_architecture("resnet8")
    attach(model, Card(net, ("a", "b", "c"), PREPROCESSING, {"epoch": 3}))
    return model


def test_keras_alone_saves_and_loads_the_file(carded, tmp_path, random_images):
    carded.save(tmp_path / "plain.keras")
    assert read_card(tmp_path / "plain.keras") == carded.card
    loaded = load_model(tmp_path / "plain.keras")
    assert loaded.card == carded.card
    loaded.card = replace(loaded.card, labels=("x", "y", "z"))
    loaded.save(tmp_path / "again.keras")
    assert read_card(tmp_path / "again.keras").labels == ("x", "y", "z")
    stock = keras.models.load_model(tmp_path / "again.keras")
    assert card_of(stock) is None
    images = random_images(32, 32, 3)
    np.testing.assert_array_equal(
        stock.predict_on_batch(images), carded.predict_on_batch(images)
    )


def test_keras_checkpoints_hold_the_card(carded, tmp_path, random_images):
    path = tmp_path / "checkpoint.keras"
    carded.compile("sgd", "sparse_categorical_crossentropy")
    callback = keras.callbacks.ModelCheckpoint(path)
    carded.fit(
        random_images(32, 32, 3), np.array([0, 1]), verbose=0, callbacks=[callback]
    )
    assert read_card(path) == carded.card
    assert load_model(path, compile=True).optimizer.iterations == 1


def test_other_members_stand_beside_it(carded, tmp_path):
    path = tmp_path / "run.keras"
    save_model(carded, path, state={"epoch": 7})
    assert read_member(path, "state") == {"epoch": 7}
    assert read_member(path, "nothing") is None
    assert read_card(path) == carded.card
    card = replace(carded.card, training={"epoch": 8})
    save_model(carded, path, card, force=True)
    assert read_card(path) == carded.card == card


def test_a_model_without_card(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    save_model(model, tmp_path / "bare.keras")
    assert read_card(tmp_path / "bare.keras") is None
    assert card_of(load_model(tmp_path / "bare.keras")) is None
    with zipfile.ZipFile(tmp_path / "bare.keras") as archive:
        assert len(archive.namelist()) == 3  # as Keras leaves it


def test_a_built_model_has_its_architecture():
    model = keras_resnet.build("resnet18", include_top=False)
    assert model.card == Card(keras_resnet.get_architecture("resnet18"))


@pytest.mark.parametrize(
    "duplicate",
    [
        keras.models.clone_model,
        copy.copy,
        copy.deepcopy,
        lambda model: pickle.loads(pickle.dumps(model)),
    ],
)
def test_keras_copies_work(duplicate, carded, random_images):
    twin, images = duplicate(carded), random_images(32, 32, 3)
    twin.set_weights(carded.get_weights())
    np.testing.assert_array_equal(
        twin.predict_on_batch(images), carded.predict_on_batch(images)
    )


def test_a_card_inside_a_larger_model(carded, tmp_path):
    """It is no card of the whole."""
    inputs = keras.Input((32, 32, 3))
    whole = keras.Model(inputs, keras.layers.Dense(2)(carded(inputs)))
    whole.save(tmp_path / "whole.keras")
    assert read_card(tmp_path / "whole.keras") is None
    assert load_model(tmp_path / "whole.keras").output_shape == (None, 2)


def test_a_card_tells_where_the_weights_are_from(carded, tmp_path):
    assert carded.card.origin is None
    path = tmp_path / "weights.safetensors"
    keras_resnet.export_weights(carded, path)
    model = keras_resnet.build("resnet8", classes=3, weights=path)
    origin = {"source": path.name, "weights": None, "sha256": sha256(path)}
    assert model.card.origin.to_json() == origin
    path = tmp_path / "saved.keras"
    model.save(path)
    assert load_model(path).card.origin.to_json() == origin
    again = keras_resnet.build("resnet8", classes=3, weights=path)
    assert again.card.origin.to_json() == origin | {
        "source": path.name,
        "sha256": sha256(path),
    }


def test_other_weights_are_not_those_that_were_trained(carded, tmp_path):
    path = tmp_path / "weights.safetensors"
    keras_resnet.export_weights(carded, path)
    assert carded.card.training
    keras_resnet.load_weights(carded, path)
    assert carded.card.training == {}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_published_weights_keep_their_name_until_they_are_trained(
    tmp_path, monkeypatch
):
    published = tmp_path / "model.safetensors"
    keras_resnet.export_weights(keras_resnet.ResNet18(), published)
    monkeypatch.setattr(download, "fetch", lambda weight: published)
    model = keras_resnet.ResNet18(weights="a1_in1k")
    name = "resnet18.a1_in1k"
    origin = {"source": f"timm/{name}", "weights": name, "sha256": sha256(published)}
    assert model.card.origin.to_json() == origin
    path = tmp_path / "model.keras"
    for training, weights in (({}, name), ({"data": "cats"}, None)):
        card = replace(model.card, training=training)
        save_model(model, path, card, force=True)
        loaded = keras_resnet.ResNet18(weights=path)
        assert loaded.card.origin.weights == weights
    headless = keras_resnet.ResNet18(weights="a1_in1k", include_top=False)
    assert headless.card.origin.to_json() == origin
    keras_resnet.load_weights(model, "a1_in1k", head="new")
    assert model.card.origin.to_json() == origin | {"weights": None}


def test_files_from_before_the_origin_are_read(carded):
    record = json.loads(json.dumps(carded.card.to_json()))
    del record["origin"]
    assert Card.from_json(record) == carded.card


def test_every_row_of_the_table_survives_json():
    for name in keras_resnet.list_models():
        card = Card(keras_resnet.get_architecture(name), ("a",), PREPROCESSING)
        assert Card.from_json(json.loads(json.dumps(card.to_json()))) == card


@pytest.mark.parametrize(
    "change, words",
    [
        ({"colour": "red"}, "card has an unknown entry 'colour'.*later version"),
        ({"architecture": {"wheels": 4}}, "architecture has an unknown entry 'wheels'"),
        ({"preprocessing": {"gamma": 2}}, "preprocessing has an unknown entry 'gamma'"),
        ({"architecture": {"name": "x"}}, "card cannot be read"),
        ({"labels": 3}, "card cannot be read"),
        ({"origin": {"author": "me"}}, "origin is no record"),
        ({"origin": {"weights": 3}}, "origin is no record"),
    ],
)
def test_an_unknown_card_is_refused(change, words, carded, tmp_path):
    path = tmp_path / "model.keras"
    record = carded.card.to_json() | change
    carded.save(path)
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the last of two members is read
        archive.writestr("assets/card.json", json.dumps(record))
    for reader in (read_card, load_model):
        with pytest.raises(InputError, match=rf"model\.keras.*{words}"):
            reader(path)


def test_a_card_that_promises_too_much_is_refused(carded, tmp_path):
    path = tmp_path / "bomb.keras"
    carded.save(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("keras_resnet/state.json", b" " * (2**26 + 1))
    with pytest.raises(InputError, match=r"state\.json cannot be read.*bytes"):
        read_member(path, "state")
