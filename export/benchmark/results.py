"""The files of a measurement: written, read again, and converted.

`write_results` writes JSON lines with every sample, CSV, and one self-contained HTML
page of charts and tables, which fetches nothing and runs no script. `export.page`
makes a page of several measurements, Markdown or a PNG of the JSON lines. Whatever
comes from a file is checked and escaped.
"""

import csv
import io
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.benchmark.tables import (
    COLD,
    TIMES,
    Row,
    Table,
    all_remarks,
    html_text,
    labels_of,
    markdown_text,
    names_of_files,
    number,
)
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import refuse_existing, write_beside

KINDS = ("jsonl", "csv", "html")  # that every measurement writes
NEEDED = ("n", "p50_ms", "p90_ms", "p99_ms")  # numbers of every row
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto;
  padding: 0 1rem; color: light-dark(#1b1f24, #e6e6e6);
  background: light-dark(#fff, #16181c); }
svg { width: 100%; height: auto; font-family: system-ui, sans-serif; }
svg text { font-family: inherit !important; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px;
  font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid light-dark(#d8dce0, #3a3f46); }
.name { text-align: left; }
dt { font-weight: 600; } dd { margin: 0 0 .3rem; overflow-wrap: anywhere; }
"""


def refuse_results(base: str | os.PathLike, force: bool = False) -> None:
    """Raises what `write_results` would: called before the measuring, which is long.

    Raises:
        InputError: one of the files exists and `force` is off, or there can be none.
    """
    for kind in KINDS:
        refuse_existing(f"{os.fspath(base)}.{kind}", force)
    folder = Path(base).parent
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
    rows: Sequence[Row],
    base: str | os.PathLike,
    machine: dict[str, Any],
    force: bool = False,
) -> None:
    """Writes `base`.jsonl, .csv and .html, each whole or not at all, and says so.

    Args:
        rows: as `export.benchmark.measure.measure` returns them.
        base: path without the suffix.
        machine: of `keras_resnet.common.fingerprint`; it stands in every row.
        force: replace what is there.
    """
    complete = [{**row, "machine": machine} for row in rows]
    for kind in KINDS:
        write_rows(complete, f"{os.fspath(base)}.{kind}", force)


def write_rows(
    rows: Sequence[Row], path: str | os.PathLike, force: bool = False
) -> None:
    """Writes rows, each with its `machine`, in the form that the suffix names."""
    form = FORMS.get(Path(path).suffix)
    if form is None:
        raise InputError(f"{path}: the suffixes {', '.join(FORMS)} are accepted.")
    content = form(rows)
    if isinstance(content, str):
        content = content.encode(errors="replace")
    with write_beside(path, force) as part:
        part.write_bytes(content)
    print(f"wrote {path}")


def read_rows(paths: Sequence[Path]) -> list[Row]:
    """The rows of .jsonl files; with `run`, the file's name, where there are several.

    Raises:
        InputError: a file cannot be read, or a line is no row of a measurement.
    """
    rows = []
    for path, name in zip(paths, names_of_files(paths), strict=True):
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read: {error}.") from error
        run = {"run": name} if len(paths) > 1 else {}
        for i, line in enumerate(lines, 1):
            if line.strip():
                row = _parse_row(line, f"{path} line {i}")
                rows.append({**run, **row, **run})  # in front, where the labels stand
    if not rows:
        raise InputError("results: there is not one row in the files.")
    return rows


def _parse_row(line: str, source: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source} is not JSON: {error}.") from error
    valid = (
        isinstance(row, dict)
        and isinstance(row.get("machine"), dict)
        and next(iter(row)) not in ("n", "batch")
        and all(_positive(row.get(name)) for name in NEEDED)
        and isinstance(row.get("contended"), int)
        and 0 <= row["contended"] <= row["n"]
        and isinstance(row.get("uncertain"), list)
        and "batch" in row
        and (row["batch"] is None or _positive(row["batch"]))
        and (row.get("samples_ms") is None or _samples_fit(row))
    )
    if not valid:
        raise InputError(
            f"{source} is no row of a measurement: labels, batch and then the numbers "
            f"{', '.join(NEEDED)} and contended are needed, and machine."
        )
    return row


def _positive(value: Any) -> bool:
    return (number(value) or 0) > 0


def _samples_fit(row: Row) -> bool:
    samples, contended = row["samples_ms"], row.get("contended_rounds")
    return (
        isinstance(samples, list)
        and isinstance(contended, list)
        and len(samples) == len(contended)
        and all(isinstance(block, list) and block for block in samples)
        and all(_positive(sample) for block in samples for sample in block)
    )


def json_lines(rows: Sequence[Row]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def csv_table(rows: Sequence[Row]) -> str:
    """The machine's values are columns; what is deeper stays with the JSON lines."""
    lines = []
    for row in rows:
        values = {k: v for k, v in row.items() if k not in ("machine", "samples_ms")}
        merged = {**values, **row["machine"]}
        flat = {k: v for k, v in merged.items() if not isinstance(v, dict)}
        lines.append({name: _joined(value, " ") for name, value in flat.items()})
    text = io.StringIO()
    columns = dict.fromkeys(name for line in lines for name in line)
    writer = csv.DictWriter(text, list(columns))
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def markdown(rows: Sequence[Row]) -> str:
    """A table ready to paste, with its remarks and conditions."""
    remarks = [f"- {markdown_text(remark)}" for remark in all_remarks(rows)]
    lines = [Table.of(rows, TIMES | COLD).as_markdown(), "", *remarks, ""]
    for heading, conditions in _conditions(rows):
        lines += [markdown_text(heading) + ":", ""]
        lines += [f"- {markdown_text(f'{k}: {v}')}" for k, v in conditions]
    return "\n".join([*lines, ""])


def html_page(rows: Sequence[Row]) -> str:
    """Charts, remarks, tables and the conditions of the measurement."""
    from export.benchmark.charts import charts

    subject = next((name for name in labels_of(rows) if name != "run"), "batch")
    subjects = list(dict.fromkeys(str(row.get(subject)) for row in rows))
    if len(subjects) > 4:
        subjects = [*subjects[:3], f"{len(subjects) - 3} more"]
    title = html_text(f"Latency of {', '.join(subjects)}")
    parts = [f"<h1>{title}</h1>"]
    for name, svg in charts(rows).items():
        parts.append(f"<h2>{html_text(name)}</h2>\n<figure>{svg}</figure>")
    remarks = all_remarks(rows)
    if any(row.get("samples_ms") for row in rows):
        remarks.append(
            "in the distributions a solid line holds the calls while no other process "
            "was busy, a dotted one all calls"
        )
    items = "".join(f"<li>{html_text(remark)}</li>" for remark in remarks)
    parts.append(f"<h2>Remarks</h2>\n<ul>{items}</ul>")
    for name, columns in (
        ("Times in numbers", TIMES),
        ("Cold start, memory, energy, accuracy", COLD),
    ):
        table = Table.of(rows, columns)
        if table.has_numbers:
            parts.append(f'<h2>{name}</h2>\n<div class="wide">{table.as_html()}</div>')
    for heading, conditions in _conditions(rows):
        items = "".join(
            f"<dt>{html_text(name)}</dt><dd>{html_text(str(text))}</dd>"
            for name, text in conditions
        )
        parts.append(f"<h2>{html_text(heading)}</h2>\n<dl>{items}</dl>")
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _conditions(rows: Sequence[Row]) -> list[tuple[str, list[tuple[str, Any]]]]:
    """Each machine's record once, under a heading; what is not known is left out."""
    machines: dict[str, Row] = {}
    for row in rows:
        machines.setdefault(json.dumps(row["machine"]), row)
    sections = []
    for row in machines.values():
        run = f" of {row.get('run', '')}" if len(machines) > 1 else ""
        texts = [
            (name.replace("_", " "), _joined(value, ", "))
            for name, value in row["machine"].items()
            if value not in (None, "", [])
        ]
        sections.append((f"Conditions{run}", texts))
    return sections


def _joined(value: Any, between: str) -> Any:
    """A list as one text; anything else as it is."""
    return between.join(map(str, value)) if isinstance(value, list) else value


def png(rows: Sequence[Row]) -> bytes:
    """An image of the times, headed by the machine."""
    from export.benchmark.charts import draw_png

    machine = rows[0]["machine"]
    cores = machine.get("usable_cores") or machine.get("logical_cores")
    words = [f"{machine.get('cpu')}, {cores} cores", _joined(machine.get("gpus"), "; ")]
    title = "; ".join(str(word) for word in [*words, machine.get("time")] if word)
    return draw_png(rows, title)


FORMS = {
    ".jsonl": json_lines,
    ".csv": csv_table,
    ".html": html_page,
    ".md": markdown,
    ".png": png,
}
