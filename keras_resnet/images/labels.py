"""From a classifier's outputs to names of classes.

`imagenet1k.csv` holds the thousand classes of ImageNet-1k in the order of the outputs:
the names are torchvision's (`torchvision.models._meta`), the WordNet numbers timm's
(`imagenet_synsets.txt`).
"""

import csv
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from keras_resnet.common.errors import InputError
from keras_resnet.common.numbers import check_whole


@cache
def imagenet_classes() -> tuple[tuple[str, str], ...]:
    """(WordNet number, name) of each of the 1000 classes, in the outputs' order."""
    table = files("keras_resnet.images") / "imagenet1k.csv"
    with table.open(encoding="utf-8") as file:
        return tuple((row["wnid"], row["name"]) for row in csv.DictReader(file))


def imagenet_labels() -> tuple[str, ...]:
    """The names alone: `labels` of a card of ImageNet-1k weights."""
    return tuple(name for _, name in imagenet_classes())


def decode_predictions(
    outputs: Any, top: int = 5, labels: Sequence[str] | None = None
) -> list[list[tuple[str, str, float]]]:
    """The likeliest classes of each image, the likeliest first.

        >>> probabilities = np.array([[0.125, 0.625, 0.25]])
        >>> decode_predictions(probabilities, top=2, labels=["cat", "dog", "fish"])
        [[('1', 'dog', 0.625), ('2', 'fish', 0.25)]]

    Args:
        outputs: (batch, classes) of a classifier, probabilities or logits. Rows that
            hold no negative number and sum to 1 are probabilities; softmax makes
            them of others.
        top: how many classes to give; all where there are fewer.
        labels: name of each class in the outputs' order, such as `model.card.labels`;
            None or empty takes those of ImageNet-1k.

    Returns:
        For each image a list of (class, name, probability). The class is a WordNet
        number ("n02123045") for ImageNet-1k, else the index of the output ("3").

    Raises:
        InputError: another shape, outputs that are not finite, or another number of
            classes than of labels.
    """
    scores = _probabilities(outputs)
    check_whole("top", top)
    classes = _classes(labels, scores.shape[1])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return [
        [(*classes[i], float(row[i])) for i in best]
        for row, best in zip(scores, order, strict=True)
    ]


def _classes(labels: Sequence[str] | None, count: int) -> Sequence[tuple[str, str]]:
    labels = () if labels is None else labels
    if isinstance(labels, str) or not hasattr(labels, "__len__"):
        raise InputError(f"labels={labels!r}: a name for each class is needed.")
    unnamed = len(labels) == 0
    if unnamed or tuple(labels) == imagenet_labels():
        classes = imagenet_classes()
    else:
        classes = [(str(index), name) for index, name in enumerate(labels)]
    if len(classes) != count:
        raise InputError(
            f"labels: {'none' if unnamed else len(labels)} for outputs of {count} "
            "classes; a name a class is needed (without any, the outputs are taken for "
            "the 1000 classes of ImageNet-1k)."
        )
    return classes


def _probabilities(outputs: Any) -> np.ndarray:
    from keras import ops

    try:
        scores = np.asarray(ops.convert_to_numpy(outputs), "float64")
    except (TypeError, ValueError) as error:
        raise InputError("outputs: an array of numbers is needed.") from error
    if scores.ndim != 2 or not scores.size:
        raise InputError(f"outputs of {scores.shape}: (batch, classes) is needed.")
    if not np.isfinite(scores).all():
        raise InputError("outputs: they hold NaN or infinity.")
    # Half precision leaves sums that far from 1.
    if (scores >= 0).all() and np.allclose(scores.sum(1), 1, rtol=0, atol=1e-2):
        return scores
    scores = np.exp(scores - scores.max(1, keepdims=True))
    return scores / scores.sum(1, keepdims=True)
