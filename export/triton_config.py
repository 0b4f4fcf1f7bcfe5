"""Triton's configuration of a model, from what its ONNX file says.

The fields are those of model_config.proto and of the options of Triton's ONNX Runtime
backend (github.com/triton-inference-server, common and onnxruntime_backend).
"""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from export.graph.reading import inputs, recorded_size, tensor
from keras_resnet.common.errors import InputError

LABELS = "labels.txt"
MOST_VALUES = 2**28  # of an image or an output; more is no real one
MAX_BATCH = 32  # where nothing else is said
OF_CLASSES = ("probabilities", "logits")  # kinds of output that names belong to
TYPES = {  # as ONNX calls them, and Triton
    **{name: f"TYPE_{name.upper()}" for name in ("uint8", "int8", "int32", "int64")},
    "float16": "TYPE_FP16",
    "float": "TYPE_FP32",
    "double": "TYPE_FP64",
}
# What the backend's TensorRT must be allowed to compute in; types are in the file.
TENSORRT_MODES = {"float16": "FP16", "int8-tensorrt": "INT8"}


class Word(str):
    """A name of protobuf's text format that stands without quotes."""


class Served:
    """What Triton is to know of a file.

    Attributes:
        max_batch: 0 where the file's batch is fixed.
        labels: names of the classes, where an output of classes has as many.
        input: as `tensor` describes it.
        image: shape of one image, None where an axis is open.
    """

    def __init__(self, path: Path, proto, metadata: dict, max_batch: int | None):
        entering = [tensor(one) for one in inputs(proto)]
        self._outputs = [tensor(one) for one in proto.graph.output]
        for one in (*entering, *self._outputs):
            known = [side for side in one["shape"] if side is not None]
            sizes = known and min(known) > 0 and prod(known) <= MOST_VALUES
            if len(entering) != 1 or not sizes or one["dtype"] not in TYPES:
                raise InputError(
                    f"{path}: {len(entering)} inputs, {one['name']!r} is "
                    f"{one['dtype']} of shape {one['shape']}; one input, and known "
                    f"shapes of {', '.join(TYPES)}, are accepted."
                )
        self.input, self._metadata = entering[0], metadata
        batches = [one["shape"][0] for one in (self.input, *self._outputs)]
        if batches[0] is not None and max_batch is not None:
            raise InputError(
                f"max_batch={max_batch}: {path} takes batches of {batches[0]} alone."
            )
        if batches[0] is None and set(batches) != {None}:
            raise InputError(f"{path}: its batch is open at its input alone.")
        self.max_batch = 0 if batches[0] else max_batch or MAX_BATCH
        self.image = self._settled(recorded_size(metadata))
        labels = metadata.get("labels")
        self._labels = labels if isinstance(labels, list) else []
        any_has = any(map(self._of_classes, self._outputs))
        self.labels = [" ".join(str(one).split()) for one in self._labels * any_has]

    def tensors(self) -> dict[str, Any]:
        """Fields of the inputs and outputs; open axes are -1 there."""
        named = self._entry(self.input)
        recorded = self._metadata.get("input")
        layout = recorded.get("layout") if isinstance(recorded, dict) else None
        if layout in ("nhwc", "nchw") and len(named["dims"]) == 3:
            named["format"] = Word(f"FORMAT_{layout.upper()}")
        outputs = []
        for one in self._outputs:
            labels = {"label_filename": LABELS} if self._of_classes(one) else {}
            outputs.append(self._entry(one) | labels)
        return {"max_batch_size": self.max_batch, "input": [named], "output": outputs}

    def optimization(self, accelerator: str) -> dict[str, Any]:
        """Fields of an execution accelerator, or none."""
        if accelerator == "none":
            return {}
        entry: dict[str, Any] = {"name": accelerator}
        device = "gpu"
        if accelerator == "openvino":
            device = "cpu"
        else:
            tensorrt = accelerator == "tensorrt"
            options = self._tensorrt() if tensorrt else {"use_tf32": "0"}
            parameters = [{"key": k, "value": v} for k, v in options.items()]
            entry["parameters"] = parameters
        accelerators = {f"{device}_execution_accelerator": entry}
        return {"optimization": {"execution_accelerators": accelerators}}

    def warmup(self) -> dict[str, Any]:
        """Fields that have Triton try batches of 1 and the largest before it serves."""
        if None in self.image:
            return {}
        entry = {"data_type": Word(TYPES[self.input["dtype"]]), "dims": self.image}
        if not self.max_batch:
            entry["dims"] = [self.input["shape"][0], *self.image]
        given = {
            "key": self.input["name"],
            "value": entry | {"zero_data": Word("true")},
        }
        return {
            "model_warmup": [
                {"name": f"batch of {size}", "batch_size": size, "inputs": [given]}
                for size in sorted({1, self.max_batch or 1})
            ]
        }

    def _settled(self, size: tuple[int, int] | None) -> list[int | None]:
        """An image's shape, with what the preprocessing says in its open axes."""
        image = self.input["shape"][1:]
        if size is None or image.count(None) != 2:
            return image
        sides = iter(size)
        return [next(sides) if axis is None else axis for axis in image]

    def _of_classes(self, output: dict[str, Any]) -> bool:
        """Whether an output has a number for each class that has a name."""
        kinds = self._metadata.get("outputs")
        named = isinstance(kinds, list) and any(
            isinstance(one, dict)
            and one.get("name") == output["name"]
            and one.get("kind") in OF_CLASSES
            for one in kinds
        )
        return named and output["shape"][1:] == [len(self._labels)]

    def _entry(self, one: dict[str, Any]) -> dict[str, Any]:
        axes = one["shape"][1:] if self.max_batch else one["shape"]
        dims = [-1 if axis is None else axis for axis in axes]
        if not dims:
            raise InputError(f"output {one['name']!r} has no axis beside the batch.")
        kind = Word(TYPES[one["dtype"]])
        return {"name": one["name"], "data_type": kind, "dims": dims}

    def _tensorrt(self) -> dict[str, str]:
        """TensorRT's precision, and the shapes of its one engine: without them, each
        new batch size builds another."""
        if None in self.image:
            raise InputError(
                "accelerator=tensorrt: the file takes images of any size, and no "
                "preprocessing in its metadata says which will come."
            )
        mode = TENSORRT_MODES.get(str(self._metadata.get("precision")))
        options = {"precision_mode": mode} if mode else {}
        batches = {"min": 1, "opt": self.max_batch, "max": self.max_batch}
        for key, batch in batches.items() if self.max_batch else ():
            shape = "x".join(map(str, (batch, *self.image)))
            options[f"trt_profile_{key}_shapes"] = f"{self.input['name']}:{shape}"
        return options


def text(fields: dict[str, Any], indent: str = "") -> Iterator[str]:
    """A message in protobuf's text format."""
    from google.protobuf.text_encoding import CEscape

    for key, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                yield f"{indent}{key} {{\n"
                yield from text(one, f"{indent}  ")
                yield f"{indent}}}\n"
                continue
            if isinstance(one, str) and not isinstance(one, Word):
                # Its stub says bytes; it takes both.
                one = f'"{CEscape(one, as_utf8=True)}"'  # pyright: ignore
            yield f"{indent}{key}: {one}\n"
