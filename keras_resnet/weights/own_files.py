"""`.keras` and `.weights.h5` files that Keras saved of a model of this package."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_resnet.hdf5 import read_hdf5
from keras_resnet.weights.matching import named_layers, refuse
from keras_resnet.weights.stored import Stored, copied
from keras_resnet.weights.torch_layout import CLASSIFIERS

if TYPE_CHECKING:
    import keras

_VARIABLE = re.compile(r"(layers/[^/]+/vars)/(\d{1,3})")
_HEAD = ("images", "avgpool", "maxpool.global", "dropout", *CLASSIFIERS)


def read_own(path: Path, model: "keras.Model") -> dict[str, Stored]:
    """The weights of a file by their names here.

    Keras numbers a layer's variables and keeps the layer's name as an attribute. The
    model's own layers tell what a number means.

    Raises:
        InputError: no such file, or damaged.
    """
    arrays, layers = read_hdf5(path)
    prefix = f"{layers.get('vars')}-"  # of the names of all layers: the model's own
    ours = named_layers(model)
    found = {}
    for place, array in arrays.items():
        match = _VARIABLE.fullmatch(place)
        layer = layers.get(match[1], "") if match else ""
        if layer.startswith(prefix):
            name = layer.removeprefix(prefix).replace("-", ".")
            kinds = [one.name for one in ours[name].weights] if name in ours else []
            number = int(match[2])
            kind = kinds[number] if number < len(kinds) else match[2]
            found[f"{name}/{kind}"] = Stored(array, array.shape, copied)
    return found


def require_same_graph(model: "keras.Model", other: dict, source: str) -> None:
    """Refuses weights of a network whose layers or strides are others.

    Shapes alone do not tell v1 from v1.5, or a plain net from one with shortcut A.
    The head may differ.

    Args:
        model: to be given weights.
        other: Keras's configuration of the model that has them.
        source: where `other` comes from, for the message.

    Raises:
        MismatchError: naming the layers that differ.
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
    refuse(faults, model, source)


def _strides(config: dict) -> dict[str, Any]:
    """The stride of every layer before the head by its name; None if it has none."""
    config = config["config"]
    prefix = f"{config['name']}-"
    layers = [one["config"] for one in config["layers"]]
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
