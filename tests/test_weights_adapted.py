"""Weights adapted to other classes and channels; the card that they complete."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import tiny
from weight_files import network, same

from keras_resnet import InputError, build, export_weights, load_weights, saving
from keras_resnet.images.labels import imagenet_labels
from keras_resnet.weights import download, registry
from keras_resnet.weights.assign import named_arrays


@pytest.fixture
def exported(tmp_path):
    """A model and its file."""
    model = network()
    export_weights(model, tmp_path / "a.safetensors")
    return model, tmp_path / "a.safetensors"


def test_other_classes_initialise_the_classifier_again(exported):
    model, path = exported
    other = network(classes=7)
    with pytest.warns(UserWarning, match="5 classes.* 7: the classifier is re-init"):
        load_weights(other, path)
    ours, theirs = named_arrays(other), named_arrays(model)
    rest = {"fc/kernel": 0, "fc/bias": 0}
    assert same(ours | rest, theirs | rest)
    assert not ours["fc/bias"].any()  # was random before
    assert 0 < np.abs(ours["fc/kernel"]).max() < 1  # GlorotUniform


def test_a_new_classifier_by_request(exported, recwarn):
    other = network()
    load_weights(other, exported[1], head="new")
    assert not named_arrays(other)["fc/bias"].any()
    assert not any("re-initialised" in str(warning.message) for warning in recwarn)


def test_without_classifier(exported, tmp_path):
    model, path = exported
    headless = build(tiny("resnet18"), include_top=False, weights=path)
    assert np.array_equal(
        named_arrays(headless)["conv1/kernel"], named_arrays(model)["conv1/kernel"]
    )
    export_weights(headless, tmp_path / "b.safetensors")
    with pytest.raises(InputError, match=r'include_top=False.*head="new"'):
        load_weights(model, tmp_path / "b.safetensors")
    load_weights(model, tmp_path / "b.safetensors", head="new")
    assert not named_arrays(model)["fc/bias"].any()


@pytest.mark.parametrize("name", ["resnet18", "resnet50d", "resnetv2_50"])
@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_other_channels_adapt_the_first_kernel_as_timm_does(name, channels, tmp_path):
    model, path = network(name), tmp_path / "a.safetensors"
    export_weights(model, path)
    other = network(name, input_shape=(None, None, channels))
    load_weights(other, path)
    first = next(iter(named_arrays(model)))
    kernel, adapted = named_arrays(model)[first], named_arrays(other)[first]
    if channels == 1:
        assert np.array_equal(adapted[:, :, 0], kernel.sum(axis=2))
    else:
        for i in range(channels):
            assert np.allclose(adapted[:, :, i], kernel[:, :, i % 3] * 3 / channels)
    rest = named_arrays(other)
    assert same(rest | {first: 0}, named_arrays(model) | {first: 0})
    assert other.card.preprocessing is None  # is for three channels


def test_dilation_needs_no_new_weights(tmp_path, random_images):
    model = network("resnet50")
    export_weights(model, tmp_path / "a.safetensors")
    model.save(tmp_path / "a.keras")
    for path in (tmp_path / "a.safetensors", tmp_path / "a.keras"):
        dilated = network("resnet50", output_stride=8)
        load_weights(dilated, path)
        assert same(named_arrays(dilated), named_arrays(model))


# tags, labels and preprocessing


def local(weight, path, monkeypatch):
    """Has `download.fetch` answer with a local file; returns what it was asked for."""
    asked = []
    monkeypatch.setattr(registry, "find", lambda name, tag="imagenet": weight)
    monkeypatch.setattr(download, "fetch", lambda it: asked.append(it) or path)
    return asked


def test_a_tag_completes_the_card(tmp_path, monkeypatch):
    weight = registry.find("resnet18", "a1_in1k")
    model = network(classes=1000)
    export_weights(model, tmp_path / "a.safetensors")
    asked = local(weight, tmp_path / "a.safetensors", monkeypatch)
    again = build(tiny("resnet18"), weights="a1_in1k")
    assert asked == [weight]
    assert same(named_arrays(again), named_arrays(model))
    assert again.card.labels == imagenet_labels()
    assert again.card.preprocessing == weight.preprocessing
    with pytest.warns(UserWarning, match="re-initialised"):
        other = build(tiny("resnet18"), classes=5, weights="a1_in1k")
    assert other.card.labels == ()
    assert other.card.preprocessing == weight.preprocessing


def test_an_unknown_tag():
    with pytest.raises(InputError, match="no such tag of resnet18"):
        build("resnet18", weights="a1_in22k")


def test_preprocessing_of_a_local_file(tmp_path):
    net = replace(tiny("resnet18"), name="resnet18")
    model = build(net, classes=5)
    path = tmp_path / "model.safetensors"
    export_weights(model, path)
    load_weights(model, path)
    assert model.card.preprocessing == registry.find("resnet18").preprocessing
    assert model.card.labels == ()
    record = {
        "input_size": [3, 160, 192],
        "crop_pct": 0.9,
        "interpolation": "bilinear",
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
    }
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": record}))
    load_weights(model, path)
    expected = model.card.preprocessing
    assert (expected.size, expected.crop) == ((160, 192), 0.9)
    assert (expected.mean, expected.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config.json cannot be read"):
        load_weights(model, path)


def test_preprocessing_of_transformers(tmp_path):
    model, path = network(), tmp_path / "model.safetensors"
    export_weights(model, path)
    record = {
        "size": {"shortest_edge": 224},
        "crop_pct": 0.875,
        "resample": 3,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(record))
    load_weights(model, tmp_path)
    expected = model.card.preprocessing
    assert (expected.size, expected.crop) == ((224, 224), 0.875)
    assert expected.interpolation == "bicubic"


def test_a_file_is_hashed_when_its_hash_is_asked_for(exported, monkeypatch):
    path = exported[1]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    hashed = []
    monkeypatch.setattr(saving, "sha256", lambda file: hashed.append(file) or digest)
    model = network()
    load_weights(model, path)
    assert not hashed
    assert model.card.origin.sha256 == model.card.origin.sha256 == digest
    assert hashed == [path]


def test_the_hash_of_a_file_that_changed_since_is_not_stated(exported):
    path = exported[1]
    model = network()
    load_weights(model, path)
    origin = replace(model.card.origin)  # a copy, which has not hashed it either
    path.write_bytes(path.read_bytes() + b" ")
    assert model.card.origin.sha256 is None
    path.unlink()
    assert origin.sha256 is None
    assert origin.to_json() == {"source": path.name, "weights": None, "sha256": None}
