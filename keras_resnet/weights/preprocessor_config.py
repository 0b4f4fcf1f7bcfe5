"""What the configuration beside a file of weights says of its images."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_resnet.common.errors import InputError
from keras_resnet.images.preprocessing import Preprocessing

_INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}  # PIL.Image.Resampling
_TRANSFORMERS_CROP = 224 / 256  # default of ConvNextImageProcessor, which ResNet has


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

    Args:
        folder: with the `config.json`, `preprocessor_config.json` or
            `image_converter.json` of its library.

    Returns:
        None where there is none of them, or where it leaves a part out.

    Raises:
        InputError: a file is damaged, or what it says cannot be done.
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
