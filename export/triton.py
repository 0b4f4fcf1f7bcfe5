"""A Triton Inference Server model repository around an ONNX file.

    python -m export.triton exported/resnet20.onnx --out models
    tritonserver --model-repository models

writes `models/resnet20/`: `config.pbtxt`, `labels.txt`, and a copy of the file as
`1/model.onnx`. The configuration has the fields of model_config.proto and the options
of Triton's ONNX Runtime backend (github.com/triton-inference-server, common and
onnxruntime_backend). It was written from Triton's documentation and was not tried on a
server.
"""

import shutil
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tyro.conf import Positional

from export.graph.files import (
    beside,
    inputs,
    read,
    read_metadata,
    recorded_size,
    tensor,
)
from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import refuse_foreign, write_beside
from keras_resnet.common.fingerprint import sha256
from keras_resnet.common.numbers import check_choice, check_whole

CONFIG, LABELS, VERSION, MODEL = "config.pbtxt", "labels.txt", "1", "model.onnx"
OPEN_SIDE = 64  # tried where nothing says how large images will be
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


def make_repository(
    path: Positional[Path],
    out: Path,
    *,
    name: str | None = None,
    max_batch: int | None = None,
    preferred_batch_sizes: tuple[int, ...] = (),
    queue_delay: int = 100,
    instances: int = 1,
    device: Literal["auto", "gpu", "cpu"] = "auto",
    accelerator: Literal["none", "cuda", "tensorrt", "openvino"] = "none",
    force: bool = False,
) -> Path:
    """Puts an ONNX file into a model repository, and runs the copy in onnxruntime.

    Args:
        path: The file: any .onnx file of one input with images.
        out: The repository, which may hold other models; the model becomes a folder.
        name: Name of the model there. Default: the file's.
        max_batch: The largest batch that Triton may make. Default: 32. Not for a file
            of a fixed batch, which Triton serves in requests of that very batch.
        preferred_batch_sizes: Batches that Triton should strive for; NVIDIA advises to
            name some for TensorRT's profiles only.
        queue_delay: Microseconds that a request may wait for others to share a batch.
        instances: Number of instances of the model, on each GPU or on the CPU.
        device: Where they run: "auto" takes GPUs if there are, else the CPU.
        accelerator: onnxruntime's accelerator in Triton: "cuda" turns TF32 off;
            "tensorrt" has one profile for all batches.
        force: Replace a model of that name that this command wrote.

    Returns:
        The model's folder.

    Raises:
        InputError: the file or an argument cannot be used, or the folder cannot be
            written; nothing is left behind.
    """
    path = Path(path)
    proto = read(path)
    folder = Path(out) / _checked_name(path.stem if name is None else name)
    refuse_foreign(folder, {CONFIG, LABELS, VERSION}, "no export wrote")
    largest = DEFAULT_MAX_BATCH if max_batch is None else max_batch
    check_whole("max_batch", largest)
    check_whole("instances", instances)
    check_choice("device", device, ("auto", "gpu", "cpu"))
    check_choice("accelerator", accelerator, ("none", "cuda", "tensorrt", "openvino"))
    check_whole("queue_delay", queue_delay, minimum=0)
    for size in preferred_batch_sizes:
        check_whole("preferred_batch_sizes", size, maximum=largest)
    served = Served(path, proto, max_batch)
    config = {
        "name": folder.name,
        "backend": "onnxruntime",
        "default_model_filename": MODEL,
        "max_batch_size": served.max_batch,
        "input": served.input_fields(),
        "output": [served.output_fields(output) for output in served.outputs],
        "instance_group": {"count": instances, "kind": Word(f"KIND_{device.upper()}")},
        "dynamic_batching": {
            "preferred_batch_size": list(preferred_batch_sizes),
            "max_queue_delay_microseconds": queue_delay,
        },
        "optimization": served.optimization(accelerator),
        "model_warmup": served.warmup(),
    }
    if not served.max_batch:
        del config["dynamic_batching"]
    with write_beside(folder, force) as part:
        (part / VERSION).mkdir(parents=True)
        (part / CONFIG).write_text("".join(protobuf_text(config)))
        if served.labels:
            (part / LABELS).write_text("".join(f"{name}\n" for name in served.labels))
        _copy(path, beside(proto), part / VERSION)
        _try(part / VERSION / MODEL, served)
    return folder


