"""Files of weights that are wrong in one known way: a line says so, nothing is set."""

import json
import os
import zipfile

import fuzzing
import h5py
import numpy as np
import pytest
from conftest import randomize, tiny
from safetensors.numpy import load_file, save_file

from keras_resnet import InputError, build, load_weights
from keras_resnet.saving import load_model
from keras_resnet.weights.formats import hdf5

KERNEL = "conv1_conv/conv1_conv/kernel:0"
OWN_KERNEL = "layers/conv2d/vars/0"


@pytest.fixture(scope="module")
def model():
    return fuzzing.speck()


@pytest.fixture
def refused(model):
    """Loads a file that is wrong: `refused(path, "what the message says")`."""
    before = fuzzing.values(model)

    def check(path, message, **options):
        card = model.card
        with pytest.raises(InputError, match=message) as caught:
            load_weights(model, path, **options)
        assert str(caught.value).isprintable()  # a line
        after = fuzzing.values(model)
        assert all(np.array_equal(before[name], after[name]) for name in before)
        assert model.card == card

    return check


@pytest.fixture
def whole(model, tmp_path):
    """A whole file of a kind: `whole("h5")`."""

    def write(kind):
        fuzzing.write_whole(model, kind, tmp_path / f"a.{kind}")
        return tmp_path / f"a.{kind}"

    return write


