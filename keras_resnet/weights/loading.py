"""`load_weights`: a file's or a tag's weights into a model."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from keras_resnet.architectures import Architecture
from keras_resnet.common.errors import InputError
from keras_resnet.common.fingerprint import sha256
from keras_resnet.images.labels import imagenet_labels
from keras_resnet.images.preprocessing import Preprocessing
from keras_resnet.saving import attach, card_of, read_card, read_config
from keras_resnet.weights import catalogue, download
from keras_resnet.weights.adaptation import adapt_channels, adapt_head, fold_biases
from keras_resnet.weights.matching import (
    assign,
    classifier_of,
    named_variables,
    refuse,
)
from keras_resnet.weights.own_files import read_own, require_same_graph
from keras_resnet.weights.reading import SUFFIXES, Contents, kind_of, read

if TYPE_CHECKING:
    import keras

# What may differ between two networks that have the same weights.
_FREE = ("name", "input_size", "classes", "source", "output_stride", "momentum")
_FREE += ("drop_path_rate", "drop_rate", "zero_init_residual")


def load_weights(
    model: "keras.Model", weights: str | os.PathLike, *, head: str = "file"
) -> None:
    """Sets a model's weights from a file, or from published weights by their tag.

    Every tensor of the file must find its place in the model, and every weight of the
    model its tensor, of the same shape; else nothing is set. Two differences are
    adapted: another number of classes draws the classifier anew (with a warning), and
    another number of input channels sums or repeats the first kernel as timm does. The
    biases of keras.applications' networks fold into a network without them. A model
    without classifier takes the rest of the file.

    `model.card` then tells where the weights are from, and has their labels and
    preprocessing so far as they are known: a tag's from the catalogue; a `.keras`
    file's from its card; a local file's preprocessing from the configuration of timm,
    transformers or keras-hub beside it, else from the default weights of the
    architecture in the catalogue. A model that takes other than three channels gets
    none.

    Args:
        model: from `build`.
        weights: "imagenet" or a tag (see `list_weights`), or a path: of a
            `.safetensors` file of timm, torchvision or transformers; an `.h5` file of
            keras.applications; a `.keras` or `.weights.h5` file of this package; or a
            folder from the Hugging Face hub or of keras-hub. A string counts as a path
            if it ends as such a file, if it starts with "/", "." or "~", or if it has
            a "/" and exists. timm's files and `.weights.h5` files hold no strides, so
            another network whose shapes fit is not noticed.
        head: "file" (the classifier of the file) or "new" (drawn anew).

    Raises:
        InputError: no such file or tag, a file of another kind, damaged, holding NaN,
            or weights that do not fit; the model keeps the weights it had. Where names
            or shapes do not fit it is a `matching.MismatchError`, whose `faults` lists
            all reasons.
    """
    if not _is_path(weights):
        _load_published(model, weights, head)
        return
    path = Path(weights).expanduser()
    kind = "folder" if path.is_dir() else kind_of(path)
    if kind == "keras":
        _load_keras(model, path, head)
        return
    own = kind == "hdf5" and path.name.endswith(".weights.h5")
    contents = Contents(read_own(path, model)) if own else read(path)
    _set(model, contents, head, str(path))
    preprocessing = contents.preprocessing or _default_preprocessing(model)
    _describe(model, preprocessing, ())
    _record_origin(model, path)


def _is_path(weights: str | os.PathLike) -> bool:
    if isinstance(weights, os.PathLike):
        return True
    if not isinstance(weights, str):
        raise InputError(f"weights={weights!r}: a tag or the path of a file is needed.")
    return (
        weights.startswith(("/", ".", "~"))
        or Path(weights).suffix in SUFFIXES
        or ("/" in weights and Path(weights).exists())
    )


def _load_published(model: "keras.Model", tag: str, head: str) -> None:
    """Weights of the catalogue, with their preprocessing and ImageNet's labels."""
    card = card_of(model)
    if card is None:
        raise InputError(
            f"weights={tag!r}: {model.name} was not made by `build`, so its "
            "architecture is unknown; the path of a file is needed."
        )
    weight = catalogue.find(card.architecture.name, tag)
    path = download.fetch(weight)
    kept = _set(model, read(path), head, f"weights={tag!r}")
    labels = imagenet_labels() if kept and weight.classes == 1000 else ()
    _describe(model, weight.preprocessing, labels)
    name = weight.name if _whole(model, kept) else None
    _record_origin(model, path, source=weight.source, weights=name)


def _load_keras(model: "keras.Model", path: Path, head: str) -> None:
    """Weights of a model that was saved, with its card."""
    ours, theirs = card_of(model), read_card(path)
    if not (ours and theirs and _same(ours.architecture, theirs.architecture)):
        require_same_graph(model, read_config(path), str(path))
    kept = _set(model, Contents(read_own(path, model)), head, str(path))
    if theirs is not None:
        _describe(model, theirs.preprocessing, theirs.labels if kept else ())
    published = None
    if theirs is not None and not theirs.training and _whole(model, kept):
        published = theirs.origin.get("weights")
    _record_origin(model, path, weights=published)


def _whole(model: "keras.Model", kept: bool) -> bool:
    """Whether all weights are the file's: no classifier was drawn anew."""
    return kept or classifier_of(named_variables(model)) is None


def _same(ours: Architecture, theirs: Architecture) -> bool:
    """Whether the networks differ in nothing but what weights do not depend on."""
    return ours == replace(theirs, **{key: getattr(ours, key) for key in _FREE})


def _set(model: "keras.Model", contents: Contents, head: str, source: str) -> bool:
    """Adapts and assigns; returns whether the model has the file's classifier."""
    card = card_of(model)
    blocks = card.architecture.blocks if card is not None else ()
    strides = [block.stride_conv for block in blocks if hasattr(block, "stride_conv")]
    if strides:
        stride = strides[0]
        if contents.stride_conv not in (None, stride):
            fault = (
                f"its blocks have their stride in conv{contents.stride_conv}, the "
                f"model's in conv{stride}"
            )
            refuse([fault], model, source)
    arrays = adapt_channels(contents.arrays, named_variables(model))
    arrays = fold_biases(arrays, model, contents.epsilon)
    arrays, kept = adapt_head(arrays, model, head, source)
    assign(model, arrays, source)
    return kept


def _default_preprocessing(model: "keras.Model") -> Preprocessing | None:
    """Of the architecture's default weights; None where it has none."""
    card = card_of(model)
    try:
        return card and catalogue.find(card.architecture.name).preprocessing
    except InputError:
        return None


def _describe(
    model: "keras.Model", preprocessing: Preprocessing | None, labels: tuple[str, ...]
) -> None:
    """Completes the model's card, if it has one."""
    card = card_of(model)
    if card is None:
        return
    channels = model.inputs[0].shape[-1]
    if preprocessing is not None and len(preprocessing.mean) != channels:
        preprocessing = None
    attach(model, replace(card, preprocessing=preprocessing, labels=labels))


def _record_origin(
    model: "keras.Model",
    path: Path,
    *,
    source: str | None = None,
    weights: str | None = None,
) -> None:
    """Notes on the model's card, if it has one, where its weights are from.

    What it says of a training was of those before them.
    """
    card = card_of(model)
    if card is None:
        return
    origin = {
        "source": source or path.name,
        "weights": weights,
        # a folder's weights are several files
        "sha256": sha256(path) if path.is_file() else None,
    }
    attach(model, replace(card, training={}, origin=origin))
