"""Runs this package against all golden answers and writes parity_log.csv.

    python tests/golden/check_parity.py            # all: 45 minutes on 2 cores
    python tests/golden/check_parity.py resnet18   # these models' lines alone

Needs Keras and a backend alone. A line a model, its settings and its reference:
the largest difference of any logit from the reference's, over the standard deviation
of the logits, and whether the trainable parameters agree.
"""

import csv
import gc
import os
import sys
from importlib.metadata import version
from math import prod
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # as pytest has it
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from golden import ours

from keras_resnet.common.progress import Progress

LOG = Path(__file__).with_name("parity_log.csv")
FIELDS = ("model", "settings", "sizes", "difference", "parameters", "reference", "with")
COUNTS = {row["model"]: row["parameters"] for row in ours.read("counts.json")}


def check(label: str, rows: list[dict]) -> list[dict]:
    """The log's lines of one model, one for each reference."""
    model = ours.model_of(rows[0])
    by_source = {}
    for row in rows:
        by_source.setdefault(row["source"], []).append(row)
    backend = keras.backend.backend()
    return [
        {
            "model": rows[0]["model"],
            "settings": label.partition(" ")[2],
            "sizes": " ".join("x".join(map(str, row["size"])) for row in some),
            "difference": f"{max(ours.difference(model, row) for row in some):.1e}",
            "parameters": _parameters_agree(model, rows[0]),
            "reference": source,
            "with": f"keras {keras.__version__}, {backend} {version(backend)}",
        }
        for source, some in by_source.items()
    ]


def _parameters_agree(model, row):
    """Whether the table's network has as many; nothing where settings change it."""
    if row["settings"] or row["model"] not in COUNTS:
        return ""
    trainable = sum(prod(one.shape) for one in model.trainable_variables)
    classifier = model.layers[-1]
    more = ours.architecture(row["model"]).classes - ours.CLASSES
    trainable += more * (classifier.kernel.shape[0] + 1)
    return "yes" if trainable == COUNTS[row["model"]] else "no"


def main() -> None:
    wanted = sys.argv[1:]
    groups = ours.cases()
    table = _read(groups)
    chosen = [
        one for one in groups.items() if one[1][0]["model"] in wanted or not wanted
    ]
    with Progress(chosen, unit="model") as progress:
        for label, rows in progress:
            progress.set_description(label)
            table |= {_key(line): line for line in check(label, rows)}
            _write(table.values())
            keras.backend.clear_session()
            gc.collect()


def _read(groups):
    """The lines of the last run whose questions are still asked."""
    if not LOG.exists():
        return {}
    with LOG.open(newline="") as file:
        return {
            _key(line): line
            for line in csv.DictReader(file)
            if f"{line['model']} {line['settings']}".strip() in groups
        }


def _key(line):
    return line["model"], line["settings"], line["reference"].split()[0]


def _write(lines):
    with LOG.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(lines, key=_key))


if __name__ == "__main__":
    main()
