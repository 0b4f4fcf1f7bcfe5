"""Tiny networks with weights drawn at random, and their comparison."""

import numpy as np
from conftest import randomize, tiny

from keras_resnet import build


def network(name="resnet18", **options):
    """A tiny network with logits of 5 classes, its weights drawn at random."""
    options = {"input_shape": (None, None, 3), "classes": 5} | options
    model = build(tiny(name), classifier_activation=None, **options)
    randomize(model, seed=1)
    return model


def same(ours, theirs):
    return ours.keys() == theirs.keys() and all(
        np.array_equal(ours[name], theirs[name]) for name in ours
    )
