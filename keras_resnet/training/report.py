"""What a run says about itself: `log.csv`, `report.json` and `curves.png`."""

import csv
import json
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from keras_resnet.common.files import write_beside

if TYPE_CHECKING:
    from keras_resnet.training.checkpoints import State

LOG, CURVES = "log.csv", "curves.png"
COLUMNS = ("epoch", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy")


def write_json(path: Path, record: dict) -> None:
    """Writes `record` to `path`, whole or not at all."""
    with write_beside(path, force=True) as part:
        part.write_text(json.dumps(record, indent=2) + "\n")


def write_log(path: Path, state: "State") -> None:
    """The history as CSV, whole or not at all. The same run gives the same bytes."""
    with write_beside(path, force=True) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(state.history)


def results(state: "State") -> dict:
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


def draw_curves(path: Path, state: "State", title: str) -> None:
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
