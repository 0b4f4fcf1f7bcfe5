"""Weights of a network with other classes, other input channels, or with biases."""

import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_resnet.common.errors import InputError
from keras_resnet.weights.matching import (
    classifier_of,
    named_layers,
    named_variables,
)

if TYPE_CHECKING:
    import keras

HEADS = ("file", "new")
_CONVOLUTION = re.compile(r"(.*)(conv|downsample\.(?=\d))(\d*)/bias")


def adapt_channels(arrays: Mapping[str, Any], variables: Mapping[str, Any]) -> dict:
    """The first convolution for as many input channels as the model has.

    As timm's `adapt_input_conv`: for one channel the kernel is summed over the file's;
    for others, a kernel for three channels is repeated over the model's and scaled by
    3 / channels, which keeps the size of its output.

    Args:
        arrays: by canonical name.
        variables: of the model, by the same names.
    """
    arrays = dict(arrays)
    name = next((one for one in variables if one.endswith("/kernel")), None)
    if name not in arrays:
        return arrays
    wanted, given = tuple(variables[name].shape), tuple(arrays[name].shape)
    same_but_channels = wanted[:2] + wanted[3:] == given[:2] + given[3:]
    channels, had = wanted[2], given[2] if len(given) == 4 else None
    if same_but_channels and channels != had and (channels == 1 or had == 3):
        kernel = np.asarray(arrays[name])
        if channels == 1:
            arrays[name] = kernel.sum(axis=2, keepdims=True)
        else:
            arrays[name] = kernel[:, :, np.arange(channels) % 3] * (3 / channels)
    return arrays


def fold_biases(
    arrays: Mapping[str, Any], model: "keras.Model", epsilon: float | None
) -> dict:
    """Biases and epsilon of keras.applications, for a network that has neither.

    A batch norm subtracts the mean and divides by sqrt(variance + epsilon): a bias
    before it lowers the mean, and another epsilon changes the variance.

    Args:
        arrays: by canonical name.
        model: to be given weights.
        epsilon: of the file's normalisations; None for the model's.
    """
    variables = named_variables(model)
    arrays = dict(arrays)
    for name in [one for one in arrays if one not in variables]:
        if match := _CONVOLUTION.fullmatch(name):
            prefix, kind, number = match.groups()
            norm = "bn" + number if kind == "conv" else f"{kind}{int(number) + 1}"
            mean = f"{prefix}{norm}/moving_mean"
            if mean in arrays and arrays[mean].shape == arrays[name].shape:
                arrays[mean] = np.asarray(arrays[mean]) - np.asarray(arrays.pop(name))
    for name, layer in named_layers(model).items():
        key = f"{name}/moving_variance"
        if key not in variables or key not in arrays or epsilon is None:
            continue
        if layer.epsilon != epsilon:
            arrays[key] = np.asarray(arrays[key]) + np.float32(epsilon - layer.epsilon)
    return arrays


def adapt_head(
    arrays: Mapping[str, Any], model: "keras.Model", head: str, source: str
) -> tuple[dict, bool]:
    """The classifier for as many classes as the model has.

    Args:
        arrays: by canonical name.
        model: to be given weights.
        head: "file" takes the file's classifier; where it has another number of
            classes, a new one is drawn, with a warning. "new" draws one anyway.
        source: where the arrays come from, for the message.

    Returns:
        The arrays, and whether the model has the file's classifier.

    Raises:
        InputError: another value of `head`, or no classifier in the file.
    """
    if head not in HEADS:
        raise InputError(f"head={head!r}: accepted are 'file' and 'new'.")
    arrays = dict(arrays)
    layer = classifier_of(named_variables(model))
    if layer is None:
        return arrays, False
    dense = named_layers(model)[layer]
    kernel = dense.kernel
    given = arrays.get(f"{layer}/kernel")
    if head == "file":
        if classifier_of(arrays) is None:
            raise InputError(
                f"{source} has no classifier: build the model with include_top=False, "
                'or have a new one drawn by load_weights(..., head="new").'
            )
        if given is None or not _other_classes(given.shape, kernel.shape):
            return arrays, True
        warnings.warn(
            f"{source} has {given.shape[-1]} classes and {model.name} "
            f"{kernel.shape[-1]}: the classifier is drawn anew.",
            stacklevel=4,
        )
    from keras import ops

    for kind in ("kernel", "bias"):
        drawn = getattr(dense, f"{kind}_initializer")(getattr(dense, kind).shape)
        arrays[f"{layer}/{kind}"] = ops.convert_to_numpy(drawn)
    return arrays, False


def _other_classes(given, wanted) -> bool:
    return len(given) == 2 and given[0] == wanted[0] and given[1] != wanted[1]
