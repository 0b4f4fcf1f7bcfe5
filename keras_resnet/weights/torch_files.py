"""safetensors files of timm, torchvision and Hugging Face transformers."""

import math
import os
import re
from functools import partial
from pathlib import Path

import ml_dtypes
import numpy as np

from keras_resnet.common.errors import InputError
from keras_resnet.weights.names import from_torch, from_transformers, is_transformers
from keras_resnet.weights.stored import Stored
from keras_resnet.weights.torch_layout import canonical_kind, keras_shape, to_keras

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16}
_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "I32": 4, "I64": 8}
_NAME = re.compile(r"[\w.\-]{1,200}")
_CONVERSION = (
    'python -c "import torch, safetensors.torch as s; '
    "w = torch.load('{path}', map_location='cpu', weights_only=True); "
    "w = w.get('state_dict', w); "
    "s.save_file({{k: v.contiguous() for k, v in w.items()}}, '{target}')\""
)


def read_safetensors(path: Path) -> dict[str, Stored]:
    """The tensors of a file by their names here, in Keras's layout; read lazily.

    Half and double precision become float32; counters of batches are dropped.

    Raises:
        InputError: damaged or truncated, a tensor of another type (such as a quantised
            one), or a name that no network has.
    """
    tensors = _open(path)
    ranks = {name: array.ndim for name, array in tensors.items()}
    translate = from_transformers if is_transformers(tensors) else from_torch
    found = {}
    for name, array in tensors.items():
        module, _, kind = name.rpartition(".")
        canonical = translate(module)
        shape = keras_shape(canonical, array.shape)
        key = f"{canonical}/{canonical_kind(module, kind, ranks)}"
        found[key] = Stored(array, shape, partial(to_keras, shape=shape))
    return found


def _open(path: Path) -> dict[str, np.ndarray]:
    """Views into the file, mapped into memory."""
    from safetensors import SafetensorError, safe_open

    try:
        # The library checks the header: that it is whole, its tensors lie one behind
        # the other in the order of `offset_keys`, and fill the file to its end.
        with safe_open(path, "np") as file:
            slices = {name: file.get_slice(name) for name in file.offset_keys()}
            kinds = {
                name: (one.get_dtype(), tuple(one.get_shape()))
                for name, one in slices.items()
            }
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is not a whole safetensors file: {error}") from error
    data = np.memmap(path, mode="r")
    views, end = {}, len(data)
    for name, (dtype, shape) in reversed(kinds.items()):
        start = end - math.prod(shape) * _item_size(path, name, dtype)
        if not name.endswith(".num_batches_tracked"):
            views[name] = data[start:end].view(_float(path, name, dtype)).reshape(shape)
        end = start
    return views


def _item_size(path, name, dtype: str) -> int:
    if not _NAME.fullmatch(name):
        raise InputError(f"{path}: {name[:60]!r} is no name of a network's tensor.")
    if dtype in _DTYPES:
        return np.dtype(_DTYPES[dtype]).itemsize
    return _BYTES.get(dtype) or _float(path, name, dtype)


def _float(path, name, dtype: str):
    if dtype not in _DTYPES:
        raise InputError(
            f"{path}: {name} is of type {dtype}; accepted are {', '.join(_DTYPES)}."
        )
    return _DTYPES[dtype]


def refuse_pickle(path: str | os.PathLike) -> None:
    """Raises an InputError with the line that converts a pickle."""
    path = Path(path)
    line = _CONVERSION.format(path=path, target=path.with_suffix(".safetensors"))
    raise InputError(
        f"{path} is a pickle, which can run any code when it is read. Where torch is "
        f"installed, this makes a safetensors file of it: {line}"
    )