def change_header(path, change):
    """Has `change` work on the header of safetensors; it may return another text."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    changed = change(header)
    text = changed if isinstance(changed, str) else json.dumps(header)
    size = len(text.encode()).to_bytes(8, "little")
    path.write_bytes(size + text.encode() + content[8 + length :])


@pytest.mark.parametrize("kind", ["safetensors", "h5", "weights.h5", "keras"])
@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.999])
def test_truncated(kind, share, whole, refused):
    path = whole(kind)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refused(path, "not a whole")


@pytest.mark.parametrize("kind", ["safetensors", "h5", "weights.h5", "keras"])
def test_another_content(kind, whole, refused):
    path = whole(kind)
    path.write_text("<html>Not found</html>")
    refused(path, "not a whole")


def test_a_bit_of_a_keras_file(whole, refused):
    path = whole("keras")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    refused(path, "CRC")
    with pytest.raises(InputError, match="CRC"):
        load_model(path)


@pytest.mark.parametrize("length", [2**60, 2**63, 2**64 - 1, 10**8])
def test_a_header_that_promises_too_much(length, whole, refused):
    path = whole("safetensors")
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
    refused(path, "not a whole safetensors file")


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["fc.bias"].update(shape=[2**60]),
        lambda header: header["fc.bias"].update(shape=[2**32, 2**32]),
        lambda header: header["fc.bias"].update(shape=[-3]),
        lambda header: header["fc.bias"].update(data_offsets=[2**60, 2**60 + 12]),
        lambda header: header["fc.bias"].update(data_offsets=[0, 12]),
        lambda header: header["fc.bias"].update(data_offsets=[12, 0]),
        lambda header: header["fc.bias"].update(dtype="F32\n\x1b[2J"),
        lambda header: header.update(more=header["fc.bias"]),
        lambda header: "[" * 10**5,
        lambda header: json.dumps(header).replace('"fc.weight"', '"fc.bias"'),
    ],
)
def test_a_header_of_safetensors_that_lies(change, whole, refused):
    path = whole("safetensors")
    change_header(path, change)
    refused(path, "not a whole safetensors file")


@pytest.mark.parametrize("name", ["../../fc.bias", "/etc/passwd", "fc\nbias", "", "ü"])
def test_a_name_that_no_tensor_has(name, whole, refused, tmp_path):
    path = whole("safetensors")
    tensors = load_file(path)
    tensors[name] = tensors.pop("fc.bias")
    save_file(tensors, path)
    refused(path, "is no name|has no place|is missing")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "bool"])
def test_numbers_of_another_type(dtype, whole, refused):
    path = whole("safetensors")
    tensors = load_file(path)
    tensors["conv1.weight"] = tensors["conv1.weight"].astype(dtype)
    save_file(tensors, path)
    refused(path, "conv1.weight is of type .*; accepted are")
    path = whole("h5")
    with h5py.File(path, "r+") as file:
        value = file[KERNEL][()].astype(dtype)
        del file[KERNEL]
        file[KERNEL] = value
    refused(path, "conv1/kernel is missing")


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(number, model, whole, refused):
    path = whole("safetensors")
    tensors = load_file(path)
    tensors["conv1.weight"][1, 2, 3, 4] = number
    save_file(tensors, path)
    refused(path, "conv1/kernel holds NaN or infinity")
    for kind, kernel in (("h5", KERNEL), ("weights.h5", OWN_KERNEL)):
        path = whole(kind)
        with h5py.File(path, "r+") as file:
            file[kernel][3, 4, 2, 1] = number
        refused(path, "conv1/kernel holds NaN or infinity")
    kernel = model.get_layer("speck-conv1").kernel
    kept = kernel.numpy()
    kernel.assign(np.full(kept.shape, number))
    path = whole("keras")
    kernel.assign(kept)
    refused(path, "conv1/kernel holds NaN or infinity")


def test_numbers_that_float32_cannot_hold(whole, refused):
    path = whole("safetensors")
    tensors = load_file(path)
    tensors["fc.bias"] = np.array([1, 1e300, 1])
    save_file(tensors, path)
    refused(path, "fc/bias holds NaN or infinity")


@pytest.mark.parametrize("kind", ["safetensors", "weights.h5", "keras"])
@pytest.mark.parametrize("name", ["resnet50", "resnet18", "densenet121"])
def test_another_architecture(kind, name, tmp_path, refused):
    path = tmp_path / f"a.{kind}"
    fuzzing.write_whole(build(tiny(name), classes=3), kind, path)
    refused(path, "does not fit speck: ")


@pytest.mark.parametrize("kind", ["safetensors", "weights.h5", "keras"])
def test_a_missing_head(kind, model, tmp_path, refused):
    headless = build(model.card.architecture, include_top=False)
    path = tmp_path / f"a.{kind}"
    fuzzing.write_whole(headless, kind, path)
    refused(path, "has no classifier: ")
    load_weights(fuzzing.speck(), path, head="new")


@pytest.mark.parametrize("link", ["soft", "external", "dataset", "virtual"])
@pytest.mark.parametrize("kind", ["h5", "weights.h5"])
def test_links_to_other_files_are_not_followed(link, kind, whole, refused, tmp_path):
    path, other = whole(kind), tmp_path / "other.h5"
    kernel = KERNEL if kind == "h5" else OWN_KERNEL
    other.write_bytes(path.read_bytes())
    with h5py.File(path, "r+") as file:
        shape = file[kernel].shape
        del file[kernel]
        if link == "soft":
            file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/")
            file[kernel] = h5py.SoftLink("/elsewhere")
        elif link == "external":
            file[kernel] = h5py.ExternalLink("other.h5", kernel)
        elif link == "dataset":
            bytes_of = [("other.h5", 0, h5py.h5f.UNLIMITED)]
            file.create_dataset(kernel, shape, "f4", external=bytes_of)
        else:
            layout = h5py.VirtualLayout(shape, "f4")
            layout[...] = h5py.VirtualSource("other.h5", kernel, shape)
            file.create_virtual_dataset(kernel, layout)
    refused(path, "conv1/kernel is missing|not stored whole")


def test_an_array_of_which_the_file_holds_nothing(whole, refused):
    path = whole("h5")
    with h5py.File(path, "r+") as file:
        del file[KERNEL]
        file.create_dataset(KERNEL, (2**20,) * 3, "f4", chunks=(64, 64, 64))
    refused(path, "not stored whole")


@pytest.mark.parametrize("kind", ["h5", "weights.h5"])
def test_an_hdf5_file_without_end(kind, whole, refused, monkeypatch):
    """A tree whose node is its own neighbour keeps libhdf5 busy for ever."""
    path = whole(kind)
    content = bytearray(path.read_bytes())
    node = content.index(b"TREE")
    content[node + 16 : node + 24] = node.to_bytes(8, "little")
    path.write_bytes(content)
    monkeypatch.setattr(hdf5, "MAX_SECONDS", 3)
    refused(path, "no end is found in 3 seconds")


def test_a_crash_of_the_library(whole, refused, monkeypatch, tmp_path):
    path, python = whole("h5"), tmp_path / "python"
    python.write_text("#!/bin/sh\nkill -SEGV $$\n")
    python.chmod(0o755)
    monkeypatch.setattr(hdf5.sys, "executable", str(python))
    refused(path, r"the HDF5 library crashes on it \(signal 11\)")


def rewritten(path, change):
    """Writes a zip archive anew; `change(name, content)` gives both, or None."""
    with zipfile.ZipFile(path) as archive:
        parts = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts:
            if changed := change(name, content):
                archive.writestr(*changed)


def test_a_keras_file_packed_anew_is_the_same(model, whole):
    path = whole("keras")
    rewritten(path, lambda name, content: (name, content))
    again = fuzzing.speck()
    randomize(again, seed=5)
    load_weights(again, path)
    assert all(map(np.array_equal, again.get_weights(), model.get_weights()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n, c: (f"../../{n}", c), "not a .keras file"),
        (lambda n, c: (n.replace("model.w", "../../model.w"), c), "model.weights.h5"),
        (lambda n, c: None if n.endswith(".h5") else (n, c), "model.weights.h5"),
        (lambda n, c: (n, bytes(2**28) if n.endswith(".h5") else c), "more than"),
        (lambda n, c: (n, bytes(2**28) if n.endswith("card.json") else c), "more than"),
        (lambda n, c: (n, b"[" * 10**6 if n.endswith("card.json") else c), "card"),
        (lambda n, c: (n, b"\xff" if n.endswith("card.json") else c), "card"),
    ],
)
def test_a_keras_file_with_other_members(change, message, whole, refused, tmp_path):
    path = whole("keras")
    rewritten(path, change)
    refused(path, message)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("name", "place", "size"),
    [
        ("layer1.0.conv1.bias", "stack0_block0_1_conv/bias", 3),  # of two channels
        ("layer1.0.downsample..bias", "layer1.0.downsample./bias", 2),
        ("conv1.running_var", "conv1_conv/moving_variance", 2),
    ],
)
def test_an_array_without_a_place(name, place, size, whole, refused):
    array, layer = np.ones(size, "float32"), place.split("/")[0]
    path = whole("safetensors")
    save_file(load_file(path) | {name: array}, path)
    refused(path, "has no place in the model")
    path = whole("h5")
    with h5py.File(path, "r+") as file:
        file.pop(f"{layer}/{place}:0", None)
        file[f"{layer}/{place}:0"] = array
    refused(path, "has no place in the model")


def test_a_preset_that_asks_for_endless_blocks(whole, refused):
    folder = whole("preset")
    config = fuzzing.PRESET | {"stackwise_num_blocks": [2**60]}
    (folder / "config.json").write_text(json.dumps({"config": config}))
    refused(folder, "too many blocks")


def test_weights_do_not_change_with_their_file(whole, model):
    for kind in ("safetensors", "h5", "weights.h5"):
        path = whole(kind)
        again = fuzzing.speck()
        load_weights(again, path)
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
        assert all(map(np.array_equal, again.get_weights(), model.get_weights())), kind


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(whole, refused):
    path = whole("safetensors")
    path.chmod(0)
    refused(path, "cannot read .*Permission denied")
