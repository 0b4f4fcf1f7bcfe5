"""What an artifact says of itself, as far as every format says the same."""

from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from export.config import CLASSIFIER_OUTPUTS, INPUT_NAME

if TYPE_CHECKING:
    from export.model.signature import Signature
    from keras_resnet.saving import Card

PACKAGES = ("keras_resnet", "keras", "tensorflow")  # every artifact is made with them


def describe(
    signature: "Signature",
    origin: dict | None = None,
    packages: tuple[str, ...] = (),
    layout: str = "nhwc",
) -> dict:
    """The metadata of an artifact in float32 that is not verified yet.

    Args:
        signature: that it is made from.
        origin: as `describe_origin` takes it.
        packages: that it is made with, beside Keras and TensorFlow.
        layout: of its input, "nhwc" or "nchw".
    """
    shape = list(signature.shape)
    if layout == "nchw":
        shape = [shape[axis] for axis in (0, 3, 1, 2)]
    card, preprocessing = signature.card, signature.preprocessing
    has_classes = signature.output in CLASSIFIER_OUTPUTS
    return {
        "architecture": card.architecture.name if card else signature.model.name,
        "input": {
            "name": INPUT_NAME,
            "shape": shape,
            "dtype": signature.dtype,
            "layout": layout,
        },
        "outputs": [asdict(output) for output in signature.outputs],
        "labels": list(card.labels) if card and has_classes else [],
        "preprocessing": preprocessing and preprocessing.to_json(),
        "preprocess": signature.preprocess,
        "precision": "float32",
        "origin": describe_origin(card, origin),
        "calibration": None,
        "accuracy": None,
        "versions": {name: _version(name) for name in PACKAGES + packages},
        "parity": None,
        "parameters": signature.model.count_params(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def describe_origin(card: "Card | None", known: dict | None = None) -> dict:
    """Where the weights are from, for an artifact's metadata.

    Args:
        card: of the model.
        known: what is known beside it: "source", "weights" and "sha256", or some.

    Returns:
        "source", the name of a file or an architecture; "weights", their name in the
        registry, "random" or None; "sha256" of the file or None. Of a trained model
        also "training": data set, recipe and epoch.
    """
    origin = dict.fromkeys(("source", "weights", "sha256"))
    origin |= (card.origin.to_json() if card and card.origin else {}) | (known or {})
    training = card.training if card else {}
    if training:
        recipe = training.get("recipe")
        recipe = recipe.get("name") if isinstance(recipe, dict) else recipe
        origin["weights"] = None
        origin["training"] = {
            "data": training.get("data"),
            "recipe": recipe,
            "epoch": training.get("epoch"),
        }
    return origin


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # it is published under another name
        return import_module(name).__version__
