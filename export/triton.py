"""A Triton Inference Server model repository around an ONNX file.

    python -m export.triton exported/resnet20.onnx --out models
    tritonserver --model-repository models

writes `models/resnet20/`: `config.pbtxt`, `labels.txt`, and a copy of the file as
`1/model.onnx`. The configuration was written from Triton's documentation and was not
tried on a server.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from tyro.conf import Positional

from export.graph.reading import beside, read, read_metadata
from export.triton_config import LABELS, MAX_BATCH, Served, Word, text
from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import write_beside
from keras_resnet.common.fingerprint import sha256

CONFIG, VERSION, MODEL = "config.pbtxt", "1", "model.onnx"
OPEN_SIDE = 64  # tried where nothing says how large images will be


def make_repository(
    path: str | os.PathLike,
    out: str | os.PathLike,
    *,
    name: str | None = None,
    max_batch: int | None = None,
    preferred_batch_sizes: Sequence[int] = (),
    queue_delay: int = 100,
    instances: int = 1,
    device: str = "auto",
    accelerator: str = "none",
    force: bool = False,
) -> Path:
    """Puts an ONNX file into a model repository, and runs the copy in onnxruntime.

    Args:
        path: of the file; any ONNX file of one input with images.
        out: the repository, which may hold other models.
        name: of the model there; None takes the file's.
        max_batch: the largest batch that Triton may make; None for 32. Not for a file
            of a fixed batch, which Triton serves in requests of that very batch.
        preferred_batch_sizes: that Triton should strive for; NVIDIA advises to name
            some for TensorRT's profiles alone.
        queue_delay: microseconds that a request may wait for others to share a batch.
        instances: of the model, on each GPU or on the CPU.
        device: "auto" (GPUs if there are, else the CPU), "gpu" or "cpu".
        accelerator: of onnxruntime in Triton: "none"; "cuda" turns TF32 off;
            "tensorrt", with one profile for all batches; "openvino".
        force: replace a model of that name that this command made.

    Returns:
        The model's folder.

    Raises:
        InputError: the file or an argument cannot be used, or the folder cannot be
            written; nothing is left behind.
    """
    path = Path(path)
    proto = read(path)
    folder = Path(out) / _checked_name(path.stem if name is None else name)
    _refuse_foreign(folder)
    _refuse_numbers(max_batch, preferred_batch_sizes, queue_delay, instances)
    served = Served(path, proto, read_metadata(proto, path), max_batch)
    group = {"count": instances, "kind": Word(f"KIND_{device.upper()}")}
    batching = {
        "preferred_batch_size": list(preferred_batch_sizes),
        "max_queue_delay_microseconds": queue_delay,
    }
    config = {
        "name": folder.name,
        "backend": "onnxruntime",
        "default_model_filename": MODEL,
        **served.tensors(),
        "instance_group": group,
        **({"dynamic_batching": batching} if served.max_batch else {}),
        **served.optimization(accelerator),
        **served.warmup(),
    }
    with write_beside(folder, force) as part:
        (part / VERSION).mkdir(parents=True)
        (part / CONFIG).write_text("".join(text(config)))
        if served.labels:
            (part / LABELS).write_text("".join(f"{one}\n" for one in served.labels))
        _copy(path, beside(proto), part / VERSION)
        _try(part / VERSION / MODEL, served)
    return folder


def _copy(path: Path, data: list[str], folder: Path) -> None:
    """Copies a file and its data, and makes sure of the bytes."""
    if MODEL in data:
        raise InputError(f"{path}: its data is called {MODEL}, as Triton calls models.")
    for source, name in ((path, MODEL), *((path.parent / one, one) for one in data)):
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


def _refuse_foreign(folder: Path) -> None:
    """Spares what this command did not write, --force or not."""
    if folder.is_dir():
        foreign = {one.name for one in folder.iterdir()} - {CONFIG, LABELS, VERSION}
        if foreign:
            raise InputError(
                f"{folder} holds {min(foreign)}, which this command did not write: "
                "choose another name."
            )


def _refuse_numbers(max_batch, preferred, queue_delay, instances) -> None:
    largest = MAX_BATCH if max_batch is None else max_batch
    if min(largest, instances) < 1 or queue_delay < 0:
        raise InputError(
            f"max_batch={max_batch}, instances={instances}, queue_delay={queue_delay}: "
            "numbers from 1, and from 0 for the delay, are accepted."
        )
    if preferred and not 1 <= min(preferred) <= max(preferred) <= largest:
        raise InputError(
            f"preferred_batch_sizes={' '.join(map(str, preferred))}: numbers from 1 to "
            f"max_batch={largest} are accepted."
        )


@dataclass(frozen=True, kw_only=True)
class TritonFlags:
    """Puts an ONNX file into a model repository of Triton Inference Server."""

    file: Positional[Path]
    """An .onnx file."""
    out: Path
    """The repository; the model becomes a folder in it."""
    name: str | None = None
    """Of the model. Default: the file's."""
    max_batch: int | None = None
    """The largest batch that Triton may make; 32 for a file of any batch."""
    preferred_batch_sizes: tuple[int, ...] = ()
    """That Triton should strive for; of use with TensorRT's profiles."""
    queue_delay: int = 100
    """Microseconds that a request may wait for others to share a batch."""
    instances: int = 1
    """Of the model, on each GPU or on the CPU."""
    device: Literal["auto", "gpu", "cpu"] = "auto"
    """Where the instances run; auto takes GPUs if there are."""
    accelerator: Literal["none", "cuda", "tensorrt", "openvino"] = "none"
    """Of onnxruntime in Triton. cuda: without TF32."""
    force: bool = False
    """Replace the model's folder."""


def main(args: Sequence[str] | None = None) -> None:
    flags = vars(parse(TritonFlags, args, prog="python -m export.triton"))
    folder = make_repository(flags.pop("file"), **flags)
    print(f"{folder}: runs in onnxruntime")


if __name__ == "__main__":
    run(main)
