"""Thousands of damaged files: an InputError each, or a model loaded whole."""

import h5py
import numpy as np
import pytest
from conftest import randomize

from keras_resnet import InputError, build, export_weights, load_weights
from keras_resnet.architectures import cifar
from keras_resnet.weights.matching import arrays_of

MUTATIONS = ("flip", "cut", "insert", "zero", "digits")


def mutated(whole: bytes, generator, header: int) -> bytes:
    """One of the damages that disks, networks and enemies do."""
    kind = generator.choice(MUTATIONS)
    # half of them where the structure is described
    end = header if generator.random() < 0.5 else len(whole)
    at = int(generator.integers(end))
    content = bytearray(whole)
    if kind == "flip":
        content[at] ^= 1 << int(generator.integers(8))
    elif kind == "cut":
        del content[at:]
    elif kind == "insert":
        content[at:at] = generator.bytes(int(generator.integers(1, 9)))
    elif kind == "zero":
        length = int(generator.integers(1, 65))
        content[at : at + length] = bytes(len(content[at : at + length]))
    else:  # numbers of shapes and places
        content[at : at + 4] = b"9" * len(content[at : at + 4])
    return bytes(content)


def write_h5(model, path):
    """A file as keras.applications publishes them, of a model of another kind."""
    with h5py.File(path, "w") as file:
        for name, array in arrays_of(model).items():
            layer, kind = name.split("/")
            file.create_dataset(f"{layer}/{layer}/{kind}:0", data=array)


@pytest.mark.parametrize("suffix", [".safetensors", ".h5"])
@pytest.mark.parametrize(
    "number", [100, pytest.param(5000, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_damaged_files(suffix, number, tmp_path):
    model = build(cifar(8), weights=None)
    randomize(model)
    path = tmp_path / f"a{suffix}"
    if suffix == ".h5":
        write_h5(model, path)
    else:
        export_weights(model, path)
    whole = path.read_bytes()
    header = 2**13 if suffix == ".h5" else 8 + int.from_bytes(whole[:8], "little")
    load_weights(model, path)
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(number):
        path.write_bytes(mutated(whole, generator, header))
        before = model.get_weights()
        try:
            load_weights(model, path)
        except InputError as error:
            refused += 1
            assert len(str(error)) < 2000, error
            after = model.get_weights()
            assert all(map(np.array_equal, before, after))
        assert all(np.isfinite(value).all() for value in model.get_weights())
    assert refused > number / 4
