"""Writes docs/architectures.md: every network with its figures, from what is measured.

    python benchmarks/architectures.py

Parameters and multiply-adds come from `keras_resnet.complexity`, weights from the
registry, the parity figure from tests/golden/parity_log.csv. Takes seconds.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from keras_resnet.architectures import (
    Architecture,
    other_families,
    resnet,
    resnetv2,
    timm_resnet,
)
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import write_beside
from keras_resnet.complexity import count
from keras_resnet.weights.registry import find, list_weights

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architectures.md"
PARITY = ROOT / "tests" / "golden" / "parity_log.csv"
FAMILIES = {
    "He et al.: ImageNet, CIFAR and plain nets": resnet,
    "Variants in the original order": timm_resnet,
    "Pre-activation, and keras.applications' own six": resnetv2,
    "Families with blocks of their own": other_families,
}
HEAD = """# Architectures

Made by `python benchmarks/architectures.py`; a test keeps it true. {count} networks.

- **Parameters** are those that training changes, with the source's number of
  classes; **multiply-adds** those of the 2-D convolutions and the classifier for one
  square image of the **input** side. `keras_resnet.complexity` counts both; they
  equal the reference's (`tests/golden/counts.json`) and the built Keras model's.
- **Weights**: how many published sets `keras_resnet.list_weights` knows, and what
  `weights="imagenet"` stands for with its published ImageNet top-1 accuracy: the best
  one whose licence allows commercial use.
- **Parity**: the largest difference of any logit from the reference implementation's,
  over the standard deviation of the logits, in float32, at an even and an odd size,
  under weights drawn from each tensor's name (`tests/golden/parity_log.csv`; at most
  1e-4 passes). The reference is timm, torchvision, keras.applications or keras-hub, or
  composed of their blocks. `plain1202` has no figure: at that depth without shortcuts
  torch's own float32 differs from its float64 by more than a tenth.
"""


def main() -> None:
    """Writes the page in place of the one that is there."""
    with write_beside(PAGE, force=True) as part:
        part.write_text(page())
    print(f"{PAGE.relative_to(ROOT)} is written")


def page() -> str:
    """The whole page."""
    parity = _parity()
    families = {title: list(module.rows()) for title, module in FAMILIES.items()}
    total = sum(map(len, families.values()))
    parts = [HEAD.format(count=total)]
    for title, rows in families.items():
        parts += [f"\n## {title}\n", *_table(rows, parity)]
    return "\n".join(parts) + "\n"


def _table(rows: list[Architecture], parity: dict[str, float]) -> Iterator[str]:
    yield "| Network | Parameters | Multiply-adds | Input | Weights | Parity |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        counted = count(row)
        yield (
            f"| `{row.name}` | {counted.trainable:,} | {counted.multiply_adds:,} "
            f"| {row.input_size} | {_weights(row)} "
            f"| {parity.get(row.name, float('nan')):.1e} |".replace("nan", "")
        )


def _weights(row: Architecture) -> str:
    names = list_weights(row.name)
    if not names:
        return ""
    try:
        best = find(row.name, "imagenet")
    except InputError:  # none that is free
        return f"{len(names)}"
    top1 = f" ({best.top1:.1f})" if best.top1 else ""
    return f"{len(names)}: `{best.tag}`{top1}"


def _parity() -> dict[str, float]:
    """The largest figure of each network, over its references, without settings."""
    largest = {}
    with PARITY.open() as file:
        for line in csv.DictReader(file):
            if not line["settings"]:
                before = largest.get(line["model"], 0.0)
                largest[line["model"]] = max(before, float(line["difference"]))
    return largest


if __name__ == "__main__":
    main()
