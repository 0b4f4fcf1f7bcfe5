"""Strict two-way matching of named arrays with a model's variables."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keras_resnet.errors import InputError

if TYPE_CHECKING:
    import keras

_HEAD = ("images", "avgpool", "maxpool.global", "fc")


def named_variables(model: "keras.Model") -> dict[str, Any]:
    """Every weight by its layer's name in the reference: `layer1.0.conv1/kernel`.

    Layers that were there before the network, in `input_tensor`, are passed over.
    """
    return {
        f"{name}/{variable.name}": variable
        for name, layer in _named_layers(model).items()
        for variable in layer.weights
    }


def _named_layers(model: "keras.Model") -> dict[str, Any]:
    """The network's layers, named without the model's name and with dots for dashes."""
    prefix = f"{model.name}-"
    return {
        layer.name.removeprefix(prefix).replace("-", "."): layer
        for layer in model.layers
        if layer.name.startswith(prefix)
    }


def require_same_graph(model: "keras.Model", other: "keras.Model", source: str) -> None:
    """Refuses weights of a network whose layers or strides are others.

    Shapes alone do not tell v1 from v1.5, or a plain net from one with shortcut A.
    The head may differ.

    Args:
        model: to be given weights.
        other: that has them.
        source: where `other` comes from, for the message.

    Raises:
        InputError: naming the layers that differ.
    """
    ours, theirs = _strides(model), _strides(other)
    faults = [
        *(f"{name} is missing" for name in ours if name not in theirs),
        *(f"{name} has no place in the model" for name in theirs if name not in ours),
        *(
            f"{name} has stride {theirs[name]}, the model's {stride}"
            for name, stride in ours.items()
            if name in theirs and theirs[name] != stride
        ),
    ]
    _refuse(faults, model, source)


def _strides(model: "keras.Model") -> dict[str, Any]:
    """The stride of every layer before the head by its name; None if it has none."""
    return {
        name: getattr(layer, "strides", None)
        for name, layer in _named_layers(model).items()
        if name not in _HEAD and not name.endswith(".padding")  # goes with a stride
    }


def assign(model: "keras.Model", arrays: Mapping[str, Any], source: str) -> None:
    """Sets every weight of a model; all of them or none.

    Args:
        model: its weights are named as `named_variables` does.
        arrays: by the same names. A classifier is passed over where the model has
            none.
        source: where the arrays come from, for the message.

    Raises:
        InputError: a name is missing or left over, or a shape differs.
    """
    variables = named_variables(model)
    heads = {"fc/kernel", "fc/bias"} - variables.keys()
    faults = [
        *(f"{name} is missing" for name in variables if name not in arrays),
        *(
            f"{name} has no place in the model"
            for name in arrays
            if name not in variables and name not in heads
        ),
        *(
            f"{name} has shape {tuple(arrays[name].shape)}, "
            f"the model's {tuple(variable.shape)}"
            for name, variable in variables.items()
            if name in arrays and tuple(arrays[name].shape) != tuple(variable.shape)
        ),
    ]
    _refuse(faults, model, source)
    for name, variable in variables.items():
        variable.assign(arrays[name])


def _refuse(faults: list[str], model: "keras.Model", source: str) -> None:
    """Raises an InputError that names the first faults, if there are any."""
    if faults:
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        raise InputError(
            f"{source} does not fit {model.name}: {'; '.join(faults[:3])}{more}."
        )
