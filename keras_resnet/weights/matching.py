"""Strict two-way matching of named arrays with a model's variables."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keras_resnet.errors import InputError

if TYPE_CHECKING:
    import keras


def named_variables(model: "keras.Model") -> dict[str, Any]:
    """Every weight by its layer's name in the reference: `layer1.0.conv1/kernel`.

    That is the layer's own without the model's, with dots for dashes.
    """
    prefix = f"{model.name}-"
    return {
        f"{layer.name.removeprefix(prefix).replace('-', '.')}/{variable.name}": variable
        for layer in model.layers
        for variable in layer.weights
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
    if faults:
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        raise InputError(
            f"{source} does not fit {model.name}: {'; '.join(faults[:3])}{more}."
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])
