"""safetensors files of timm, torchvision and Hugging Face transformers, both ways.

Names are those of timm, which are torchvision's where both have the network. A layer
that has no place among them keeps its name, and the matching reports it. A
convolution's kernel is (out, in, height, width) in torch, (height, width, in, out) in
Keras; a classifier's (out, in), or a 1x1 convolution in timm's v2, and (in, out).
"""

import math
import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np

from keras_resnet.common.errors import InputError
from keras_resnet.common.files import refuse_existing, write_beside
from keras_resnet.weights.assign import CLASSIFIERS, StoredTensor, named_arrays

if TYPE_CHECKING:
    import keras

_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16}
_FLOAT_SIZES = {name: np.dtype(dtype).itemsize for name, dtype in _FLOATS.items()}
_WHOLE_SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "I32": 4, "I64": 8}
_COUNTER = "num_batches_tracked"
_TENSOR_NAME = re.compile(r"[\w.\-]{1,200}")
_ROWS = 64  # that are transposed together, so that reads stay in the cache
_PADDING = 16  # numbers between them: at a power of 2 they would share a cache line

# torch's DataParallel and torch.compile put these before every name.
_WRAPPERS = re.compile(r"(?:module\.|_orig_mod\.)*")
# torchvision's published DenseNets keep the names of PyTorch before 0.4.
_DENSE_LAYER = re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.(?=[12]$)")
# transformers' modeling_resnet.py
_TRANSFORMERS_BLOCK = re.compile(
    r"encoder\.stages\.(\d+)\.layers\.(\d+)\."
    r"(?:layer\.(\d+)|shortcut)\.(convolution|normalization)"
)
_TRANSFORMERS = {
    "embedder.embedder.convolution": "conv1",
    "embedder.embedder.normalization": "bn1",
    "classifier.1": "fc",
}
_KERAS_KINDS = {
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
    "v": "v",
    "tau": "tau",  # of EvoNorm and of filter response normalization
}
_TORCH_KINDS = {ours: torch for torch, ours in _KERAS_KINDS.items()} | {
    "kernel": "weight",
    "gamma": "weight",
    "bias": "bias",
    "beta": "bias",
}


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a file by their names here, in Keras's layout; read lazily.

    Half and double precision become float32; counters of batches are dropped.

    Raises:
        InputError: damaged or truncated, a tensor of another type (such as a quantized
            one), or a name that no network has.
    """
    tensors = _map_tensors(path)
    vectors = {name for name, array in tensors.items() if array.ndim == 1}
    transformers = any("embedder.embedder." in name for name in tensors)
    translate = _from_transformers if transformers else _from_torch
    arrays = {}
    for name, array in tensors.items():
        module, _, kind = name.rpartition(".")
        layer = translate(module)
        # `weight` is gamma, and a `bias` beside it beta, where it is a vector
        if kind in ("weight", "bias"):
            scale = f"{module}.weight" in vectors
            names = ("gamma", "beta") if scale else ("kernel", "bias")
            kind = names[kind == "bias"]
        shape = _keras_shape(layer, array.shape)
        convert = partial(_to_keras, shape=shape)
        kind = _KERAS_KINDS.get(kind, kind)
        arrays[f"{layer}/{kind}"] = StoredTensor(array, shape, convert)
    return arrays


def _map_tensors(path: Path) -> dict[str, np.ndarray]:
    """Views into the file, mapped into memory."""
    from safetensors import SafetensorError, safe_open

    try:
        # The library checks the header: that it is whole, its tensors lie one behind
        # the other in the order of `offset_keys`, and fill the file to its end.
        with safe_open(path, "np") as file:
            slices = {name: file.get_slice(name) for name in file.offset_keys()}
            tensors = {
                name: (part.get_dtype(), tuple(part.get_shape()))
                for name, part in slices.items()
            }
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is not a whole safetensors file: {error}") from error
    data = np.memmap(path, mode="r")
    views, end = {}, len(data)
    for name, (dtype, shape) in reversed(tensors.items()):
        if not _TENSOR_NAME.fullmatch(name):
            raise InputError(f"{path}: {name[:60]!r} is no name of a network's tensor.")
        counter = name.endswith(f".{_COUNTER}")
        sizes = _FLOAT_SIZES | (_WHOLE_SIZES if counter else {})
        if dtype not in sizes:
            raise InputError(
                f"{path}: {name} is of type {dtype}; accepted are {', '.join(_FLOATS)}."
            )
        start = end - math.prod(shape) * sizes[dtype]
        if not counter:
            views[name] = data[start:end].view(_FLOATS[dtype]).reshape(shape)
        end = start
    return views


def _from_torch(name: str) -> str:
    """`module.layer1.0.conv1` -> `layer1.0.conv1`; DenseNet's `norm.1` -> `norm1`."""
    return _DENSE_LAYER.sub(r"\1", _WRAPPERS.sub("", name, count=1))


