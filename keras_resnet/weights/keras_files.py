"""HDF5 files of keras.applications, and preset folders of keras-hub."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from keras_resnet.common.errors import InputError
from keras_resnet.hdf5 import read_hdf5
from keras_resnet.weights.names import from_keras
from keras_resnet.weights.stored import Stored, copied

APPLICATIONS_EPSILON = 1.001e-5  # of the normalisations in its resnet.py
_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
_KINDS = {  # of a layer's variables, by Keras's name of its class
    "conv2d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "batch_normalization": _NORM,
}
_VARIABLE = re.compile(r"(?:.*/)?layers/([^/]+)/vars/(\d)")
_MOST_BLOCKS = 1000  # keras-hub's deepest has 66
# of the backbone, and of the classifier, where some versions put the backbone as well
PRESET_FILES = ("model.weights.h5", "task.weights.h5")


def read_applications(path: Path) -> dict[str, Stored]:
    """Weights that keras.applications publishes or that `model.save("x.h5")` wrote.

    Raises:
        InputError: damaged, or no weights of layers in it.
    """
    found = {}
    arrays, _ = read_hdf5(path)
    for name, array in arrays.items():
        parts = name.removeprefix("model_weights/").split("/")
        # the layer's name stands twice, and an optimizer's state elsewhere
        if len(parts) >= 3 and parts[0] != "optimizer_weights":
            found[parts[0], parts[-1].removesuffix(":0")] = array
    return _canonical(path, found)


def read_preset(folder: Path, config: dict) -> dict[str, Stored]:
    """The weights in a keras-hub preset, with the classifier where it has one.

    Args:
        folder: with one of `PRESET_FILES` or both.
        config: of its `config.json`, key "config".

    Raises:
        InputError: damaged, or no ResNet.
    """
    if sum(config["stackwise_num_blocks"]) > _MOST_BLOCKS:
        raise InputError(f"{folder}: its config.json asks for too many blocks.")
    names = _preset_names(config)
    found = {}
    for name in PRESET_FILES:
        if (path := folder / name).exists():
            found |= _variables(path, names)
    return _canonical(folder, found)


def _canonical(path, found: dict[tuple[str, str], Any]) -> dict:
    if not found:
        raise InputError(f"{path} holds no weights of layers.")
    layers = {layer for layer, _ in found}
    return {
        f"{from_keras(layer, layers)}/{kind}": Stored(array, array.shape, copied)
        for (layer, kind), array in found.items()
    }


def _variables(path: Path, names: dict[str, str]) -> dict:
    """Arrays by layer and kind, of a file that Keras 3's `save_weights` wrote.

    Its groups are numbered by class (`conv2d_1`) in the order of `model.layers`. Later
    versions of Keras add the layer's name as an attribute.

    Args:
        path: of the file.
        names: of the layers whose groups have no such attribute.
    """
    arrays, attributes = read_hdf5(path)
    found = {}
    for name, array in arrays.items():
        if match := _VARIABLE.fullmatch(name):
            group, place = match.groups()
            kinds = _KINDS.get(re.sub(r"_\d+$", "", group), ())
            layer = attributes.get(str(PurePosixPath(name).parent))
            layer = layer or names.get(group, group)
            kind = kinds[int(place)] if int(place) < len(kinds) else place
            found[layer, kind] = array
    return found


def _preset_names(config: dict) -> dict[str, str]:
    """The layer of each group, from the order in which Keras sorts the graph."""
    counts = Counter()
    names = {"dense": "predictions"}
    for layer in _layers(config):
        kind = "conv2d" if layer.endswith("_conv") else "batch_normalization"
        group = f"{kind}_{counts[kind]}" if counts[kind] else kind
        names[group] = layer
        counts[kind] += 1
    return names


def _layers(config: dict) -> Iterator[str]:
    """Layers with weights of keras-hub's ResNetBackbone, each kind in graph order."""
    preactivation = config["use_pre_activation"]
    stem = len(config["input_conv_filters"])
    basic = config["block_type"].startswith("basic")
    for i in range(1, stem + 1):
        yield f"conv{i}_conv"
        if i < stem or not preactivation:
            yield f"conv{i}_bn"
    for stack, depth in enumerate(config["stackwise_num_blocks"]):
        for i in range(depth):
            name = f"stack{stack}_block{i}"
            if preactivation:
                yield f"{name}_pre_activation_bn"
            branch = ["1", "2"] if basic else ["1", "2", "3"]
            projects = i == 0 and (stack > 0 or config["block_type"] != "basic_block")
            # the shortcut is as far from the sum as the branch's last convolution
            for part in [*branch[:-1], *["0"] * projects, branch[-1]]:
                yield f"{name}_{part}_conv"
                if not preactivation or part in branch[:-1]:
                    yield f"{name}_{part}_bn"
    if preactivation:
        yield "post_bn"
