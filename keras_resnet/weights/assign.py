"""Named tensors into a model's variables: adapted, matched strictly, all or none.

    arrays, has_head = adapt(model, arrays, "file", None, "a.safetensors")
    assign(model, arrays, "a.safetensors")

A weight's name is its layer's name in timm and Keras's name of the variable:
`layer1.0.conv1/kernel`.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_resnet.common.errors import ClassifierWarning, InputError

if TYPE_CHECKING:
    import keras

CLASSIFIERS = ("fc", "head.fc", "classifier")
HEADS = ("file", "new")
_CONVOLUTION_BIAS = re.compile(r"(.*)(conv|downsample\.(?=\d))(\d*)/bias")


class MismatchError(InputError):
    """Weights do not fit a model. `faults` lists all reasons, a line each."""

    def __init__(self, message: str, faults: list[str]):
        super().__init__(message)
        self.faults = faults


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a file, which `numpy.asarray` reads and lays out as Keras has it.

    Attributes:
        source: array-like in the file's own layout and type.
        shape: in Keras's layout.
        convert: from an array like `source` to a new one, float32 in Keras's layout.
            It must not be a view into a mapped file: TensorFlow would keep that as the
            value of a variable, which then changes with the file.
    """

    source: Any
    shape: tuple[int, ...]
    convert: Callable[[np.ndarray], np.ndarray]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self.convert(np.asarray(self.source)), dtype)


def named_layers(model: "keras.Model") -> dict[str, Any]:
    """The network's layers, named without the model's name and with dots for dashes.

    Layers before the network, in `input_tensor`, are skipped.
    """
    prefix = f"{model.name}-"
    return {
        layer.name.removeprefix(prefix).replace("-", "."): layer
        for layer in model.layers
        if layer.name.startswith(prefix)
    }


def named_variables(model: "keras.Model") -> dict[str, Any]:
    """Every weight of `named_layers` by its name, such as `layer1.0.conv1/kernel`."""
    return {
        f"{name}/{variable.name}": variable
        for name, layer in named_layers(model).items()
        for variable in layer.weights
    }


def named_arrays(model: "keras.Model") -> dict[str, np.ndarray]:
    """The values of `named_variables`."""
    return {k: variable.numpy() for k, variable in named_variables(model).items()}


def classifier_of(names: Iterable[str]) -> str | None:
    """The classifier among names of layers or weights; None where there is none."""
    layers = {name.split("/")[0] for name in names}
    return next((name for name in CLASSIFIERS if name in layers), None)


def adapt(
    model: "keras.Model",
    arrays: Mapping[str, Any],
    head: str,
    epsilon: float | None,
    source: str,
) -> tuple[dict[str, Any], bool]:
    """Weights for as many channels and classes as the model has, without extra biases.

    `head` is as in `load_weights`, `epsilon` of the file's normalizations (None for the
    model's), `source` for messages. Returns the arrays, and whether the model has the
    file's classifier; an InputError where `head` is another or the file has none.
    """
    arrays = dict(arrays)
    variables, layers = named_variables(model), named_layers(model)
    _adapt_channels(arrays, variables)
    _fold_biases(arrays, variables, layers, epsilon)
    return arrays, _adapt_head(arrays, model, layers, head, source)


def _adapt_channels(arrays: dict[str, Any], variables: Mapping[str, Any]) -> None:
    """The first convolution for as many input channels as the model has.

    As timm's `adapt_input_conv`: for one channel the kernel is summed over the file's;
    for others, a kernel for three channels is repeated over the model's and scaled by
    3 / channels, which keeps the size of its output.
    """
    name = next((name for name in variables if name.endswith("/kernel")), None)
    if name not in arrays or len(arrays[name].shape) != 4:
        return
    ours, theirs = tuple(variables[name].shape), tuple(arrays[name].shape)
    channels, file_channels = ours[2], theirs[2]
    others_differ = ours[:2] + ours[3:] != theirs[:2] + theirs[3:]
    if channels == file_channels or not file_channels or others_differ:
        return
    kernel = np.asarray(arrays[name])
    if channels == 1:
        arrays[name] = kernel.sum(axis=2, keepdims=True)
    elif file_channels == 3:
        arrays[name] = kernel[:, :, np.arange(channels) % 3] * (3 / channels)


