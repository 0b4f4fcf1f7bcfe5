"""Weights: published ones by tag, files of every kind into a model, and back.

Looking into the catalogue imports no numpy; `load_weights` and `export_weights` do.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_resnet.weights.exporting import export_weights as export_weights
    from keras_resnet.weights.loading import load_weights as load_weights

_LAZY = {"export_weights": "exporting", "load_weights": "loading"}


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
