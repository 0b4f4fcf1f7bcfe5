"""Writes measured rows as JSON lines, CSV, Markdown, an image and a page."""

import csv
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.benchmark.latency_chart import draw
from export.benchmark.page import write_page
from export.benchmark.tables import markdown
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import refuse_existing, write_beside

KINDS = ("jsonl", "csv", "md", "png", "html")


def refuse_results(base: str | os.PathLike, force: bool = False) -> None:
    """Raises what `write_results` would: called before the measuring, which is long.

    Raises:
        InputError: one of the files exists and `force` is off, or there can be none.
    """
    for path in _paths(base):
        refuse_existing(path, force)
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"out={base}: {folder} is not a folder that can be written to."
        ) from error


def write_results(
    rows: Sequence[dict[str, Any]],
    base: str | os.PathLike,
    machine: dict[str, Any],
    force: bool = False,
) -> list[Path]:
    """Writes `base`.jsonl, .csv, .md, .png and .html, each whole or not at all.

    Args:
        rows: as `export.benchmark.measure.measure` returns them.
        base: path without the suffix.
        machine: of `keras_resnet.common.fingerprint`; it stands in every row.
        force: replace what is there.

    Returns:
        The paths.
    """
    lines, table, text, image, page = _paths(base)
    complete = [{**row, "machine": machine} for row in rows]
    with write_beside(lines, force) as part:
        part.write_text("".join(json.dumps(row) + "\n" for row in complete))
    with write_beside(table, force) as part:
        _write_csv([_flat(row) for row in complete], part)
    with write_beside(text, force) as part:
        part.write_text(markdown(rows, machine), encoding="utf-8")
    threads = machine["usable_cores"] or machine["logical_cores"]
    hardware = "; ".join([f"{machine['cpu']}, {threads} cores", *machine["gpus"]])
    with write_beside(image, force) as part:
        draw(rows, part, f"{hardware}; {machine['time']}")
    with write_beside(page, force) as part:
        write_page(complete, part)
    return [lines, table, text, image, page]


def _paths(base: str | os.PathLike) -> list[Path]:
    return [Path(f"{os.fspath(base)}.{kind}") for kind in KINDS]


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """The machine's values as columns; what is deeper stays with the JSON lines."""
    apart = ("machine", "samples_ms")
    merged = {**{k: v for k, v in row.items() if k not in apart}, **row["machine"]}
    return {
        name: " ".join(map(str, value)) if isinstance(value, list) else value
        for name, value in merged.items()
        if not isinstance(value, dict)
    }


def _write_csv(rows: Sequence[dict[str, Any]], path: Path) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
