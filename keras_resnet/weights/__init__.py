"""Weights: published ones by tag, files of every kind into a model, and back.

    from keras_resnet.weights import export_weights, list_weights, load_weights

    list_weights("resnet50")[0]  # 'resnet50.fb_swsl_ig1b_ft_in1k'
    load_weights(model, "a1_in1k")
    load_weights(model, "resnet50.safetensors")
    export_weights(model, "mine.safetensors")

Listing the registry imports no numpy; `load_weights` and `export_weights` do.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_resnet.weights.formats.safetensors_files import (
        export_weights as export_weights,
    )
    from keras_resnet.weights.load import load_weights as load_weights
    from keras_resnet.weights.registry import list_weights as list_weights
else:
    _LAZY = {
        "export_weights": "formats.safetensors_files",
        "list_weights": "registry",
        "load_weights": "load",
    }

    def __getattr__(name: str):
        if name in _LAZY:
            return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
