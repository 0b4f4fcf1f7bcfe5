"""Accuracy on labelled images, and how much of it a lower precision may cost."""

from collections.abc import Callable, Iterable

import numpy as np

from keras_resnet.common.errors import InputError

TOP = 5


def evaluate(
    run: Callable[[np.ndarray], dict[str, np.ndarray]],
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
) -> dict:
    """Shares of the images whose class is the best, and among the best five.

    Args:
        run: NHWC images to the outputs by name: "probabilities" or "logits", (N,
            classes); or "classes", (N, k), best first.
        batches: of (images, labels).

    Returns:
        {"top1": share, "top5": share or None where the file gives fewer than five of
        its classes, "images": how many}.

    Raises:
        InputError: an output is NaN, or there are no images.
    """
    first = among = count = 0
    whole = True
    for batch, labels in batches:
        ranked, complete = _ranked(run(batch))
        hits = ranked == labels[:, None]
        first += int(hits[:, :1].sum())
        among += int(hits.sum())
        count += len(labels)
        whole = whole and complete
    if not count:
        raise InputError("there are no images to validate with.")
    top5 = among / count if whole else None
    return {"top1": first / count, "top5": top5, "images": count}


def _ranked(outputs: dict[str, np.ndarray]) -> tuple[np.ndarray, bool]:
    """The best five classes of each image, and whether these are all five."""
    if "classes" in outputs:
        classes = outputs["classes"][:, :TOP]
        return classes, classes.shape[1] == TOP
    (scores,) = outputs.values()
    if np.isnan(scores).any():
        raise InputError("the model gives NaN on images of this data set.")
    return np.argsort(-scores, axis=1, kind="stable")[:, :TOP], True


def drop(reference: dict, lowered: dict) -> float:
    """Points of top-1 that were lost; below zero where some were won."""
    return round(100 * (reference["top1"] - lowered["top1"]), 6)
