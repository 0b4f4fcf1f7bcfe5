"""An exported file as a function: onnxruntime, numpy and Pillow. Never Keras.

from export.runtime import load

predictor = load("resnet50.onnx")
probabilities = predictor(images)  # uint8, one, a batch or a list of any sizes
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from export.runtime.predictor import Predictor as Predictor
    from export.runtime.predictor import load as load
    from export.runtime.session import Session as Session
else:

    def __getattr__(name):  # onnxruntime is imported when it is first needed
        import importlib

        modules = {"Predictor": "predictor", "load": "predictor", "Session": "session"}
        if name not in modules:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{modules[name]}"), name)
