"""Strict two-way matching of named arrays with a model's variables."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_resnet.common.errors import InputError
from keras_resnet.weights.stored import is_finite
from keras_resnet.weights.torch_layout import CLASSIFIERS

if TYPE_CHECKING:
    import keras


class MismatchError(InputError):
    """Weights do not fit a model. `faults` lists all reasons, a line each."""

    def __init__(self, message: str, faults: list[str]):
        super().__init__(message)
        self.faults = faults


def named_variables(model: "keras.Model") -> dict[str, Any]:
    """Every weight by its layer's name in the reference: `layer1.0.conv1/kernel`.

    Layers that were there before the network, in `input_tensor`, are passed over.
    """
    return {
        f"{name}/{variable.name}": variable
        for name, layer in named_layers(model).items()
        for variable in layer.weights
    }


def arrays_of(model: "keras.Model") -> dict[str, np.ndarray]:
    """The values of `named_variables`."""
    return {k: variable.numpy() for k, variable in named_variables(model).items()}


def named_layers(model: "keras.Model") -> dict[str, Any]:
    """The network's layers, named without the model's name and with dots for dashes."""
    prefix = f"{model.name}-"
    return {
        layer.name.removeprefix(prefix).replace("-", "."): layer
        for layer in model.layers
        if layer.name.startswith(prefix)
    }


def classifier_of(names: Mapping[str, Any]) -> str | None:
    """The classifier among names of layers or weights; None where there is none."""
    layers = {name.split("/")[0] for name in names}
    return next((name for name in CLASSIFIERS if name in layers), None)


def assign(model: "keras.Model", arrays: Mapping[str, Any], source: str) -> None:
    """Sets every weight of a model; all of them or none.

    Args:
        model: its weights are named as `named_variables` does.
        arrays: array-likes by the same names. A classifier is passed over where the
            model has none.
        source: where the arrays come from, for the message.

    Raises:
        MismatchError: a name is missing or left over, or a shape differs.
        InputError: a number is not finite.
    """
    variables = named_variables(model)
    passed_over = None if classifier_of(variables) else classifier_of(arrays)
    arrays = {
        name: array
        for name, array in arrays.items()
        if name.split("/")[0] != passed_over
    }
    refuse(_faults(variables, arrays), model, source)
    refuse_not_finite(arrays, source)
    for name, variable in variables.items():
        # as it is, since TensorFlow would copy a numpy array once more
        variable.assign(arrays[name])


def refuse_not_finite(arrays: Mapping[str, Any], source: str) -> None:
    """Raises an InputError where a number is not finite, as a float32."""
    for name, array in arrays.items():
        if not is_finite(array):
            raise InputError(f"{source}: {name} holds NaN or infinity.")


def _faults(variables: Mapping[str, Any], arrays: Mapping[str, Any]) -> list[str]:
    return [
        *(f"{name} is missing" for name in variables if name not in arrays),
        *(
            f"{name} has no place in the model"
            for name in arrays
            if name not in variables
        ),
        *(
            f"{name} has shape {tuple(arrays[name].shape)}, "
            f"the model's {tuple(variable.shape)}"
            for name, variable in variables.items()
            if name in arrays and tuple(arrays[name].shape) != tuple(variable.shape)
        ),
    ]


def refuse(faults: list[str], model: "keras.Model", source: str) -> None:
    """Raises a MismatchError that names the first faults, if there are any."""
    if faults:
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        raise MismatchError(
            f"{source} does not fit {model.name}: {'; '.join(faults[:3])}{more}.",
            faults,
        )
