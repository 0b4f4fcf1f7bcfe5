"""A Triton Inference Server model repository around an ONNX file.

    python -m export.triton exported/resnet20.onnx --out models
    tritonserver --model-repository models

writes `models/resnet20/`: `config.pbtxt`, `labels.txt`, and a copy of the file as
`1/model.onnx`. The configuration was written from Triton's documentation and was not
tried on a server.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from tyro.conf import Positional

from export.graph.reading import beside, read, read_metadata
from export.triton_config import DEFAULT_MAX_BATCH, LABELS, Served, Word, text
from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import write_beside
from keras_resnet.common.fingerprint import sha256
from keras_resnet.common.numbers import check_choice, check_whole

CONFIG, VERSION, MODEL = "config.pbtxt", "1", "model.onnx"
OPEN_SIDE = 64  # tried where nothing says how large images will be


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
    _refuse_foreign(folder)
    largest = DEFAULT_MAX_BATCH if max_batch is None else max_batch
    check_whole("max_batch", largest)
    check_whole("instances", instances)
    check_choice("device", device, ("auto", "gpu", "cpu"))
    check_choice("accelerator", accelerator, ("none", "cuda", "tensorrt", "openvino"))
    check_whole("queue_delay", queue_delay, minimum=0)
    for size in preferred_batch_sizes:
        check_whole("preferred_batch_sizes", size, maximum=largest)
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
            (part / LABELS).write_text("".join(f"{name}\n" for name in served.labels))
        _copy(path, beside(proto), part / VERSION)
        _try(part / VERSION / MODEL, served)
    return folder


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


def _refuse_foreign(folder: Path) -> None:
    """Refuses to replace what this command did not write, with --force as well."""
    if folder.is_dir():
        foreign = {file.name for file in folder.iterdir()} - {CONFIG, LABELS, VERSION}
        if foreign:
            raise InputError(
                f"{folder} holds {min(foreign)}, which this command did not write: "
                "choose another name."
            )


def main(args: Sequence[str] | None = None) -> None:
    folder = parse(make_repository, args, prog="python -m export.triton")()
    print(f"{folder}: runs in onnxruntime")


if __name__ == "__main__":
    run(main)
