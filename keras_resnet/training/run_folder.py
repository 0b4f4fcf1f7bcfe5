"""The folder of a run: its names, its record, and when it may be written to."""

import json
import reprlib
import shutil
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_resnet.common.errors import InputError
from keras_resnet.common.files import write_beside
from keras_resnet.training.report import write_json

if TYPE_CHECKING:
    from keras_resnet.training.pipeline import Data

RECORD, SAMPLES, REPORT = "recipe.json", "validation.npz", "report.json"
KEYS = (  # of the record
    "model",
    "architecture",
    "data",
    "recipe",
    "xla",
    "precision",
    "images",
)
# Validation images that an export is proved on: all that fit into 8 MiB (the whole
# of Fashion-MNIST's and CIFAR-10's order of size), and 64 of larger ones.
SAMPLE_BYTES, SAMPLE_COUNT = 2**23, 64


def is_begun(out: Path, resume: bool) -> bool:
    """Whether `out` holds a run to go on with; False where a new one may begin.

    Raises:
        InputError: `out` exists and `resume` is off, or it holds no run.
    """
    if not out.exists():
        return False
    if not resume:
        raise InputError(
            f"{out} exists already: add --resume to go on with its run, or choose "
            "another --out."
        )
    read_record(out)
    return True


def is_finished(out: Path) -> bool:
    """Whether the run in `out` has nothing left to do. The report is written last."""
    return (out / REPORT).exists()


def read_record(out: Path) -> dict:
    """What the run in `out` was begun with.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    path = out / RECORD
    if not path.is_file():
        raise InputError(f"{out} holds no run to resume: it has no {RECORD}.")
    try:
        record = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}).") from error
    if not isinstance(record, dict):
        raise InputError(f"{path} holds {record!r}: a JSON object is needed.")
    if missing := {*KEYS} - {*record}:
        raise InputError(f"{path} records no {', '.join(sorted(missing))}.")
    return record


def begin(out: Path, record: dict, data: "Data") -> None:
    """Makes the folder, with the record and some validation images in it."""
    fitting = SAMPLE_BYTES // prod(data.input_shape)
    images, labels = data.sample(max(SAMPLE_COUNT, fitting))
    with write_beside(out) as part:
        part.mkdir()
        write_json(part / RECORD, record)
        np.savez_compressed(part / SAMPLES, images=images, labels=labels)


def remove_leftovers(out: Path) -> None:
    """Removes what a process that was killed while it saved has left behind."""
    for pattern in (".best.keras.*", ".last.keras.*"):
        for folder in out.glob(pattern):
            shutil.rmtree(folder, ignore_errors=True)


def require_same(out: Path, asked: dict) -> None:
    """Refuses to go on with other settings than the run in `out` began with.

    Raises:
        InputError: naming each setting that differs, with both values.
    """
    recorded = _flat(read_record(out))
    asked = _flat(json.loads(json.dumps(asked)))  # tuples become lists, as recorded
    differences = [
        f"{key} is {reprlib.repr(recorded.get(key))}, not {reprlib.repr(value)}"
        for key, value in asked.items()
        if recorded.get(key) != value
    ]
    if differences:
        raise InputError(
            f"the run in {out} cannot go on with other settings: its "
            f"{'; '.join(differences)}."
        )


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """The record with the fields of its inner dictionaries among its own."""
    flat = {}
    for key, value in record.items():
        inner = isinstance(value, dict) and key != "architecture"
        flat |= value if inner else {key: value}
    return flat
