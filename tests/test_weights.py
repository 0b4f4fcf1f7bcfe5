"""safetensors files into models and back: strict, adapted, all or nothing."""

import json
import re

import keras
import ml_dtypes
import numpy as np
import pytest
from conftest import randomize, tiny
from safetensors.numpy import load_file, save_file
from weight_files import network, same

from keras_resnet import InputError, build, export_weights, load_weights
from keras_resnet.weights.assign import MismatchError, named_arrays

FAMILIES = (
    "resnet18",
    "resnet50d",
    "seresnet50",
    "ecaresnet26t",
    "resnetrs50",
    "resnet8",
    "resnetv2_50",
    "resnetv2_50d_evos",
    "resnetv2_50d_frn",
    "resnetv2_50x1_bit",
    "densenet121",
    "resnest14d",
    "skresnet18",
    "res2net50_26w_4s",
    "resnet50_gn",
)


@pytest.fixture
def exported(tmp_path):
    """A model and its file."""
    model = network()
    export_weights(model, tmp_path / "a.safetensors")
    return model, tmp_path / "a.safetensors"


@pytest.mark.parametrize("name", FAMILIES)
def test_export_and_load_give_the_same_numbers(name, tmp_path):
    model, path = network(name), tmp_path / "a.safetensors"
    export_weights(model, path)
    again = build(tiny(name), classes=5, weights=path)
    assert same(named_arrays(again), named_arrays(model))


def test_the_layout_is_torchs(tmp_path):
    # written as torch has it, by hand
    model = build(tiny("resnet18"), classes=5)
    tensors = {}
    for name, value in named_arrays(model).items():
        module, kind = name.split("/")
        drawn = np.random.default_rng(len(tensors)).normal(size=value.shape)
        drawn = np.abs(drawn).astype("float32")
        torch = {
            "kernel": "weight",
            "bias": "bias",
            "gamma": "weight",
            "beta": "bias",
            "moving_mean": "running_mean",
            "moving_variance": "running_var",
        }[kind]
        axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[drawn.ndim]
        tensors[f"{module}.{torch}"] = np.ascontiguousarray(drawn.transpose(axes))
        if kind == "moving_mean":
            tensors[f"{module}.num_batches_tracked"] = np.array(7)
    save_file(tensors, tmp_path / "a.safetensors")
    load_weights(model, tmp_path / "a.safetensors")
    ours = named_arrays(model)
    torch = tensors["layer2.0.conv1.weight"]
    assert ours["layer2.0.conv1/kernel"][2, 1, 3, 4] == torch[4, 3, 2, 1]
    for kind, torch in (("gamma", "weight"), ("moving_variance", "running_var")):
        theirs = tensors[f"layer2.0.bn1.{torch}"]
        assert np.array_equal(ours[f"layer2.0.bn1/{kind}"], theirs)
    assert np.array_equal(ours["fc/kernel"], tensors["fc.weight"].T)
    export_weights(model, tmp_path / "b.safetensors")
    written = load_file(tmp_path / "b.safetensors")
    assert written.keys() == tensors.keys()
    assert all(
        np.array_equal(written[name], tensors[name])
        for name in tensors
        if not name.endswith("num_batches_tracked")
    )


def test_timms_last_convolution_of_v2_is_our_classifier(tmp_path):
    model = network("resnetv2_50")
    export_weights(model, tmp_path / "a.safetensors")
    shape = load_file(tmp_path / "a.safetensors")["head.fc.weight"].shape
    assert shape == (5, model.get_layer(f"{model.name}-head-fc").kernel.shape[0], 1, 1)


@pytest.mark.parametrize(
    ("name", "rename"),
    [
        # torchvision's published DenseNets
        ("densenet121", lambda key: re.sub(r"(r\d+\.(norm|conv))(\d)", r"\1.\3", key)),
        # a checkpoint of torch's DataParallel around a compiled network
        ("resnet18", lambda key: f"module._orig_mod.{key}"),
    ],
)
def test_names_that_torch_has_changed(name, rename, tmp_path):
    model = network(name)
    export_weights(model, tmp_path / "a.safetensors")
    renamed = {rename(k): v for k, v in load_file(tmp_path / "a.safetensors").items()}
    save_file(renamed, tmp_path / "b.safetensors")
    again = network(name)
    randomize(again, seed=2)
    load_weights(again, tmp_path / "b.safetensors")
    assert same(named_arrays(again), named_arrays(model))


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_other_precisions_are_cast(dtype, exported):
    model, path = exported
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    tensors = {name: array.astype(kind) for name, array in load_file(path).items()}
    save_file(tensors, path)
    again = network()
    load_weights(again, path)
    for name, value in named_arrays(again).items():
        assert value.dtype == "float32"
        expected = named_arrays(model)[name].astype(kind).astype("float32")
        assert np.array_equal(value, expected), name