def _from_transformers(name: str) -> str:
    """`encoder.stages.0.layers.1.layer.2.convolution` -> `layer1.1.conv3`."""
    name = name.removeprefix("resnet.")
    if not (match := _TRANSFORMERS_BLOCK.fullmatch(name)):
        return _TRANSFORMERS.get(name, name)
    stage, block, place, kind = match.groups()
    prefix = f"layer{int(stage) + 1}.{block}"
    if place is None:
        return f"{prefix}.downsample.{int(kind == 'normalization')}"
    return f"{prefix}.{'conv' if kind == 'convolution' else 'bn'}{int(place) + 1}"


def torch_name(name: str) -> str:
    """`layer1.0.bn1/gamma` -> `layer1.0.bn1.weight`."""
    module, kind = name.rsplit("/", 1)
    return f"{module}.{_TORCH_KINDS[kind]}"


def _keras_shape(layer: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) < 2:
        return shape
    space = () if layer in CLASSIFIERS else shape[2:]
    return (*space, shape[1], shape[0])


def _to_keras(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """float32 in Keras's layout; `shape` is `_keras_shape(..., array.shape)`."""
    if array.ndim < 2:
        return array.astype("float32")  # a copy: a backend may keep what it is given
    outputs, inputs = array.shape[:2]
    source = array.reshape(outputs, -1)
    target = np.empty((source.shape[1] // inputs, inputs, outputs), "float32")
    padded = np.empty((_ROWS, source.shape[1] + _PADDING), "float32")
    for start in range(0, outputs, _ROWS):
        rows = padded[: outputs - start, : source.shape[1]]
        rows[...] = source[start : start + _ROWS]
        rows = rows.reshape(len(rows), inputs, -1)
        target[:, :, start : start + _ROWS] = rows.transpose(2, 1, 0)
    return target.reshape(shape)


def _to_torch(array: np.ndarray) -> np.ndarray:
    """The way back; contiguous, as safetensors wants it."""
    if array.ndim < 2:
        return array
    *space, inputs, outputs = array.shape
    flat = array.reshape(-1, inputs, outputs).transpose(2, 1, 0)
    return np.ascontiguousarray(flat).reshape(outputs, inputs, *space)


def export_weights(
    model: "keras.Model", path: str | os.PathLike, force: bool = False
) -> None:
    """Writes a model's weights under timm's names, in torch's layout, as float32.

    `timm.create_model(name, checkpoint_path=path)` loads them where timm has the
    architecture, and `load_weights` gives exactly the same numbers back. torch's
    counters of batches, which evaluation does not read, are written as zero.

    Args:
        model: from `build`.
        path: ending in `.safetensors`.
        force: replace an existing file.

    Raises:
        InputError: another ending, the file exists, it cannot be written, or the model
            is not from `build`.
    """
    if Path(path).suffix != ".safetensors":
        raise InputError(f"{path}: a name that ends in .safetensors is needed.")
    refuse_existing(path, force)
    from safetensors.numpy import save_file

    arrays = named_arrays(model)
    if not arrays:
        raise InputError(f"model={model.name!r}: a model from keras_resnet is needed.")
    tensors = {}
    for name, array in arrays.items():
        array = _to_torch(array.astype("float32", copy=False))
        module, kind = name.split("/")
        if module == "head.fc" and kind == "kernel":
            array = array[:, :, None, None]  # timm's v2 ends in a 1x1 convolution
        tensors[torch_name(name)] = array
        if kind == "moving_mean":
            tensors[f"{module}.{_COUNTER}"] = np.array(0, "int64")
    with write_beside(path, force) as part:
        save_file(tensors, part, {"format": "pt"})
