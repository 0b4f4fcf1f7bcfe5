"""The model that a user names on a command line: a file, a run folder, a name."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tyro.conf import Positional

from keras_resnet.common.errors import InputError
from keras_resnet.common.fingerprint import sha256

if TYPE_CHECKING:
    import keras

    from keras_resnet.saving import Card


@dataclass(frozen=True, kw_only=True)
class Source:
    """What every export command takes, beside the options of its format."""

    source: Positional[str]
    """A .keras file, a run folder (its best.keras), or an architecture's name."""
    out: Path
    """Where to write."""
    weights: str | None = None
    """For an architecture's name: a tag of published weights ("imagenet" for the best
    free ones) or a weights file. Default: random weights, to measure latency."""
    any_size: bool = False
    """Take images of any size, each computed at its own, for an architecture's name
    or a model that does."""
    images: Path | None = None
    """Real images to verify on: a folder, or an .npz with uint8 `images`. Default:
    validation.npz beside the .keras file."""


@dataclass(frozen=True)
class Loaded:
    """A model to export, and what is known of it.

    Attributes:
        model: any Keras model that `make_signature` takes.
        input_size: height and width; None for the model's own.
        images: real images, as `export.parity.images.real_images` takes them.
        origin: where the weights are from, as `describe_origin` takes it.
        card: what travelled with the weights; None for the model's own.
    """

    model: "keras.Model"
    input_size: tuple[int, int] | None = None
    images: Any = None
    origin: dict | None = None
    card: "Card | None" = None


def load(source: Source, input_size: tuple[int, int] | None = None) -> Loaded:
    """Loads or builds the model that was named.

    Args:
        source: as the command line has it.
        input_size: height and width that the user asked for.

    Raises:
        InputError: no such file, folder or architecture, or not one that can be used.
    """
    path = Path(source.source)
    if path.exists() or path.suffix != "" or len(path.parts) > 1:
        return _load_file(path, source, input_size)
    return _load_name(source, input_size)


def _load_file(path: Path, source: Source, input_size) -> Loaded:
    from keras_resnet.saving import load_model

    if source.weights is not None:
        raise InputError(
            f"weights={source.weights!r} is for an architecture's name; source="
            f"{source.source} has its own."
        )
    if path.is_dir():
        path = path / "best.keras"
        if not path.exists():
            raise InputError(
                f"source={source.source}: a folder without best.keras; accepted are a "
                "run folder, a .keras file or an architecture's name."
            )
    beside = path.parent / "validation.npz"
    images = source.images or (beside if beside.exists() else None)
    model = load_model(path)
    if source.any_size and model.input_shape[1:3] != (None, None):
        height, width = model.input_shape[1:3]
        raise InputError(
            f"any_size is on, and {path.name} takes {height}x{width} only."
        )
    origin = {"source": path.name, "sha256": sha256(path)}
    return Loaded(model, input_size, images, origin)


def _load_name(source: Source, input_size) -> Loaded:
    from keras_resnet.architectures import get_architecture

    architecture = get_architecture(source.source)  # refuses before the slow imports
    import keras

    from keras_resnet.model import build

    side = architecture.input_size
    random = source.weights is None
    if random and not source.any_size:
        input_size = input_size or (side, side)
    height, width = input_size or (None, None)
    keras.utils.set_random_seed(0)
    model = build(
        architecture,
        weights=source.weights,
        input_shape=(height, width, 3),
        classifier_activation=None,
    )
    origin = model.card.origin and model.card.origin.to_json()
    if random:
        randomize_normalization(model)
        origin = {"source": architecture.name, "weights": "random"}
    elif not source.any_size:
        known = model.card.preprocessing
        input_size = input_size or (known.size if known else (side, side))
    return Loaded(model, input_size, source.images, origin)


def randomize_normalization(model: "keras.Model") -> None:
    """Gives every batch normalization random statistics, scales and shifts.

    At their initial values (mean 0, variance 1) a verification could not tell two
    that were swapped.
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
