"""What the user named: a `.keras` file, a run folder or an architecture; pictures."""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from tyro.conf import Positional

from export.verify import TOLERANCE, sides
from keras_resnet.errors import InputError

if TYPE_CHECKING:
    from export.signature import Signature

MOST_PICTURES = 64  # read from a folder
PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Flags that every export command has."""

    source: Positional[str]
    """A .keras file, a run folder (its best.keras), or an architecture's name (random
    weights, for latency work)."""
    out: Path
    """Where to write."""
    output: Literal["probabilities", "logits"] = "probabilities"
    """Softmax, or what goes into it, whatever the model ends in."""
    preprocess: bool = False
    """Normalise inside the artifact: uint8 pictures go in."""
    input_size: tuple[int, int] | None = None
    """Height and width, for an architecture's name or a model that takes any size."""
    images: Path | None = None
    """Real pictures for the proof: a folder, or an .npz with uint8 `images`. Default:
    validation.npz beside the .keras file."""
    tolerance: float = TOLERANCE
    """Largest difference from the Keras model, as a share of the logits' spread."""
    verify: bool = True
    """Run the artifact against the Keras model."""
    force: bool = False
    """Replace what stands at --out."""


def load(flags: Flags) -> dict:
    """The model that was named, as arguments of an export function.

    Raises:
        InputError: no such file, folder or architecture, or not one that can be used.
    """
    path = Path(flags.source)
    is_path = path.exists() or path.suffix or len(path.parts) > 1
    return _load_file(path, flags) if is_path else _load_name(flags)


def arguments(flags: Flags) -> dict:
    """The other flags, as arguments of an export function."""
    named = vars(flags)
    return {key: named[key] for key in named.keys() - {"source", "out", "images"}}


def _load_file(path: Path, flags: Flags) -> dict:
    from keras_resnet.saving import load_model

    if path.is_dir():
        path = path / "best.keras"
        if not path.exists():
            raise InputError(
                f"source={flags.source}: a folder without best.keras; accepted are a "
                "run folder, a .keras file or an architecture's name."
            )
    beside = path.parent / "validation.npz"
    images = flags.images or (beside if beside.exists() else None)
    return {"model": load_model(path), "images": images}


def _load_name(flags: Flags) -> dict:
    from keras_resnet.architectures import get_architecture

    architecture = get_architecture(flags.source)  # refuses before the slow imports
    import keras

    from keras_resnet.model import build

    size = flags.input_size or (architecture.input_size,) * 2
    keras.utils.set_random_seed(0)
    model = build(architecture, input_shape=(*size, 3), classifier_activation=None)
    draw_normalization(model)
    return {"model": model, "images": flags.images}


def draw_normalization(model) -> None:
    """Draws every batch normalisation anew, so that a proof sees all of its parts.

    At their initial values (mean 0, variance 1) two that are swapped would pass.
    """
    ranges = {
        "gamma": (0.3, 0.7),  # around 1, the logits of a deep net would explode
        "moving_variance": (0.5, 1.5),
        "beta": (-0.2, 0.2),
        "moving_mean": (-0.2, 0.2),
    }
    generator = np.random.default_rng(0)
    for variable in model.weights:
        if variable.name in ranges:
            variable.assign(generator.uniform(*ranges[variable.name], variable.shape))


def real_images(
    images: np.ndarray | str | os.PathLike | None, signature: "Signature"
) -> np.ndarray | None:
    """Real pictures for the proof as uint8 (N, height, width, channels).

    Args:
        images: an array of that form; an .npz file that holds one as `images`; a
            folder of pictures, of which the first 64 are cropped and resized to the
            input's size; None if there are none.
        signature: whose input they shall fit.

    Raises:
        InputError: nothing there, not readable, or of another form.
    """
    if images is None:
        return None
    path = "an array"
    if not isinstance(images, np.ndarray):
        path = Path(images)
        images = _read_folder(path, signature) if path.is_dir() else _read_npz(path)
    wanted = signature.shape
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or any(a not in (None, b) for a, b in zip(wanted, images.shape, strict=True))
        or not len(images)
    ):
        raise InputError(
            f"images={path}: {images.dtype} of {images.shape}; uint8 of {wanted} is "
            "needed, None standing for any number."
        )
    return images


def _read_npz(path: Path) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["images"]
    except (
        OSError,
        EOFError,
        IndexError,
        KeyError,
        TypeError,
        ValueError,
        zipfile.BadZipFile,
    ) as error:
        raise _unreadable(path, error) from error


def _read_folder(folder: Path, signature: "Signature") -> np.ndarray:
    import keras

    channels = signature.shape[-1]
    modes = {1: "grayscale", 3: "rgb", 4: "rgba"}
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES)
    if not paths or channels not in modes:
        raise InputError(
            f"images={folder}: {len(paths)} pictures ({', '.join(PICTURES)}) for "
            f"{channels} channels; a folder needs one or more, and 1, 3 or 4 channels."
        )
    pictures = []
    for path in paths[:MOST_PICTURES]:
        try:
            picture = keras.utils.load_img(
                path,
                color_mode=modes[channels],
                target_size=sides(signature),
                interpolation="bilinear",
                keep_aspect_ratio=True,
            )
        except (OSError, SyntaxError) as error:  # PIL raises both
            raise _unreadable(path, error) from error
        pictures.append(keras.utils.img_to_array(picture, "channels_last", "uint8"))
    return np.stack(pictures)


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"images={path} cannot be read ({error}): a folder of pictures, or an .npz "
        "file with an array `images`, is needed."
    )