def _fold_biases(
    arrays: dict[str, Any],
    variables: Mapping[str, Any],
    layers: Mapping[str, Any],
    epsilon: float | None,
) -> None:
    """Biases and epsilon of keras.applications, for a network that has neither.

    A batch norm subtracts the mean and divides by sqrt(variance + epsilon): a bias
    before it lowers the mean, and another epsilon changes the variance.
    """
    for name in [name for name in arrays if name not in variables]:
        if match := _CONVOLUTION_BIAS.fullmatch(name):
            prefix, kind, number = match.groups()
            norm = "bn" + number if kind == "conv" else f"{kind}{int(number) + 1}"
            mean = f"{prefix}{norm}/moving_mean"
            if mean in arrays and arrays[mean].shape == arrays[name].shape:
                arrays[mean] = np.asarray(arrays[mean]) - np.asarray(arrays.pop(name))
    if epsilon is None:
        return
    for name, layer in layers.items():
        key = f"{name}/moving_variance"
        if key in variables and key in arrays and layer.epsilon != epsilon:
            arrays[key] = np.asarray(arrays[key]) + np.float32(epsilon - layer.epsilon)


def _adapt_head(
    arrays: dict[str, Any],
    model: "keras.Model",
    layers: Mapping[str, Any],
    head: str,
    source: str,
) -> bool:
    """The classifier for as many classes as the model has; whether it is the file's."""
    if head not in HEADS:
        raise InputError(f"head={head!r}: accepted are 'file' and 'new'.")
    name = classifier_of(layers)
    if name is None:
        return False
    ours = tuple(layers[name].kernel.shape)
    if head == "file":
        if classifier_of(arrays) is None:
            raise InputError(
                f"{source} has no classifier: build the model with include_top=False, "
                "or have a new one initialised by "
                'load_weights(..., head="new").'
            )
        kernel = arrays.get(f"{name}/kernel")
        theirs = ours if kernel is None else tuple(kernel.shape)
        if len(theirs) != 2 or theirs[0] != ours[0] or theirs[1] == ours[1]:
            return True
        warnings.warn(
            f"{source} has {theirs[1]} classes and {model.name} {ours[1]}: the "
            "classifier is re-initialised.",
            ClassifierWarning,
            stacklevel=5,
        )
    from keras import ops

    for kind in ("kernel", "bias"):
        initializer = getattr(layers[name], f"{kind}_initializer")
        values = initializer(getattr(layers[name], kind).shape)
        arrays[f"{name}/{kind}"] = ops.convert_to_numpy(values)
    return False


def assign(model: "keras.Model", arrays: Mapping[str, Any], source: str) -> None:
    """Sets every weight of a model; all of them or none.

    Args:
        model: its weights are named as `named_variables` does.
        arrays: array-likes by the same names. A classifier is skipped where the model
            has none.
        source: where the arrays come from, for the message.

    Raises:
        MismatchError: a name is missing or left over, or a shape differs.
        InputError: a number is not finite, as a float32.
    """
    variables = named_variables(model)
    skipped = None if classifier_of(variables) else classifier_of(arrays)
    arrays = {k: array for k, array in arrays.items() if k.split("/")[0] != skipped}
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    faults = [f"{name} is missing" for name in variables if name not in shapes]
    faults += [
        f"{name} has no place in the model" for name in shapes if name not in variables
    ]
    faults += [
        f"{name} has shape {shapes[name]}, the model's {tuple(variable.shape)}"
        for name, variable in variables.items()
        if name in shapes and shapes[name] != tuple(variable.shape)
    ]
    refuse_mismatch(faults, model, source)
    for name, array in arrays.items():
        if not _is_finite(array):
            raise InputError(f"{source}: {name} holds NaN or infinity.")
    for name, variable in variables.items():
        # as it is, since TensorFlow would copy a numpy array once more
        variable.assign(arrays[name])


def refuse_mismatch(faults: list[str], model: "keras.Model", source: str) -> None:
    """Raises a MismatchError that names the first faults, if there are any."""
    if faults:
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        raise MismatchError(
            f"{source} does not fit {model.name}: {'; '.join(faults[:3])}{more}.",
            faults,
        )


def _is_finite(array: Any) -> bool:
    """Whether every number is finite as a float32; the layout does not matter."""
    array = np.asarray(array.source if isinstance(array, StoredTensor) else array)
    with np.errstate(over="ignore", invalid="ignore"):
        array = array.astype("float32", copy=False).reshape(-1)
        # One pass, at the speed of memory; large numbers alone need the second look.
        return bool(np.isfinite(np.vdot(array, array)) or np.isfinite(array).all())
