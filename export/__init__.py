"""Keras models as files that other runtimes serve, each verified against its model.

    from export import ExportConfig, export, load

    export(model, "resnet50.onnx")                  # also .tflite, .xml, a folder
    export(model, "resnet50.onnx", ExportConfig(output="logits", preprocess="full"))
    predict = load("resnet50.onnx")                 # needs no Keras
    predict(images)                                 # uint8, of any sizes

The suffix tells the format. What only one format has is in its own function:
`export.onnx.export_onnx` (opset, layout, lower precisions), and in the same way
`export.savedmodel`, `export.litert` and `export.openvino`. `export.triton` puts an ONNX
file into a model repository. Each is a command too: `python -m export.onnx --help`;
so are `export.inspect`, `export.benchmark` and `export.tune`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.api import export
    from export.config import ExportConfig
    from export.runtime import load

__all__ = ["ExportConfig", "export", "load"]

if not TYPE_CHECKING:
    _MODULES = {
        "ExportConfig": "export.config",
        "export": "export.api",
        "load": "export.runtime",
    }

    def __getattr__(name: str) -> Any:
        """Imports a name's module when the name is first used."""
        from importlib import import_module

        if name not in _MODULES:
            raise AttributeError(f"module 'export' has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
