"""A Keras model as an OpenVINO IR (`.xml` and `.bin`), verified against the model.

    python -m export.openvino runs/digits/best.keras --out exported/resnet20.xml
    export.export(model, "exported/resnet20.xml", OpenVINOConfig(half_weights=True))

OpenVINO reads our ONNX graph, in which normalization is folded already, and writes its
own form of it. Keras's exporter (`model.export(format="openvino")`) goes from the
TensorFlow graph instead: it takes the model as it ends, without our outputs and
preprocessing, and writes neither names nor origin. The metadata stands in the IR's
`rt_info` under `keras_resnet`, as JSON. Needs `openvino`, of the extra of that name.

What an IR is computed in is chosen where it is compiled: on processors with bfloat16
OpenVINO takes that unless its INFERENCE_PRECISION_HINT says f32, as the verification
does.
"""

import importlib.util
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from export.api import Format, export_source
from export.config import INPUT_NAME, ExportConfig
from export.model.source import Source
from export.runtime import METADATA_KEY
from keras_resnet.common.command import parse, run, step
from keras_resnet.common.errors import InputError, MissingPackageError

OPSET = 17  # of the ONNX graph that OpenVINO reads


@dataclass(frozen=True, kw_only=True)
class OpenVINOConfig(ExportConfig):
    """What can be asked of an OpenVINO IR."""

    half_weights: bool = False
    """Keep the weights in float16, in half the space; float16's tolerance holds."""


class OpenVINO(Format):
    """An `.xml` file with the graph, and a `.bin` file with the weights."""

    suffix = ".xml"
    packages = ("onnx", "tf2onnx", "openvino")
    config_class = OpenVINOConfig

    def __init__(self, signature, config, images=None):
        super().__init__(signature, config, images)
        self.precision = "float16" if config.half_weights else "float32"

    @classmethod
    def beside(cls, path):
        return (path.with_suffix(".bin"),)

    @classmethod
    def refuse(cls, path, force):
        super().refuse(path, force)
        if importlib.util.find_spec("openvino") is None:
            raise MissingPackageError(
                "openvino is not installed: pip install "
                "'keras-resnet-applications[openvino]'."
            )

    def convert(self):
        import openvino
        from openvino.passes import ConstantFolding, Manager

        from export.graph.convert import convert
        from export.graph.files import save

        verbose = self.config.verbose
        graph = convert(self.signature, OPSET, self.layout, verbose)
        core = openvino.Core()
        # A file that is mapped into memory could not be written again.
        core.set_property({"ENABLE_MMAP": False})
        with step("rewriting", verbose), tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            save(graph, {}, path)
            try:
                self.model = core.read_model(path)
            except RuntimeError as error:
                name = self.signature.model.name
                raise InputError(
                    f"model {name!r} has no OpenVINO form: {error}"
                ) from error
            passes = Manager()  # computes the shapes that are known
            passes.register_pass(ConstantFolding())
            passes.run_passes(self.model)
        return {"precision": self.precision}

    def write(self, path, metadata):
        import openvino

        self.model.set_rt_info(json.dumps(metadata), [METADATA_KEY])
        half = self.config.half_weights
        openvino.save_model(self.model, path, compress_to_fp16=half)

    def open(self, path):
        """In OpenVINO on the CPU, in float32."""
        import openvino

        core = openvino.Core()
        core.set_property({"ENABLE_MMAP": False})
        hint = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = core.compile_model(path, "CPU", hint)

        def run_compiled(images):
            outputs = compiled({INPUT_NAME: images})
            return {port.get_any_name(): v for port, v in outputs.items()}

        return run_compiled


@dataclass(frozen=True, kw_only=True)
class OpenVINOCommand(Source, OpenVINOConfig):
    """Writes a Keras model as an OpenVINO IR and verifies it against the model."""


def main(args: list[str] | None = None) -> None:
    export_source(
        OpenVINO, parse(OpenVINOCommand, args, prog="python -m export.openvino")
    )


if __name__ == "__main__":
    run(main)
