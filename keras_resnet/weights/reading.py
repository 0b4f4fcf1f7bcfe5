"""What kind a file is, and what it holds."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_resnet.common.errors import InputError
from keras_resnet.images.preprocessing import Preprocessing
from keras_resnet.weights.expectations import expected_images, read_json
from keras_resnet.weights.keras_files import (
    APPLICATIONS_EPSILON,
    PRESET_FILES,
    read_applications,
    read_preset,
)
from keras_resnet.weights.torch_files import read_safetensors, refuse_pickle

_KINDS = {
    ".safetensors": "safetensors",
    ".keras": "keras",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
}
PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".tar")
SUFFIXES = (*_KINDS, *PICKLES)
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ACCEPTED = (
    "accepted are .safetensors (timm, torchvision, transformers), .h5 "
    "(keras.applications), .keras and .weights.h5 (this package), a folder from the "
    "Hugging Face hub and a preset folder of keras-hub"
)


@dataclass(frozen=True)
class Contents:
    """Weights by their names here, and what else is known of their network.

    Attributes:
        arrays: array-likes in Keras's layout, by canonical name.
        stride_conv: which convolution of a bottleneck carries its stride (1 or 2);
            None where the file does not tell.
        epsilon: of the normalisations; None for the architecture's.
        preprocessing: that a configuration beside the file asks for; None if none does.
    """

    arrays: Mapping[str, Any]
    stride_conv: int | None = None
    epsilon: float | None = None
    preprocessing: Preprocessing | None = None


def read(path: Path) -> Contents:
    """The contents of any file or folder but those of this package.

    Raises:
        InputError: no such file, another kind, or damaged.
    """
    if path.is_dir():
        if any((path / name).exists() for name in PRESET_FILES):
            return _read_preset(path)
        path = _weights_in(path)
    kind = kind_of(path)
    if kind == "hdf5":
        arrays = read_applications(path)
        # the stride is in the first 1x1 of v1; v2's names fit no other network
        first = None if "stem.conv/kernel" in arrays else 1
        return Contents(arrays, first, APPLICATIONS_EPSILON)
    if kind == "safetensors":
        arrays = read_safetensors(path)
        at_first = read_json(path.with_name("config.json")).get(
            "downsample_in_bottleneck"  # in transformers' configuration alone
        )
        stride = None if at_first is None else 1 if at_first else 2
        return Contents(arrays, stride, preprocessing=expected_images(path.parent))
    raise InputError(f"{path}: no file of weights; {_ACCEPTED}.")


def kind_of(path: Path) -> str:
    """`keras`, `hdf5`, `safetensors` or `other`, by suffix and first bytes.

    Raises:
        InputError: no such file, it cannot be read, or it is a pickle.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_HDF5))
        pickled = path.suffix in PICKLES or _holds_pickle(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}.") from error
    if start == _HDF5:
        return "hdf5"
    if pickled:
        refuse_pickle(path)
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


def _weights_in(folder: Path) -> Path:
    """The weights of a snapshot from the Hugging Face hub."""
    if (path := folder / "model.safetensors").exists():
        return path
    if pickles := [one for one in sorted(folder.iterdir()) if one.suffix in PICKLES]:
        refuse_pickle(pickles[0])
    raise InputError(
        f"{folder} holds neither model.safetensors (Hugging Face hub) nor "
        "model.weights.h5 (keras-hub)."
    )


def _read_preset(folder: Path) -> Contents:
    config = read_json(folder / "config.json").get("config", {})
    try:
        arrays = read_preset(folder, config)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder}: its config.json is not of keras-hub's ResNetBackbone "
            f"({error!r})."
        ) from error
    return Contents(arrays, 2, preprocessing=expected_images(folder))
