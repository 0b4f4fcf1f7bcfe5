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
MAX_VALUES = 2**28  # in an image or an output; a damaged file may say more
DEFAULT_MAX_BATCH = 32
LABELED_OUTPUTS = ("probabilities", "logits")  # with a value for every class
TYPES = {  # ONNX's name of a type -> Triton's
    **{name: f"TYPE_{name.upper()}" for name in ("uint8", "int8", "int32", "int64")},
    "float16": "TYPE_FP16",
    "float": "TYPE_FP32",
    "double": "TYPE_FP64",
}
# What the backend's TensorRT must be allowed to compute in, by the file's precision.
TENSORRT_MODES = {"float16": "FP16", "int8-tensorrt": "INT8"}


class Word(str):
    """A value that protobuf's text format writes without quotes."""


class Served:
    """What Triton needs to know of a file.

    Attributes:
        max_batch: 0 where the file's batch is fixed.
        labels: names of the classes, where an output of classes has as many.
        input: as `export.graph.reading.tensor` describes it.
        image: shape of one image, None where an axis is open.
    """

    def __init__(self, path: Path, proto, metadata: dict, max_batch: int | None):
        entries = [tensor(value) for value in inputs(proto)]
        self._outputs = [tensor(value) for value in proto.graph.output]
        for entry in entries + self._outputs:
            known = [side for side in entry["shape"] if side is not None]
            sizes = known and min(known) > 0 and prod(known) <= MAX_VALUES
            if len(entries) != 1 or not sizes or entry["dtype"] not in TYPES:
                raise InputError(
                    f"{path}: {len(entries)} inputs, {entry['name']!r} is "
                    f"{entry['dtype']} of shape {entry['shape']}; one input, and known "
                    f"shapes of {', '.join(TYPES)}, are accepted."
                )
        self.input, self._metadata = entries[0], metadata
        batches = [entry["shape"][0] for entry in [self.input, *self._outputs]]
        if batches[0] is not None and max_batch is not None:
            raise InputError(
                f"max_batch={max_batch}: {path} takes batches of {batches[0]} alone."
            )
        if batches[0] is None and set(batches) != {None}:
            raise InputError(f"{path}: its batch is open at its input alone.")
        self.max_batch = 0 if batches[0] else max_batch or DEFAULT_MAX_BATCH
        self.image = self._image_shape(recorded_size(metadata))
        labels = metadata.get("labels")
        self._labels = labels if isinstance(labels, list) else []
        self.labels = []
        if any(map(self._has_labels, self._outputs)):
            self.labels = [" ".join(str(label).split()) for label in self._labels]

    def tensors(self) -> dict[str, Any]:
        """Fields of the inputs and outputs; open axes are -1 there."""
        entry = self._tensor_fields(self.input)
        recorded = self._metadata.get("input")
        layout = recorded.get("layout") if isinstance(recorded, dict) else None
        if layout in ("nhwc", "nchw") and len(entry["dims"]) == 3:
            entry["format"] = Word(f"FORMAT_{layout.upper()}")
        outputs = []
        for output in self._outputs:
            labels = {"label_filename": LABELS} if self._has_labels(output) else {}
            outputs.append(self._tensor_fields(output) | labels)
        return {"max_batch_size": self.max_batch, "input": [entry], "output": outputs}

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
        zeros = {
            "key": self.input["name"],
            "value": entry | {"zero_data": Word("true")},
        }
        return {
            "model_warmup": [
                {"name": f"batch of {size}", "batch_size": size, "inputs": [zeros]}
                for size in sorted({1, self.max_batch or 1})
            ]
        }

    def _image_shape(self, size: tuple[int, int] | None) -> list[int | None]:
        """An image's shape, with what the preprocessing says in its open axes."""
        image = self.input["shape"][1:]
        if size is None or image.count(None) != 2:
            return image
        sides = iter(size)
        return [next(sides) if axis is None else axis for axis in image]

    def _has_labels(self, output: dict[str, Any]) -> bool:
        """Whether an output has a value for each class that has a name."""
        recorded = self._metadata.get("outputs")
        of_classes = isinstance(recorded, list) and any(
            isinstance(entry, dict)
            and entry.get("name") == output["name"]
            and entry.get("kind") in LABELED_OUTPUTS
            for entry in recorded
        )
        return of_classes and output["shape"][1:] == [len(self._labels)]

    def _tensor_fields(self, entry: dict[str, Any]) -> dict[str, Any]:
        axes = entry["shape"][1:] if self.max_batch else entry["shape"]
        dims = [-1 if axis is None else axis for axis in axes]
        if not dims:
            raise InputError(f"output {entry['name']!r} has no axis beside the batch.")
        kind = Word(TYPES[entry["dtype"]])
        return {"name": entry["name"], "data_type": kind, "dims": dims}

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
            shape = "x".join(map(str, [batch, *self.image]))
            options[f"trt_profile_{key}_shapes"] = f"{self.input['name']}:{shape}"
        return options


def text(fields: dict[str, Any], indent: str = "") -> Iterator[str]:
    """The lines of a message in protobuf's text format."""
    from google.protobuf.text_encoding import CEscape

    for key, value in fields.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                yield f"{indent}{key} {{\n"
                yield from text(item, f"{indent}  ")
                yield f"{indent}}}\n"
                continue
            if isinstance(item, str) and not isinstance(item, Word):
                # Its stub says bytes; it takes both.
                item = f'"{CEscape(item, as_utf8=True)}"'  # pyright: ignore
            yield f"{indent}{key}: {item}\n"