@pytest.mark.parametrize("name", ["resnet18", "resnet50_v1", "resnet50"])
def test_transformers_names(name, tmp_path, random_images):
    model = network(name)
    export_weights(model, tmp_path / "model.safetensors")
    renamed = {
        transformers_name(key): array
        for key, array in load_file(tmp_path / "model.safetensors").items()
    }
    save_file(renamed, tmp_path / "model.safetensors")
    config = {"downsample_in_bottleneck": name == "resnet50_v1"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    again = network(name)
    randomize(again, seed=2)
    load_weights(again, tmp_path)  # a folder from the hub
    assert same(named_arrays(again), named_arrays(model))
    if name != "resnet18":
        other = {"resnet50": "resnet50_v1", "resnet50_v1": "resnet50"}[name]
        with pytest.raises(InputError, match="stride in conv"):
            build(tiny(other), classes=5, weights=tmp_path)


def transformers_name(name):
    """The name in transformers' modeling_resnet.py."""
    module, kind = name.rsplit(".", 1)
    parts = module.split(".")
    if module in ("conv1", "bn1"):
        where = "resnet.embedder.embedder"
    elif module == "fc":
        return f"classifier.1.{kind}"
    else:
        where = f"resnet.encoder.stages.{int(parts[0][5:]) - 1}.layers.{parts[1]}"
        if parts[2] == "downsample":
            where += ".shortcut"
        else:
            where += f".layer.{int(parts[2][-1]) - 1}"
    norm = "bn" in parts[-1] or parts[-1] == "1"
    return f"{where}.{'normalization' if norm else 'convolution'}.{kind}"


# strictness


def edited(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


CHANGES = {
    "missing": lambda t: t.pop("layer1.0.conv1.weight"),
    "left over": lambda t: t.update({"layer9.conv.weight": np.ones((1, 1), "f4")}),
    "shape": lambda t: t.update({"layer1.0.conv1.weight": np.ones((8, 8, 5, 3), "f4")}),
    "NaN": lambda t: t["layer4.0.bn2.bias"].fill(np.nan),
    "infinity": lambda t: t["layer4.0.conv1.weight"].fill(np.inf),
    "type": lambda t: t.update({"fc.weight": t["fc.weight"].astype("int8")}),
    "name": lambda t: t.update({"../../etc/passwd": np.ones(1, "f4")}),
}
REPORTS = {
    "missing": "layer1.0.conv1/kernel is missing",
    "left over": "layer9.conv/kernel has no place in the model",
    "shape": r"layer1.0.conv1/kernel has shape \(5, 3, 8, 8\), the model's \(3, 3,",
    "NaN": "layer4.0.bn2/beta holds NaN or infinity",
    "infinity": "layer4.0.conv1/kernel holds NaN or infinity",
    "type": "fc.weight is of type I8; accepted are F64, F32, F16, BF16",
    "name": "'../../etc/passwd' is no name of a network's tensor",
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_does_not_fit_is_named_and_nothing_is_set(change, exported):
    path = exported[1]
    edited(path, CHANGES[change])
    model = network()
    before = named_arrays(model)
    with pytest.raises(InputError, match=REPORTS[change]):
        load_weights(model, path)
    assert same(named_arrays(model), before)


def test_all_reasons_are_listed(exported):
    with pytest.raises(MismatchError, match="more") as caught:
        load_weights(network("resnet50"), exported[1])
    assert len(caught.value.faults) > 20
    assert "layer1.0.conv3/kernel is missing" in caught.value.faults
    assert "\n" not in str(caught.value)


def test_half_a_file(exported):
    model, path = exported
    whole = path.read_bytes()
    before = named_arrays(model)
    for cut in (0, 4, 100, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match="not a whole safetensors file"):
            load_weights(model, path)
    path.write_bytes((2**60).to_bytes(8, "little") + whole[8:])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_weights(model, path)
    assert same(named_arrays(model), before)


@pytest.mark.parametrize("suffix", [".pth", ".bin", ".safetensors"])
def test_pickles_are_refused_with_the_conversion(suffix, tmp_path):
    import zipfile

    path = tmp_path / f"a{suffix}"
    with zipfile.ZipFile(path, "w") as archive:  # as torch.save writes it
        archive.writestr("archive/data.pkl", b"anything")
    with pytest.raises(InputError, match=r"weights_only=True.*s.save_file"):
        load_weights(network(), path)


@pytest.mark.parametrize("name", ["a.txt", "a.safetensors", "./nothing", "~/nothing"])
def test_no_such_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = name if "/" in name else tmp_path / name
    with pytest.raises(InputError, match="no such file"):
        load_weights(network(), weights)


def test_other_things_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("no weights")
    with pytest.raises(InputError, match="no file of weights; accepted are"):
        load_weights(network(), tmp_path / "a.txt")
    with pytest.raises(InputError, match=r"neither model\.safetensors"):
        load_weights(network(), tmp_path)
    with pytest.raises(InputError, match="a tag or the path"):
        load_weights(network(), 3)
    with pytest.raises(InputError, match="head='old': accepted"):
        export_weights(network(), tmp_path / "a.safetensors")
        load_weights(network(), tmp_path / "a.safetensors", head="old")


def test_export_refuses(tmp_path):
    with pytest.raises(InputError, match=r"ends in \.safetensors"):
        export_weights(network(), tmp_path / "a.h5")
    (tmp_path / "a.safetensors").touch()
    with pytest.raises(InputError, match="exists already"):
        export_weights(network(), tmp_path / "a.safetensors")
    export_weights(network(), tmp_path / "a.safetensors", force=True)
    inputs = keras.Input((2,))
    plain = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    with pytest.raises(InputError, match="from keras_resnet is needed"):
        export_weights(plain, tmp_path / "b.safetensors")