class Word(str):
    """A value that protobuf's text format writes without quotes."""


def protobuf_text(fields: dict[str, Any], indent: str = "") -> Iterator[str]:
    """The lines of a message in protobuf's text format."""
    from google.protobuf.text_encoding import CEscape

    for key, value in fields.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                yield f"{indent}{key} {{\n"
                yield from protobuf_text(item, f"{indent}  ")
                yield f"{indent}}}\n"
                continue
            if isinstance(item, str) and not isinstance(item, Word):
                # Its stub says bytes; it takes both.
                item = f'"{CEscape(item, as_utf8=True)}"'  # pyright: ignore
            yield f"{indent}{key}: {item}\n"


class Served:
    """What Triton needs to know of a file, and the fields of its configuration.

    Attributes:
        input, outputs: as `export.graph.files.tensor` describes them.
        metadata: what the exporter wrote into the file.
        max_batch: 0 where the file's batch is fixed.
        image: shape of one image, None where an axis is open.
        labels: names of the classes, where an output of classes has as many.
    """

    def __init__(self, path: Path, proto, max_batch: int | None):
        self.metadata = read_metadata(proto, path)
        entries = [tensor(value) for value in inputs(proto)]
        self.outputs = [tensor(value) for value in proto.graph.output]
        for entry in entries + self.outputs:
            known = [side for side in entry["shape"] if side is not None]
            sizes = known and min(known) > 0 and prod(known) <= MAX_VALUES
            if len(entries) != 1 or not sizes or entry["dtype"] not in TYPES:
                raise InputError(
                    f"{path}: {len(entries)} inputs, {entry['name']!r} is "
                    f"{entry['dtype']} of shape {entry['shape']}; one input, and known "
                    f"shapes of {', '.join(TYPES)}, are accepted."
                )
        (self.input,) = entries
        batch, *self.image = self.input["shape"]
        if batch is not None and max_batch is not None:
            raise InputError(
                f"max_batch={max_batch}: {path} takes batches of {batch} alone."
            )
        if batch is None and any(output["shape"][0] for output in self.outputs):
            raise InputError(f"{path}: its batch is open at its input alone.")
        self.max_batch = 0 if batch else max_batch or DEFAULT_MAX_BATCH
        size = recorded_size(self.metadata)
        if size is not None and self.image.count(None) == 2:
            sides = iter(size)
            self.image = [next(sides) if a is None else a for a in self.image]
        labels = self.metadata.get("labels")
        if not isinstance(labels, list):
            labels = []
        self.labels = [" ".join(str(label).split()) for label in labels]
        if not any(map(self.has_labels, self.outputs)):
            self.labels = []

    def has_labels(self, output: dict[str, Any]) -> bool:
        """Whether an output has a value for each class that has a name."""
        recorded = self.metadata.get("outputs")
        of_classes = isinstance(recorded, list) and any(
            isinstance(entry, dict)
            and entry.get("name") == output["name"]
            and entry.get("kind") in LABELED_OUTPUTS
            for entry in recorded
        )
        return of_classes and output["shape"][1:] == [len(self.labels)]

    def _tensor_fields(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Fields of an input or output; open axes are -1 there."""
        axes = entry["shape"][1:] if self.max_batch else entry["shape"]
        dims = [-1 if axis is None else axis for axis in axes]
        if not dims:
            raise InputError(f"output {entry['name']!r} has no axis beside the batch.")
        kind = Word(TYPES[entry["dtype"]])
        return {"name": entry["name"], "data_type": kind, "dims": dims}

    def input_fields(self) -> dict[str, Any]:
        fields = self._tensor_fields(self.input)
        recorded = self.metadata.get("input")
        layout = recorded.get("layout") if isinstance(recorded, dict) else None
        if layout in ("nhwc", "nchw") and len(fields["dims"]) == 3:
            fields["format"] = Word(f"FORMAT_{layout.upper()}")
        return fields

    def output_fields(self, output: dict[str, Any]) -> dict[str, Any]:
        labels = {"label_filename": LABELS} if self.has_labels(output) else {}
        return self._tensor_fields(output) | labels

    def optimization(self, accelerator: str) -> dict[str, Any] | list:
        """Fields of an execution accelerator; [] for none."""
        if accelerator == "none":
            return []
        fields: dict[str, Any] = {"name": accelerator}
        if accelerator != "openvino":
            options = {"use_tf32": "0"}
            if accelerator == "tensorrt":
                options = self._tensorrt_options()
            fields["parameters"] = [{"key": k, "value": v} for k, v in options.items()]
        device = "cpu" if accelerator == "openvino" else "gpu"
        return {"execution_accelerators": {f"{device}_execution_accelerator": fields}}

    def _tensorrt_options(self) -> dict[str, str]:
        """TensorRT's precision, and the shapes of its one engine: without them, each
        new batch size builds another."""
        if None in self.image:
            raise InputError(
                "accelerator=tensorrt: the file takes images of any size, and no "
                "preprocessing in its metadata says which will come."
            )
        mode = TENSORRT_MODES.get(str(self.metadata.get("precision")))
        options = {"precision_mode": mode} if mode else {}
        batches = {"min": 1, "opt": self.max_batch, "max": self.max_batch}
        for key, batch in batches.items() if self.max_batch else ():
            shape = "x".join(map(str, [batch, *self.image]))
            options[f"trt_profile_{key}_shapes"] = f"{self.input['name']}:{shape}"
        return options

    def warmup(self) -> list[dict[str, Any]]:
        """Has Triton try batches of 1 and the largest before it serves."""
        if None in self.image:
            return []
        dims = self.image if self.max_batch else [self.input["shape"][0], *self.image]
        zeros = {
            "data_type": Word(TYPES[self.input["dtype"]]),
            "dims": dims,
            "zero_data": Word("true"),
        }
        images = {"key": self.input["name"], "value": zeros}
        return [
            {"name": f"batch of {size}", "batch_size": size, "inputs": images}
            for size in sorted({1, self.max_batch or 1})
        ]


def _copy(path: Path, data: list[str], folder: Path) -> None:
    """Copies a file and its data, and makes sure of the bytes."""
    if MODEL in data:
        raise InputError(f"{path}: its data is called {MODEL}, as Triton calls models.")
    copies = {MODEL: path} | {name: path.parent / name for name in data}
    for name, source in copies.items():
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        if sha256(source) != sha256(copy):
            raise InputError(f"{source} changed while it was copied.")


def _try(path: Path, served: Served) -> None:
    """Runs batches of 1 and the largest in onnxruntime, or the file's own batch."""
    from export.runtime import Session

    session = Session(path, "cpu")
    image = [side or OPEN_SIDE for side in served.image]
    fixed = served.input["shape"][0]
    for batch in [fixed] if fixed else sorted({1, served.max_batch}):
        session.run(np.zeros((batch, *image), session.input_dtype))


def _checked_name(name: str) -> str:
    if not name or name != Path(name).name or name == ".." or not name.isprintable():
        raise InputError(f"name={name!r}: the name of a folder is accepted.")
    return name


def main(args: Sequence[str] | None = None) -> None:
    folder = parse(make_repository, args, prog="python -m export.triton")()
    print(f"{folder}: runs in onnxruntime")


if __name__ == "__main__":
    run(main)
