"""Results of measurements, one file or several, as one self-contained HTML page.

python -m export.page results.jsonl --out page.html
python -m export.page before.jsonl after.jsonl --out both.html
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from export.benchmark.page import Row, write_page
from export.benchmark.tables import MOST, names_of_files
from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import refuse_existing, write_beside

NEEDED = ("n", "p50_ms", "p90_ms", "p99_ms")  # numbers of every row


@dataclass(frozen=True)
class Flags:
    """Writes a page of charts from the JSON lines of one or several measurements."""

    results: Positional[tuple[Path, ...]]
    """The .jsonl files; where there are several, each row is named after its file."""
    out: Path
    """The page, .html."""
    force: bool = False
    """Replace what is there."""


def read_rows(paths: Sequence[Path]) -> list[Row]:
    """The rows of result files; with `run`, the file's name, where there are several.

    Raises:
        InputError: a file cannot be read, or a line is no row of a measurement.
    """
    rows = []
    for path, name in zip(paths, names_of_files(paths), strict=True):
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read: {error}.") from error
        found = [_row(path, i, line) for i, line in enumerate(lines, 1) if line.strip()]
        # In front, where the labels stand.
        first = {"run": name} if len(paths) > 1 else {}
        rows += [{**first, **row, **first} for row in found]
    if not rows:
        raise InputError("results: there is not one row in the files.")
    return rows


def _row(path: Path, number: int, line: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} line {number} is not JSON: {error}.") from error
    good = (
        isinstance(row, dict)
        and isinstance(row.get("machine"), dict)
        and next(iter(row)) not in ("n", "batch")
        and all(_positive(row.get(name)) for name in NEEDED)
        and isinstance(row.get("contended"), int)
        and 0 <= row["contended"] <= row["n"]
        and isinstance(row.get("uncertain"), list)
        and (row.get("batch") is None or _positive(row["batch"]))
        and "batch" in row
        and _fitting_samples(row)
    )
    if not good:
        raise InputError(
            f"{path} line {number} is no row of a measurement: labels, batch and then "
            f"the numbers {', '.join(NEEDED)} and contended are needed, and machine."
        )
    return row


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and 0 < value <= MOST


def _fitting_samples(row: Row) -> bool:
    samples, contended = row.get("samples_ms"), row.get("contended_rounds")
    if samples is None:
        return True
    return (
        isinstance(samples, list)
        and isinstance(contended, list)
        and len(samples) == len(contended)
        and all(isinstance(block, list) and block for block in samples)
        and all(_positive(one) for block in samples for one in block)
    )


def main(args: Sequence[str] | None = None) -> None:
    flags = parse(Flags, args, prog="python -m export.page")
    refuse_existing(flags.out, flags.force)
    rows = read_rows(flags.results)
    with write_beside(flags.out, flags.force) as part:
        write_page(rows, part)
    print(f"wrote {flags.out}")


if __name__ == "__main__":
    run(main)
