"""HDF5 files that Keras wrote: keras.applications', keras-hub's and this package's own.

The first two have other names of layers, which are translated to those here; `.keras`
and `.weights.h5` files of this package have them already.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from keras_resnet.common.errors import InputError
from keras_resnet.weights.assign import (
    CLASSIFIERS,
    StoredTensor,
    named_layers,
    refuse_mismatch,
)
from keras_resnet.weights.formats.hdf5 import read_hdf5

if TYPE_CHECKING:
    import keras

APPLICATIONS_EPSILON = 1.001e-5  # of the normalizations in its resnet.py
_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
_KINDS = {  # of a layer's variables, by Keras's name of its class
    "conv2d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "batch_normalization": _NORM,
}
_VARIABLE = re.compile(r"(?:.*/)?layers/([^/]+)/vars/(\d)")
MAX_PRESET_BLOCKS = 1000  # keras-hub's deepest has 66
# of the backbone, and of the classifier, where some versions put the backbone as well
PRESET_FILES = ("model.weights.h5", "task.weights.h5")
_OWN_VARIABLE = re.compile(r"(layers/[^/]+/vars)/(\d{1,3})")
_HEAD = ("images", "avgpool", "maxpool.global", "dropout", *CLASSIFIERS)
# keras.applications' resnet.py (stages from 2, blocks from 1) and keras-hub's
# resnet_backbone.py (both from 0)
_KERAS_BLOCK = re.compile(r"(conv|stack)(\d+)_block(\d+)_(.+)")
_KERAS_FIRST = {"conv": (2, 1), "stack": (0, 0)}
_KERAS_HEADS = ("predictions", "probs")  # the latter in the published files, of 2019
_DEEP_STEM = {  # places in timm's Sequential
    **{f"conv{i + 1}_conv": f"conv1.{3 * i}" for i in range(3)},
    **{f"conv{i + 1}_bn": f"conv1.{3 * i + 1}" for i in range(2)},
    "conv3_bn": "bn1",
}


def read_applications(path: Path) -> dict[str, StoredTensor]:
    """Weights that keras.applications publishes or that `model.save("x.h5")` wrote.

    Raises:
        InputError: damaged, or no weights of layers in it.
    """
    variables = {}
    arrays, _ = read_hdf5(path)
    for name, array in arrays.items():
        parts = name.removeprefix("model_weights/").split("/")
        # the layer's name stands twice, and an optimizer's state elsewhere
        if len(parts) >= 3 and parts[0] != "optimizer_weights":
            variables[parts[0], parts[-1].removesuffix(":0")] = array
    return _canonical(path, variables)


def read_preset(folder: Path, config: dict) -> dict[str, StoredTensor]:
    """The weights in a keras-hub preset, with the classifier where it has one.

    `config` is of its `config.json`, key "config". An InputError where the folder is
    damaged or holds no ResNet.
    """
    if sum(config["stackwise_num_blocks"]) > MAX_PRESET_BLOCKS:
        raise InputError(f"{folder}: its config.json asks for too many blocks.")
    names = _preset_names(config)
    variables = {}
    for name in PRESET_FILES:
        if (path := folder / name).exists():
            variables |= _numbered_variables(path, names)
    return _canonical(folder, variables)


def _canonical(path: Path, variables: dict[tuple[str, str], Any]) -> dict:
    if not variables:
        raise InputError(f"{path} holds no weights of layers.")
    layers = {layer for layer, _ in variables}
    return {
        f"{_from_keras(layer, layers)}/{kind}": _stored(array)
        for (layer, kind), array in variables.items()
    }


def _stored(array: Any) -> StoredTensor:
    """An array that lies as Keras has it; a new one, float32, when it is read."""
    return StoredTensor(array, array.shape, lambda source: source.astype("float32"))


def _numbered_variables(path: Path, names: dict[str, str]) -> dict:
    """Arrays by layer and kind, of a file that Keras 3's `save_weights` wrote.

    Its groups are numbered by class (`conv2d_1`) in the order of `model.layers`. Later
    versions of Keras add the layer's name as an attribute; `names` has those of groups
    without.
    """
    arrays, attributes = read_hdf5(path)
    variables = {}
    for name, array in arrays.items():
        if match := _VARIABLE.fullmatch(name):
            group, place = match.groups()
            kinds = _KINDS.get(re.sub(r"_\d+$", "", group), ())
            layer = attributes.get(str(PurePosixPath(name).parent))
            layer = layer or names.get(group, group)
            kind = kinds[int(place)] if int(place) < len(kinds) else place
            variables[layer, kind] = array
    return variables


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


def _from_keras(name: str, layers: set[str]) -> str:
    """`conv2_block1_0_bn` or `stack0_block0_0_bn` -> `layer1.0.downsample.1`.

    `layers` are all names in the file, which tell v2 and the vd form.
    """
    preactivation, deep = "post_bn" in layers, "conv3_conv" in layers
    if match := _KERAS_BLOCK.fullmatch(name):
        scheme, stage, block, part = match.groups()
        first_stage, first_block = _KERAS_FIRST[scheme]
        place = int(stage) - first_stage, int(block) - first_block
        return _keras_block(*place, part, preactivation, deep)
    if name in _KERAS_HEADS:
        return "head.fc" if preactivation else "fc"
    if deep:
        return _DEEP_STEM.get(name, name)
    if preactivation:
        return {"conv1_conv": "stem.conv", "post_bn": "norm"}.get(name, name)
    return {"conv1_conv": "conv1", "conv1_bn": "bn1"}.get(name, name)


def _keras_block(stage: int, block: int, part: str, preactivation, deep) -> str:
    """A layer of a block; stage and block from 0, part such as `1_conv`."""
    number, _, kind = part.rpartition("_")
    if preactivation:
        # a normalization stands before the convolution that it is numbered with
        norms = {"preact": 1, "pre_activation": 1, "1": 2, "2": 3}
        layer = "downsample.conv" if number == "0" else f"conv{number}"
        if kind == "bn":
            layer = f"norm{norms.get(number, number)}"
        return f"stages.{stage}.blocks.{block}.{layer}"
    if number == "0":  # after the pool that the deep form has there
        return f"layer{stage + 1}.{block}.downsample.{(kind == 'bn') + deep}"
    return f"layer{stage + 1}.{block}.{kind}{number}"


def read_own(path: Path, model: "keras.Model") -> dict[str, StoredTensor]:
    """The weights of a file by their names here.

    Keras numbers a layer's variables and keeps the layer's name as an attribute. The
    model's own layers tell what a number means.

    Raises:
        InputError: no such file, or damaged.
    """
    arrays, layers = read_hdf5(path)
    prefix = f"{layers.get('vars')}-"  # of the names of all layers: the model's own
    ours = named_layers(model)
    variables = {}
    for place, array in arrays.items():
        match = _OWN_VARIABLE.fullmatch(place)
        layer = layers.get(match[1], "") if match else ""
        if match and layer.startswith(prefix):
            name = layer.removeprefix(prefix).replace("-", ".")
            weights = ours[name].weights if name in ours else ()
            kinds = [weight.name for weight in weights]
            number = int(match[2])
            kind = kinds[number] if number < len(kinds) else match[2]
            variables[f"{name}/{kind}"] = _stored(array)
    return variables


def require_same_graph(model: "keras.Model", other: dict, source: str) -> None:
    """Refuses weights of a network whose layers or strides are others.

    Shapes alone do not tell v1 from v1.5, or a plain net from one with shortcut A.
    The head may differ. `other` is Keras's configuration of the model that has the
    weights, and `source` where it comes from; a MismatchError names what differs.
    """
    ours, theirs = _strides(json.loads(model.to_json())), _strides(other)
    faults = [
        *(f"{name} is missing" for name in ours if name not in theirs),
        *(f"{name} has no place in the model" for name in theirs if name not in ours),
        *(
            f"{name} has stride {theirs[name]}, the model's {stride}"
            for name, stride in ours.items()
            if name in theirs and theirs[name] != stride
        ),
    ]
    refuse_mismatch(faults, model, source)


def _strides(config: dict) -> dict[str, Any]:
    """The stride of every layer before the head by its name; None if it has none."""
    config = config["config"]
    prefix = f"{config['name']}-"
    layers = [layer["config"] for layer in config["layers"]]
    strides = {
        layer["name"].removeprefix(prefix).replace("-", "."): layer.get("strides")
        for layer in layers
        if layer["name"].startswith(prefix)
    }
    return {
        name: stride
        for name, stride in strides.items()
        if name not in _HEAD and not name.endswith(".padding")  # goes with a stride
    }
