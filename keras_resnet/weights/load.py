"""`load_weights`: a file's weights, or published ones by their tag, into a model."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from keras_resnet.architectures import Architecture
from keras_resnet.common.errors import InputError
from keras_resnet.images.labels import imagenet_labels
from keras_resnet.images.preprocessing import Preprocessing
from keras_resnet.saving import Origin, attach, card_of, read_card, read_config
from keras_resnet.weights import download, registry
from keras_resnet.weights.assign import (
    adapt,
    assign,
    classifier_of,
    named_layers,
    refuse_mismatch,
)
from keras_resnet.weights.formats.keras_files import read_own, require_same_graph
from keras_resnet.weights.formats.read import (
    SUFFIXES,
    FileWeights,
    kind_of,
    read_weights,
)

if TYPE_CHECKING:
    import keras

# What may differ between two networks that have the same weights.
_WITHOUT_WEIGHTS = (
    "name",
    "input_size",
    "classes",
    "source",
    "output_stride",
    "momentum",
    "drop_path_rate",
    "drop_rate",
    "zero_init_residual",
)


def load_weights(
    model: "keras.Model", weights: str | os.PathLike, *, head: str = "file"
) -> None:
    """Sets a model's weights from a file, or from published weights by their tag.

        >>> trained = keras_resnet.build("resnet20")
        >>> keras_resnet.export_weights(trained, "resnet20.safetensors")
        >>> model = keras_resnet.build("resnet20")
        >>> keras_resnet.load_weights(model, "resnet20.safetensors")
        >>> image = np.ones((1, 32, 32, 3), "float32")
        >>> bool(keras.ops.all(model(image) == trained(image)))
        True

    Every tensor of the file must find its place in the model, and every weight of the
    model its tensor, of the same shape; else nothing is set. Two differences are
    adapted: another number of classes re-initialises the classifier (with a warning),
    and another number of input channels sums or repeats the first kernel as timm does.
    The biases of keras.applications' networks fold into a network without them. A model
    without classifier takes the rest of the file.

    `model.card` then tells where the weights are from, and has their labels and
    preprocessing as far as they are known: a tag's from the registry; a `.keras`
    file's from its card; a local file's preprocessing from the configuration of timm,
    transformers or keras-hub beside it, else from the default weights of the
    architecture in the registry. A model that takes other than three channels gets
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
        head: "file" (the classifier of the file) or "new" (re-initialised).

    Raises:
        InputError: no such file or tag, a file of another kind, damaged, holding NaN,
            or weights that do not fit; the model keeps the weights it had. Where names
            or shapes do not fit it is an `assign.MismatchError`, whose `faults` lists
            all reasons.
        DownloadError: published weights cannot be downloaded, or are damaged.
    """
    if not _is_path(weights):
        _load_published(model, str(weights), head)
        return
    path = Path(weights).expanduser()
    kind = "folder" if path.is_dir() else kind_of(path)
    origin = Origin.of_file(path)
    if kind == "keras":
        _load_keras(model, path, head, origin)
        return
    if kind == "hdf5" and path.name.endswith(".weights.h5"):
        content = FileWeights(read_own(path, model))
    else:
        content = read_weights(path)
    _set(model, content, head, str(path))
    _complete_card(model, content.preprocessing or _default(model), (), origin)


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
    """Weights of the registry, with their preprocessing and ImageNet's labels."""
    card = card_of(model)
    if card is None:
        raise InputError(
            f"weights={tag!r}: {model.name} was not made by `build`, so its "
            "architecture is unknown; the path of a file is needed."
        )
    published = registry.find(card.architecture.name, tag)
    path = download.fetch(published)
    origin = Origin.of_file(path, published.source, published.name)
    has_head = _set(model, read_weights(path), head, f"weights={tag!r}")
    labels = imagenet_labels() if has_head and published.classes == 1000 else ()
    if not _is_whole(model, has_head):
        origin = replace(origin, weights=None)
    _complete_card(model, published.preprocessing, labels, origin)


def _load_keras(model: "keras.Model", path: Path, head: str, origin: Origin) -> None:
    """Weights of a model that was saved, with its card."""
    ours, theirs = card_of(model), read_card(path)
    if not (ours and theirs and _same(ours.architecture, theirs.architecture)):
        require_same_graph(model, read_config(path), str(path))
    has_head = _set(model, FileWeights(read_own(path, model)), head, str(path))
    if theirs is None:
        card = card_of(model)
        if card is not None:
            attach(model, replace(card, training={}, origin=origin))
        return
    if theirs.origin and not theirs.training and _is_whole(model, has_head):
        origin = replace(origin, weights=theirs.origin.weights)
    labels = theirs.labels if has_head else ()
    _complete_card(model, theirs.preprocessing, labels, origin)


def _is_whole(model: "keras.Model", has_head: bool) -> bool:
    """Whether all weights are the file's: no classifier was re-initialised."""
    return has_head or classifier_of(named_layers(model)) is None


def _same(ours: Architecture, theirs: Architecture) -> bool:
    """Whether the networks differ in nothing but what weights do not depend on."""
    same = {name: getattr(ours, name) for name in _WITHOUT_WEIGHTS}
    return ours == replace(theirs, **same)


def _set(model: "keras.Model", content: FileWeights, head: str, source: str) -> bool:
    """Adapts and assigns; returns whether the model has the file's classifier."""
    card = card_of(model)
    for block in card.architecture.blocks if card else ():
        stride = getattr(block, "stride_conv", None)  # bottlenecks alone have it
        if None not in (stride, content.stride_conv) and stride != content.stride_conv:
            fault = (
                f"its blocks have their stride in conv{content.stride_conv}, the "
                f"model's in conv{stride}"
            )
            refuse_mismatch([fault], model, source)
    arrays, has_head = adapt(model, content.arrays, head, content.epsilon, source)
    assign(model, arrays, source)
    return has_head


def _default(model: "keras.Model") -> Preprocessing | None:
    """The preprocessing of the architecture's default weights; None without any."""
    card = card_of(model)
    try:
        return card and registry.find(card.architecture.name).preprocessing
    except InputError:
        return None


def _complete_card(
    model: "keras.Model",
    preprocessing: Preprocessing | None,
    labels: tuple[str, ...],
    origin: Origin,
) -> None:
    """Notes what is known of the weights on the model's card, if it has one.

    What the card says of a training was of the weights before these.
    """
    card = card_of(model)
    if card is None:
        return
    channels = model.inputs[0].shape[-1]
    if preprocessing is not None and len(preprocessing.mean) != channels:
        preprocessing = None
    attach(
        model,
        replace(
            card,
            preprocessing=preprocessing,
            labels=labels,
            training={},
            origin=origin,
        ),
    )
