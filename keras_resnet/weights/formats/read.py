"""Which kind of file it is, and the weights in files of other libraries.

kind = kind_of(path)  # "safetensors", "hdf5", "keras" or "other"
weights = read_weights(path)
weights.arrays["layer1.0.conv1/kernel"]
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_resnet.common.errors import InputError
from keras_resnet.images.preprocessing import Preprocessing
from keras_resnet.weights.formats.keras_files import (
    APPLICATIONS_EPSILON,
    PRESET_FILES,
    read_applications,
    read_preset,
)
from keras_resnet.weights.formats.safetensors_files import read_safetensors
from keras_resnet.weights.preprocessor_config import read_json, read_preprocessing

_KINDS = {
    ".safetensors": "safetensors",
    ".keras": "keras",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
}
_PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".tar")
SUFFIXES = (*_KINDS, *_PICKLES)
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ACCEPTED = (
    "accepted are .safetensors (timm, torchvision, transformers), .h5 "
    "(keras.applications), .keras and .weights.h5 (this package), a folder from the "
    "Hugging Face hub and a preset folder of keras-hub"
)
_CONVERSION = (
    'python -c "import torch, safetensors.torch as s; '
    "w = torch.load('{path}', map_location='cpu', weights_only=True); "
    "w = w.get('state_dict', w); "
    "s.save_file({{k: v.contiguous() for k, v in w.items()}}, '{target}')\""
)


@dataclass(frozen=True)
class FileWeights:
    """The weights of a file by their names here, and what else it tells.

    Attributes:
        arrays: array-likes in Keras's layout, by names such as `layer1.0.conv1/kernel`.
        stride_conv: which convolution of a bottleneck carries its stride (1 or 2);
            None where the file does not tell.
        epsilon: of the normalizations; None for the architecture's.
        preprocessing: that a configuration beside the file asks for; None if none does.
    """

    arrays: Mapping[str, Any]
    stride_conv: int | None = None
    epsilon: float | None = None
    preprocessing: Preprocessing | None = None


def read_weights(path: Path) -> FileWeights:
    """The weights in any file or folder but those of this package.

    Raises:
        InputError: no such file, another kind, or damaged.
    """
    if path.is_dir():
        if any((path / name).exists() for name in PRESET_FILES):
            return _read_preset_folder(path)
        path = _weights_in(path)
    kind = kind_of(path)
    if kind == "hdf5":
        arrays = read_applications(path)
        # the stride is in the first 1x1 of v1; v2's names fit no other network
        stride = None if "stem.conv/kernel" in arrays else 1
        return FileWeights(arrays, stride, APPLICATIONS_EPSILON)
    if kind == "safetensors":
        arrays = read_safetensors(path)
        config = read_json(path.with_name("config.json"))
        at_first = config.get("downsample_in_bottleneck")  # of transformers alone
        stride = None if at_first is None else 1 if at_first else 2
        preprocessing = read_preprocessing(path.parent)
        return FileWeights(arrays, stride, preprocessing=preprocessing)
    raise InputError(f"{path}: no file of weights; {_ACCEPTED}.")


def kind_of(path: Path) -> str:
    """`keras`, `hdf5`, `safetensors` or `other`, by suffix and first bytes.

    Raises:
        InputError: no such file, it cannot be read, or it is a pickle.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_HDF5_SIGNATURE))
        pickled = path.suffix in _PICKLES or _holds_pickle(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}.") from error
    if start == _HDF5_SIGNATURE:
        return "hdf5"
    if pickled:
        raise _pickle_error(path)
    return _KINDS.get(path.suffix, "other")


def _holds_pickle(path: Path) -> bool:
    """Whether it is a zip archive of the kind that `torch.save` writes."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except Exception:  # damaged in any way: its suffix decides
        return False


def _pickle_error(path: Path) -> InputError:
    """With the line that converts a pickle."""
    line = _CONVERSION.format(path=path, target=path.with_suffix(".safetensors"))
    return InputError(
        f"{path} is a pickle, which can run any code when it is read. Where torch is "
        f"installed, this makes a safetensors file of it: {line}"
    )


def _weights_in(folder: Path) -> Path:
    """The weights of a snapshot from the Hugging Face hub."""
    if (path := folder / "model.safetensors").exists():
        return path
    for file in sorted(folder.iterdir()):
        if file.suffix in _PICKLES:
            raise _pickle_error(file)
    raise InputError(
        f"{folder} holds neither model.safetensors (Hugging Face hub) nor "
        "model.weights.h5 (keras-hub)."
    )


def _read_preset_folder(folder: Path) -> FileWeights:
    config = read_json(folder / "config.json").get("config", {})
    try:
        arrays = read_preset(folder, config)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder}: its config.json is not of keras-hub's ResNetBackbone "
            f"({error!r})."
        ) from error
    return FileWeights(arrays, 2, preprocessing=read_preprocessing(folder))
