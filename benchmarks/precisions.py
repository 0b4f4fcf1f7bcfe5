"""One trained network in every precision: test accuracy, difference and size.

    python benchmarks/precisions.py runs/fashion --data fashion_mnist

Exports the run's best.keras once a precision, each file calibrated on training
images and proven as `export.onnx` does it, and counts what every file gets right on
all validation images: in onnxruntime's CPU provider, and the float32 file in the
OpenVINO provider in bfloat16 besides. Needs the extra `openvino` for that last row.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
from tyro.conf import Positional

from export.parity.compare import snr_db, top1_agreement
from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import refuse_existing, write_beside
from keras_resnet.common.fingerprint import fingerprint
from keras_resnet.common.progress import Progress

# Each row: the file's precision, the provider, the precision that it computes in.
ROWS = (
    ("float32", "cpu", None),
    ("float16", "cpu", None),
    ("int8", "cpu", None),
    ("int8-tensorrt", "cpu", None),
    ("int8-weights", "cpu", None),
    ("float32", "openvino", "bfloat16"),
)
BATCH = 100


@dataclass(frozen=True)
class Flags:
    """Measures the accuracy of a trained network in every precision."""

    run: Positional[Path]
    """A run folder (its best.keras) or a .keras file."""
    data: str = "fashion_mnist"
    """What it was trained on; calibration takes training images."""
    data_dir: Path | None = None
    """Folder of prepared TFDS data sets."""
    max_drop: float = 0.5
    """Points of top-1 that a file may lose."""
    out: Path = Path("benchmarks/results/precisions")
    """Path without suffix of the .jsonl and .md."""
    force: bool = False
    """Replace existing results."""


def main(args: Sequence[str] | None = None) -> None:
    flags = parse(Flags, args)
    lines, table = [Path(f"{flags.out}{kind}") for kind in (".jsonl", ".md")]
    for path in (lines, table):
        refuse_existing(path, flags.force)
    with tempfile.TemporaryDirectory() as folder:
        rows = _measure(flags, Path(folder))
    machine = fingerprint()
    with write_beside(lines, flags.force) as part:
        written = [json.dumps({**row, "machine": machine}) for row in rows]
        part.write_text("\n".join(written) + "\n")
    with write_beside(table, flags.force) as part:
        part.write_text("\n".join(markdown(rows)) + "\n")
    print(table.read_text(), end="")


def _measure(flags: Flags, folder: Path) -> list[dict]:
    from export.onnx import main as export
    from export.runtime import Session

    files = {}
    for precision in dict.fromkeys(row[0] for row in ROWS):
        files[precision] = folder / f"{precision}.onnx"
        words = [str(flags.run), "--out", str(files[precision]), "--output", "logits"]
        words += ["--precision", precision]
        if precision != "float32":
            words += ["--validate", flags.data, "--max-drop", str(flags.max_drop)]
            words += ["--data-dir", str(flags.data_dir)] if flags.data_dir else []
        if precision in ("int8", "int8-tensorrt"):
            words += ["--calibrate", flags.data]
        export(words)
    rows, expected = [], None
    for precision, provider, computed in ROWS:
        session = Session(files[precision], provider, precision=computed)
        logits, labels = _answers(session, flags)
        expected = logits if expected is None else expected
        rows.append(
            {
                "file": precision,
                "provider": provider,
                "computed_in": session.ran["precision"],
                "top1": round(100 * float((logits.argmax(-1) == labels).mean()), 2),
                **_difference(logits, expected),
                "images": len(labels),
                "bytes": files[precision].stat().st_size,
                "metadata": session.metadata,
            }
        )
    for row in rows:
        row["drop_points"] = round(rows[0]["top1"] - row["top1"], 2)
    return rows


def _answers(session, flags: Flags) -> tuple[np.ndarray, np.ndarray]:
    """Logits of all validation images, and the classes that they are of."""
    logits, labels = [], []
    for images, classes in Progress(_batches(session, flags), leave=False):
        logits.append(session.run(images))
        labels.append(classes)
    return np.concatenate(logits), np.concatenate(labels)


def _batches(session, flags: Flags) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images as the run's own evaluation prepares them, in batches."""
    from keras_resnet.training import data

    height, width = session.input_shape[1:3]
    if height != width:
        raise InputError(f"run={flags.run}: {height}x{width}; a square is needed.")
    loaded = data.load(flags.data, image_size=height, data_dir=flags.data_dir)
    for images, labels in loaded.validation(batch_size=BATCH):
        yield images.numpy(), labels.numpy()


def _difference(logits: np.ndarray, expected: np.ndarray) -> dict:
    snr = snr_db(expected, logits)
    return {
        "agreement": round(100 * top1_agreement(expected, logits), 2),
        "snr_db": round(snr, 1) if isfinite(snr) else None,
    }


def markdown(rows: Sequence[dict]) -> list[str]:
    """The rows as a table for a README."""
    lines = [
        "| File | Computed by | Top-1 | Drop | Same class as float32 | SNR, dB | kB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['file']} | {row['provider']}, {row['computed_in']} | "
            f"{row['top1']:.2f}% | {row['drop_points']:.2f} | "
            f"{row['agreement']:.2f}% | "
            f"{'-' if row['snr_db'] is None else row['snr_db']} | "
            f"{row['bytes'] / 1e3:.0f} |"
        )
    return lines


if __name__ == "__main__":
    run(main)
