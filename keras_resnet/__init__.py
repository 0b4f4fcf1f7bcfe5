"""Residual networks for Keras 3: build, train, export, measure.

    import keras_resnet

    model = keras_resnet.ResNet50(weights="imagenet")
    keras_resnet.list_models("resnet1*")
    keras_resnet.list_weights("resnet50")

Keras is imported when something that needs it is first used.
"""

import importlib
from typing import TYPE_CHECKING

from keras_resnet.applications import *  # noqa: F403
from keras_resnet.architectures import Architecture as Architecture
from keras_resnet.architectures import get_architecture as get_architecture
from keras_resnet.architectures import list_models as list_models
from keras_resnet.common.errors import InputError as InputError
from keras_resnet.common.errors import KerasResNetError as KerasResNetError

if TYPE_CHECKING:
    from keras_resnet import blocks as blocks
    from keras_resnet import layers as layers
    from keras_resnet.images.labels import decode_predictions as decode_predictions
    from keras_resnet.images.preprocessing import preprocess as preprocess
    from keras_resnet.model import build as build
    from keras_resnet.model import feature_maps as feature_maps
    from keras_resnet.saving import load_model as load_model
    from keras_resnet.saving import save_model as save_model
    from keras_resnet.weights import export_weights as export_weights
    from keras_resnet.weights import load_weights as load_weights
    from keras_resnet.weights.registry import list_weights as list_weights

__version__ = "0.1.0"

_LAZY = {  # public name -> where it lives
    "build": "keras_resnet.model",
    "decode_predictions": "keras_resnet.images.labels",
    "export_weights": "keras_resnet.weights",
    "feature_maps": "keras_resnet.model",
    "list_weights": "keras_resnet.weights.registry",
    "load_model": "keras_resnet.saving",
    "load_weights": "keras_resnet.weights",
    "preprocess": "keras_resnet.images.preprocessing",
    "save_model": "keras_resnet.saving",
}
_MODULES = ("blocks", "layers")


if not TYPE_CHECKING:  # to a type checker, a name that is not above is an error

    def __getattr__(name: str):
        if name in _MODULES:
            return importlib.import_module(f"{__name__}.{name}")
        if name in _LAZY:
            return getattr(importlib.import_module(_LAZY[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_LAZY, *_MODULES} - {"importlib", "TYPE_CHECKING"})
