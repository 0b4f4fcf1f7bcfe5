"""What the user named: a `.keras` file, a run folder or an architecture; images."""

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from tyro.conf import Positional

from export.model.choices import KINDS, PREPROCESS, TOP, check_choices
from export.steps import step
from keras_resnet.common.errors import InputError
from keras_resnet.common.fingerprint import sha256

if TYPE_CHECKING:
    import keras

    from export.model.signature import Signature

MOST_IMAGES = 64  # that a proof takes from a folder or a data set


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Flags that every export command has."""

    source: Positional[str]
    """A .keras file, a run folder (its best.keras), or an architecture's name."""
    out: Path
    """Where to write."""
    weights: str | None = None
    """For an architecture's name: a tag of published weights ("imagenet" for the best
    free ones) or a weights file. Default: random weights, for latency work."""
    output: Literal[KINDS] = "probabilities"
    """Softmax, or what goes into it, whatever the model ends in; the best classes; the
    stages' feature maps; or what enters the classifier."""
    top: int = TOP
    """Number of classes, for --output top_k."""
    preprocess: Literal[PREPROCESS] = "none"
    """What the artifact does to images: nothing; normalise uint8 images of the
    network's size; or resize and crop uint8 images of any size as well."""
    input_size: tuple[int, int] | None = None
    """Height and width, for an architecture's name or a model that takes any size."""
    any_size: bool = False
    """Take images of any size, each computed at its own, for an architecture's name
    or a model that does."""
    batch: int | None = None
    """Number of images at once. Default: any."""
    images: Path | None = None
    """Real images for the proof: a folder, or an .npz with uint8 `images`. Default:
    validation.npz beside the .keras file."""
    tolerance: float | None = None
    """Largest difference from the Keras model, as a share of the outputs' spread.
    Default: as the precision has it."""
    verify: bool = True
    """Run the artifact against the Keras model."""
    force: bool = False
    """Replace what stands at --out."""


def load(flags: Flags) -> dict:
    """The model that was named, as arguments of an export function.

    Raises:
        InputError: no such file, folder or architecture, or not one that can be used;
            or flags that no model can be exported with.
    """
    check_choices(flags.output, flags.top, flags.preprocess, flags.batch)
    for name in ("images", "tolerance"):
        value = getattr(flags, name)
        if value is not None and not flags.verify:
            raise InputError(
                f"{name}={value} is for the proof, which --no-verify leaves out: leave "
                "one of them out."
            )
    if flags.any_size and (flags.input_size or flags.preprocess == "full"):
        raise InputError(
            "any_size is on, and input_size or preprocess='full' sets the network's "
            "size: leave one of them out."
        )
    path = Path(flags.source)
    is_path = path.exists() or path.suffix or len(path.parts) > 1
    return _load_file(path, flags) if is_path else _load_name(flags)


def arguments(flags: Flags) -> dict:
    """The other flags that every command has, as arguments of an export function."""
    here = {"source", "out", "weights", "images", "input_size", "any_size"}
    names = {one.name for one in fields(Flags)} - here
    return {name: getattr(flags, name) for name in names}


def _load_file(path: Path, flags: Flags) -> dict:
    from keras_resnet.saving import load_model

    if flags.weights is not None:
        raise InputError(
            f"weights={flags.weights!r} is for an architecture's name; source="
            f"{flags.source} has its own."
        )
    if path.is_dir():
        path = path / "best.keras"
        if not path.exists():
            raise InputError(
                f"source={flags.source}: a folder without best.keras; accepted are a "
                "run folder, a .keras file or an architecture's name."
            )
    beside = path.parent / "validation.npz"
    images = flags.images or (beside if beside.exists() else None)
    model = load_model(path)
    if flags.any_size and model.input_shape[1:3] != (None, None):
        height, width = model.input_shape[1:3]
        raise InputError(
            f"any_size is on, and {path.name} takes {height}x{width} only."
        )
    return {
        "model": model,
        "images": images,
        "input_size": flags.input_size,
        "origin": {"source": path.name, "sha256": sha256(path)},
    }


def _load_name(flags: Flags) -> dict:
    from keras_resnet.architectures import get_architecture

    architecture = get_architecture(flags.source)  # refuses before the slow imports
    import keras

    from keras_resnet.model import build

    size, random = flags.input_size, flags.weights is None
    if random and not flags.any_size:
        size = size or (architecture.input_size,) * 2
    keras.utils.set_random_seed(0)
    model = build(
        architecture,
        weights=flags.weights,
        input_shape=(*(size or (None, None)), 3),
        classifier_activation=None,
    )
    origin = model.card.origin
    if random:
        draw_normalization(model)
        origin = {"source": architecture.name, "weights": "random"}
    elif not flags.any_size:
        known = model.card.preprocessing
        size = size or (known.size if known else (architecture.input_size,) * 2)
    return {
        "model": model,
        "images": flags.images,
        "input_size": size,
        "origin": origin,
    }


def draw_normalization(model: "keras.Model") -> None:
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


def prepare(
    model: "keras.Model", images: Any, verbose: bool, **options: Any
) -> tuple["Signature", Sequence[np.ndarray] | None]:
    """The serving function and the real images for its proof.

    Args:
        model, options: as `make_signature` takes them.
        images: as `real_images` takes them.
        verbose: print the step.
    """
    with step("preparing", verbose):
        from export.model.signature import make_signature

        signature = make_signature(model, **options)
        return signature, real_images(images, signature)


def real_images(
    images: np.ndarray | str | os.PathLike | None, signature: "Signature"
) -> Sequence[np.ndarray] | None:
    """Real images for the proof, uint8 (N, height, width, channels).

    Args:
        images: an array of that form; an .npz file that holds one as `images`; a
            folder of images, of which 64, evenly spread, are resized and cropped to
            the input's size, unless the signature does that; None if there are none.
        signature: whose input they shall fit.

    Returns:
        The array; a list of (height, width, channels) where the signature takes
        images of any size from a folder; None if there are none.

    Raises:
        InputError: nothing there, not readable, or of another form.
    """
    if images is None:
        return None
    path = "an array"
    if not isinstance(images, np.ndarray):
        path = Path(images)
        if path.is_dir():
            return _read_folder(path, signature)
        images = _read_npz(path)
    wanted = (None, *signature.shape[1:])
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
        raise InputError(
            f"images={path} cannot be read ({error}): a folder of images, or an .npz "
            "file with an array `images`, is needed."
        ) from error


def _read_folder(folder: Path, signature: "Signature") -> Sequence[np.ndarray]:
    from keras_resnet.images.files import find_images, read_image
    from keras_resnet.images.preprocessing import Preprocessing

    channels = signature.shape[-1]
    paths = find_images([folder])
    paths = paths[:: -(-len(paths) // MOST_IMAGES)]  # of all classes, if in folders
    images = [read_image(path, channels) for path in paths]
    if signature.preprocess == "full":
        return images
    size, mean, std = signature.sides, (0.0,) * channels, (1 / 255,) * channels
    known = signature.preprocessing or Preprocessing(size, 1.0, "bilinear", mean, std)
    levels = replace(known, size=size, mean=mean, std=std, channel_order="rgb")
    return np.round(np.asarray(levels(images))).astype("uint8")
