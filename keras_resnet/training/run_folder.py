"""The folder of a run: its files, when it may be written to, and what it reports."""

import csv
import json
import reprlib
import shutil
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_resnet.common.errors import InputError
from keras_resnet.common.files import write_beside

if TYPE_CHECKING:
    from keras_resnet.training.pipeline import Data

RECORD, SAMPLES = "recipe.json", "validation.npz"  # written when a run begins
BEST, LAST, LOG = "best.keras", "last.keras", "log.csv"  # after each epoch
CURVES, REPORT = "curves.png", "report.json"  # when it has finished
# Of the record.
KEYS = ("model", "architecture", "data", "recipe", "xla", "precision", "images")
COLUMNS = ("epoch", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy")
# Validation images that an export is compared on: all that fit into 8 MiB (the whole
# of Fashion-MNIST's and CIFAR-10's order of size), and 64 of larger ones.
SAMPLE_BYTES, SAMPLE_COUNT = 2**23, 64


@dataclass
class State:
    """All of a run that is not in the model or its optimizer.

    Attributes:
        epoch: finished epochs.
        best_epoch: the one with the highest validation accuracy, the earliest of
            several; 0 before the first.
        best_accuracy: its validation accuracy, in 0..1.
        history: one row an epoch: what the log holds.
        timing: one row an epoch: seconds, and training images a second.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_accuracy: float = -1.0
    history: list[dict] = field(default_factory=list)
    timing: list[dict] = field(default_factory=list)


def is_begun(out: Path, resume: bool) -> bool:
    """Whether there is a folder to go on in; False where a new run may begin.

    Raises:
        InputError: `out` exists and `resume` is off.
    """
    if out.exists() and not resume:
        raise InputError(
            f"{out} exists already: add --resume to go on with its run, or choose "
            "another --out."
        )
    return out.exists()


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
    for name in (BEST, LAST):
        for folder in out.glob(f".{name}.*"):
            shutil.rmtree(folder, ignore_errors=True)


def require_same(out: Path, asked: dict) -> None:
    """Refuses to go on with other settings than the run in `out` began with.

    Raises:
        InputError: naming each setting that differs, with both values; or `out`
            holds no run.
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


def write_json(path: Path, record: dict) -> None:
    """Writes `record` to `path`, whole or not at all."""
    with write_beside(path, force=True) as part:
        part.write_text(json.dumps(record, indent=2) + "\n")


def write_log(path: Path, state: State) -> None:
    """The history as CSV, whole or not at all. The same run gives the same bytes."""
    with write_beside(path, force=True) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(state.history)


def results(state: State) -> dict:
    """What came out, and how fast; times include what ran before a resumption."""
    speeds = [row["images_per_second"] for row in state.timing]
    speeds = [speed for speed in speeds if speed]
    return {
        "epochs": state.epoch,
        "best_epoch": state.best_epoch,
        "best_val_accuracy": state.best_accuracy,
        "last": state.history[-1],
        "training_images_per_second": median(speeds) if speeds else None,
        "wall_seconds": sum(row["seconds"] for row in state.timing),
    }


def draw_curves(path: Path, state: State, title: str) -> None:
    """Loss and accuracy over the epochs, as a PNG; the best epoch is marked."""
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in state.history]
    figure = Figure(figsize=(10, 4), dpi=120, layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(1, 2)
    for axes, name, scale in zip(panels, ("loss", "accuracy"), (1, 100), strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            values = [row[key] * scale for row in state.history]
            axes.plot(epochs, values, label=label, marker=".", markersize=4)
        axes.axvline(state.best_epoch, color="0.7", linestyle=":", zorder=0)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("cross entropy")
    panels[0].set_yscale("log")
    panels[0].legend(frameon=False)
    panels[1].set_ylabel("accuracy (%)")
    panels[1].set_title(
        f"best: {state.best_accuracy:.2%} in epoch {state.best_epoch}", fontsize=10
    )
    with write_beside(path, force=True) as part:
        figure.savefig(part)
