"""What an artifact says of itself, as far as every format says the same."""

from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from export.model.signature import Signature
    from keras_resnet.saving import Card


def describe(
    signature: "Signature",
    origin: dict | None,
    *libraries: str,
    layout: str = "nhwc",
) -> dict:
    """The metadata of an artifact in float32, before its proof.

    Args:
        signature: that it is made from.
        origin: as `describe_origin` takes it.
        libraries: modules that it is made with, beside Keras and TensorFlow.
        layout: of its input, "nhwc" or "nchw".
    """
    return signature.describe(layout) | {
        "origin": describe_origin(signature.card, origin),
        "calibration": None,
        "accuracy": None,
        "versions": _versions("keras_resnet", "keras", "tensorflow", *libraries),
        "parity": None,
        "parameters": signature.model.count_params(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def describe_origin(card: "Card | None", named: dict | None = None) -> dict:
    """Where the weights are from, for an artifact's metadata.

    Args:
        card: of the model.
        named: what is known beside it: "source", "weights" and "sha256", or some.

    Returns:
        "source", the name of a file or an architecture; "weights", their name in the
        catalogue, "random" or None; "sha256" of the file or None. Of a trained model
        also "training": data set, recipe and epoch.
    """
    origin = dict.fromkeys(("source", "weights", "sha256"))
    origin |= (card.origin if card else {}) | (named or {})
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


def _versions(*modules: str) -> dict[str, str]:
    return {name: import_module(name).__version__ for name in modules}
