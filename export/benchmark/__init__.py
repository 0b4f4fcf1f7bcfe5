"""What is measured of an ONNX file, and how it is shown."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from export.benchmark.__main__ import benchmark as benchmark
    from export.benchmark.__main__ import main as main
else:

    def __getattr__(name):  # onnxruntime is imported when it is first needed
        if name not in ("benchmark", "main"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        return getattr(importlib.import_module(f"{__name__}.__main__"), name)
