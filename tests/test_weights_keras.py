"""Files of keras.applications and of keras-hub: outputs equal to those libraries'."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from conftest import randomize
from golden import seeded
from keras.src.applications import resnet as applications

from keras_resnet import InputError, build, get_architecture, load_weights
from keras_resnet.architectures.records import DeepStem
from keras_resnet.weights.assign import named_arrays

PRESETS = json.loads((Path(__file__).parent / "golden/presets.json").read_text())
ORDERS = {"resnet50_keras": False, "resnet50v2_keras": True}


def published(preact, **options):
    """A small network of keras.applications, its weights drawn at random."""
    stack = (
        applications.stack_residual_blocks_v2
        if preact
        else applications.stack_residual_blocks_v1
    )

    def stages(x):
        x = stack(x, 8, 2, stride1=2 if preact else 1, name="conv2")
        return stack(x, 16, 2, stride1=1 if preact else 2, name="conv3")

    options = {"classes": 5, "classifier_activation": None, "name": None} | options
    model = applications.ResNet(
        stages, preact, True, weights=None, input_shape=(65, 64, 3), **options
    )
    randomize(model, seed=1)
    return model


def ours(name):
    """The same network here."""
    row = get_architecture(name)
    stem = replace(row.stem, width=64)
    return replace(row, name=name, depths=(2, 2), widths=(8, 16), stem=stem)


def save_as_2019(model, path):
    """The layout of the files that keras.applications downloads."""
    with h5py.File(path, "w") as file:
        for layer in model.layers:
            name = {"predictions": "probs"}.get(layer.name, layer.name)
            group = file.create_group(f"{name}/{name}")
            for variable in layer.weights:
                group.create_dataset(f"{variable.name}:0", data=variable.numpy())


def answer(model, images):
    return np.asarray(model(images, training=False))


def assert_close(ours, theirs):
    assert np.abs(ours - theirs).max() < 1e-4 * theirs.std()


@pytest.fixture(params=ORDERS)
def reference(request, tmp_path):
    model = published(ORDERS[request.param])
    save_as_2019(model, tmp_path / "a.h5")
    return request.param, model, tmp_path / "a.h5"


def test_published_files(reference, random_images):
    name, theirs, path = reference
    model = build(
        ours(name),
        input_shape=(65, 64, 3),
        classes=5,
        classifier_activation=None,
        weights=path,
    )
    images = random_images(65, 64, 3)
    assert_close(answer(model, images), answer(theirs, images))


def test_whole_models_that_keras_saved(reference, random_images):
    name, theirs, path = reference
    theirs.compile("adam", "mse")
    theirs.save(path)
    model = build(ours(name), include_top=False, pooling="avg", weights=path)
    pooled = keras.Model(theirs.inputs, theirs.get_layer("avg_pool").output)
    images = random_images(65, 64, 3)
    assert_close(answer(model, images), answer(pooled, images))


@pytest.mark.parametrize("top", [True, False])
def test_biases_fold_into_a_network_without_them(top, tmp_path, random_images):
    theirs = published(False, include_top=top, pooling=None if top else "avg")
    # where a variance is small, epsilon counts
    norm = theirs.get_layer("conv2_block1_1_bn")
    norm.moving_variance.assign(norm.moving_variance * 1e-5)
    save_as_2019(theirs, tmp_path / "a.h5")
    model = build(
        ours("resnet50_v1"),
        include_top=top,
        input_shape=(65, 64, 3),
        classes=5,
        pooling=None if top else "avg",
        classifier_activation=None,
        weights=tmp_path / "a.h5",
    )
    images = random_images(65, 64, 3)
    assert_close(answer(model, images), answer(theirs, images))
    variance = named_arrays(model)["layer1.0.bn1/moving_variance"]
    assert not np.array_equal(variance, norm.moving_variance.numpy())


def test_another_stride_is_noticed(tmp_path):
    save_as_2019(published(False), tmp_path / "a.h5")
    with pytest.raises(InputError, match="stride in conv1, the model's in conv2"):
        build(ours("resnet50"), classes=5, weights=tmp_path / "a.h5")


def test_v2_of_keras_is_another_network_than_timms(tmp_path):
    save_as_2019(published(True), tmp_path / "a.h5")
    with pytest.raises(InputError, match="does not fit"):
        build(ours("resnetv2_50"), classes=5, weights=tmp_path / "a.h5")


def write_preset(name, folder, files=None, named=True):
    """The folder that keras-hub makes; without names of layers, as it once was."""
    row = PRESETS["presets"][name]
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"config": row["config"]}))
    (folder / "image_converter.json").write_text(json.dumps(row["image_converter"]))
    for file, arrays in (files or row["files"]).items():
        with h5py.File(folder / file, "w") as content:
            for path, shape, layer in arrays:
                kind = kinds(path)[int(path[-1])]
                place = path.removeprefix("backbone/")
                value = seeded.tensor(f"{place}/{kind}", tuple(shape), 1.0)
                content.create_dataset(path, data=value)
                if named:
                    content[path].parent.attrs["name"] = layer
    return folder


def kinds(path):
    if "batch_normalization" in path:
        return ("gamma", "beta", "moving_mean", "moving_variance")
    return ("kernel", "bias")


def preset_model(name, **options):
    row = replace(get_architecture(name), depths=(2, 1), widths=(64, 8))
    if name.endswith("_vd"):
        row = replace(row, stem=DeepStem((8, 8, 64)))
    height, width = PRESETS["size"]
    return build(
        row,
        input_shape=(height, width, 3),
        classes=5,
        classifier_activation=None,
        **options,
    )


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("name", PRESETS["presets"])
def test_presets(name, named, tmp_path):
    folder = write_preset(name, tmp_path / "preset", named=named)
    model = preset_model(name, weights=folder)
    golden = np.array(PRESETS["presets"][name]["logits"])
    assert_close(answer(model, seeded.images(PRESETS["size"])), golden)
    expected = model.card.preprocessing
    assert expected.size == (224, 160)
    assert np.allclose(expected.mean, 0.5)
    assert np.allclose(expected.std, (0.25, 0.5, 1))


def test_a_preset_of_one_file(tmp_path):
    backbone, task = PRESETS["presets"]["resnet18"]["files"].values()
    whole = [[f"backbone/{path}", *rest] for path, *rest in backbone] + task
    folder = tmp_path / "preset"
    write_preset("resnet18", folder, {"task.weights.h5": whole})
    model = preset_model("resnet18", weights=folder)
    golden = np.array(PRESETS["presets"]["resnet18"]["logits"])
    assert_close(answer(model, seeded.images(PRESETS["size"])), golden)


def test_a_backbone_alone(tmp_path):
    backbone = PRESETS["presets"]["resnet18"]["files"]["model.weights.h5"]
    folder = tmp_path / "preset"
    write_preset("resnet18", folder, {"model.weights.h5": backbone})
    with pytest.raises(InputError, match="has no classifier"):
        preset_model("resnet18", weights=folder)
    build(preset_model("resnet18").card.architecture, include_top=False, weights=folder)


def test_a_preset_of_another_library_part(tmp_path):
    folder = write_preset("resnet18", tmp_path / "preset")
    (folder / "config.json").write_text('{"config": {"hidden_dim": 768}}')
    with pytest.raises(InputError, match="not of keras-hub's ResNetBackbone"):
        preset_model("resnet18", weights=folder)


def damaged(path, change):
    if change == "text":
        path.write_text("no HDF5")
    elif change == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        with h5py.File(path, "r+") as file:
            place = "conv1_conv/conv1_conv/kernel:0"
            del file[place]
            if change == "promise":  # 2^60 numbers that are not there
                file.create_dataset(place, (2**20,) * 3, "f4", chunks=(1, 64, 64))
            elif change == "link":
                file[place] = h5py.ExternalLink("b.h5", place)
            else:
                file.create_dataset(
                    place, (7, 7, 3, 64), "f4", external=[("b.bin", 0, 37632)]
                )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("text", "not a whole HDF5 file"),
        ("half", "not a whole HDF5 file"),
        ("promise", "not stored whole"),
        ("external", "not stored whole"),
        ("link", "conv1/kernel is missing"),
    ],
)
def test_damaged_files_leave_the_model_as_it_was(change, message, tmp_path):
    path = tmp_path / "a.h5"
    save_as_2019(published(False), path)
    (tmp_path / "b.h5").write_bytes(path.read_bytes())
    (tmp_path / "b.bin").write_bytes(bytes(37632))
    model = build(ours("resnet50_keras"), classes=5)
    before = named_arrays(model)
    damaged(path, change)
    with pytest.raises(InputError, match=message):
        load_weights(model, path)
    after = named_arrays(model)
    assert all(np.array_equal(before[name], after[name]) for name in before)
