"""Which kind of file it is, the weights in it, and what is said of its images.

kind = kind_of(path)  # "safetensors", "hdf5", "keras" or "other"
weights = read_weights(path)
weights.arrays["layer1.0.conv1/kernel"]
"""

import json
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
_INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}  # PIL.Image.Resampling
_TRANSFORMERS_CROP = 224 / 256  # default of ConvNextImageProcessor, which ResNet has


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


def read_json(path: Path) -> dict:
    """The object in a JSON file; empty where there is no such file.

    Raises:
        InputError: it is damaged.
    """
    try:
        content = json.loads(path.read_text()) if path.exists() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object.")
    return content


def read_preprocessing(folder: Path) -> Preprocessing | None:
    """The preprocessing in the configuration of timm, transformers or keras-hub.

    None where there is no such file in the folder, or where it leaves a part out; an
    InputError where it is damaged, or what it says cannot be done.
    """
    for name, translate in (
        ("config.json", _from_timm),
        ("preprocessor_config.json", _from_transformers),
        ("image_converter.json", _from_keras_hub),
    ):
        if not (content := read_json(folder / name)):
            continue
        try:
            return translate(content)
        except (KeyError, IndexError):
            continue  # another library's, or without a part
        except (TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
            raise InputError(f"{folder / name} cannot be followed: {error}") from error
    return None


def _from_timm(content: Mapping[str, Any]) -> Preprocessing:
    record = content["pretrained_cfg"]
    return Preprocessing(
        size=tuple(record["input_size"][1:]),
        crop=record["crop_pct"],
        interpolation=record["interpolation"],
        mean=tuple(record["mean"]),
        std=tuple(record["std"]),
    )


def _from_transformers(content: Mapping[str, Any]) -> Preprocessing:
    size = content["size"]
    side = size if isinstance(size, int) else size["shortest_edge"]
    return Preprocessing(
        size=(side, side),
        crop=content.get("crop_pct") or _TRANSFORMERS_CROP,
        interpolation=_INTERPOLATIONS[content["resample"]],
        mean=tuple(content["image_mean"]),
        std=tuple(content["image_std"]),
    )


def _from_keras_hub(content: Mapping[str, Any]) -> Preprocessing:
    record = content["config"]
    std = [1 / (255 * scale) for scale in record["scale"]]
    return Preprocessing(
        size=tuple(record["image_size"]),
        crop=1.0,
        interpolation=record["interpolation"],
        mean=tuple(-b * s for b, s in zip(record["offset"], std, strict=True)),
        std=tuple(std),
    )
