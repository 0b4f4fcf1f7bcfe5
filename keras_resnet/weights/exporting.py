"""A model's weights as a safetensors file that timm loads."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_resnet.common.errors import InputError
from keras_resnet.common.files import refuse_existing, write_beside
from keras_resnet.weights.matching import arrays_of
from keras_resnet.weights.torch_layout import to_torch, torch_name

if TYPE_CHECKING:
    import keras


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

    arrays = arrays_of(model)
    if not arrays:
        raise InputError(f"model={model.name!r}: a model from keras_resnet is needed.")
    tensors = {}
    for name, array in arrays.items():
        array = to_torch(array.astype("float32", copy=False))
        module, kind = name.split("/")
        if module == "head.fc" and kind == "kernel":
            array = array[:, :, None, None]  # timm's v2 ends in a 1x1 convolution
        tensors[torch_name(name)] = array
        if kind == "moving_mean":
            tensors[f"{module}.num_batches_tracked"] = np.array(0, "int64")
    with write_beside(path, force) as part:
        save_file(tensors, part, {"format": "pt"})
