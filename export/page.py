"""One self-contained HTML page from measured rows: charts, tables, conditions.

    python -m export.page results.jsonl --out page.html
    python -m export.page before.jsonl after.jsonl --out both.html

The page fetches nothing and runs no script. Whatever came from a file is escaped.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from export.charts import charts
from export.tables import COLD, REST, TIMES, all_remarks, cells, conditions, labels_of
from keras_resnet.command import parse, run
from keras_resnet.errors import InputError
from keras_resnet.files import refuse_existing, write_beside

Row = dict[str, Any]

NEEDED = ("n", "p50_ms", "p90_ms", "p99_ms", "contended")  # numbers of every row
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


@dataclass(frozen=True)
class Flags:
    """Writes a page of charts from the JSON lines of one or several measurements."""

    results: Positional[tuple[Path, ...]]
    """The .jsonl files; where there are several, each row is named after its file."""
    out: Path
    """The page, .html."""
    force: bool = False
    """Replace what is there."""


def write_page(rows: Sequence[Row], path: Path) -> None:
    """Writes the page.

    Args:
        rows: as `read_rows` gives them: of `export.measure`, each with its `machine`.
        path: where to.
    """
    title = "Latency of " + ", ".join(_subjects(rows))
    parts = [f"<h1>{_text(title)}</h1>"]
    for name, svg in charts(rows).items():
        parts.append(f"<h2>{_text(name)}</h2>\n<figure>{svg}</figure>")
    parts.append(_remarks(rows))
    parts.append(_table("Times in numbers", rows, TIMES))
    parts.append(_table("Cold start, memory, energy, accuracy", rows, COLD | REST))
    parts.append(_conditions(rows))
    body = "\n".join(parts)
    path.write_text(
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n",
        encoding="utf-8",
        errors="replace",
    )


def _text(text: str) -> str:
    """Text for HTML, without what HTML cannot hold."""
    return escape("".join(c if c.isprintable() else " " for c in text))


def _subjects(rows: Sequence[Row]) -> list[str]:
    """What was measured: the first label's values, a few of them."""
    label = next((one for one in labels_of(rows) if one != "run"), "batch")
    found = list(dict.fromkeys(str(row.get(label)) for row in rows))
    return found if len(found) <= 4 else [*found[:3], f"{len(found) - 3} more"]


def _remarks(rows: Sequence[Row]) -> str:
    said = all_remarks(rows)
    if any(row.get("samples_ms") for row in rows):
        said.append(
            "in the distributions a solid line holds the calls while no other process "
            "was busy, a dotted one all calls"
        )
    items = "".join(f"<li>{_text(one)}</li>" for one in said)
    return f"<h2>Remarks</h2>\n<ul>{items}</ul>"


def _table(title: str, rows: Sequence[Row], columns) -> str:
    headings, lines = cells(rows, columns)
    left = len(labels_of(rows))
    if len(headings) == left:
        return ""

    def line(texts: Sequence[str], tag: str) -> str:
        kinds = [' class="name"' if i < left else "" for i in range(len(texts))]
        inside = (
            f"<{tag}{kind}>{_text(text)}</{tag}>"
            for kind, text in zip(kinds, texts, strict=True)
        )
        return f"<tr>{''.join(inside)}</tr>"

    return (
        f'<h2>{_text(title)}</h2>\n<div class="wide"><table>{line(headings, "th")}\n'
        + "\n".join(line(one, "td") for one in lines)
        + "\n</table></div>"
    )


def _conditions(rows: Sequence[Row]) -> str:
    """Each machine's record once, headed by the runs it was."""
    machines: dict[str, list[Row]] = {}
    for row in rows:
        machines.setdefault(json.dumps(row["machine"]), []).append(row)
    parts = ["<h2>Conditions</h2>"]
    for some in machines.values():
        if len(machines) > 1:
            parts.append(f"<h3>{_text(str(some[0].get('run', '')))}</h3>")
        items = (
            f"<dt>{_text(name)}</dt><dd>{_text(text)}</dd>"
            for name, text in conditions(some[0]["machine"])
        )
        parts.append(f"<dl>{''.join(items)}</dl>")
    return "\n".join(parts)


def read_rows(paths: Sequence[Path]) -> list[Row]:
    """The rows of result files; with `run`, the file's name, where there are several.

    Raises:
        InputError: a file cannot be read, or a line is no row of a measurement.
    """
    rows = []
    stems = [path.stem for path in paths]
    runs = stems if len({*stems}) == len(paths) else [str(path) for path in paths]
    for path, name in zip(paths, runs, strict=True):
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
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path} line {number} is not JSON: {error}.") from error
    good = (
        isinstance(row, dict)
        and isinstance(row.get("machine"), dict)
        and next(iter(row)) not in ("n", "batch")
        and all(_positive(row.get(name)) or name == "contended" for name in NEEDED)
        and isinstance(row.get("contended"), int)
        and isinstance(row.get("uncertain"), list)
        and (row.get("batch") is None or _positive(row["batch"]))
        and "batch" in row
        and _fitting_samples(row)
    )
    if not good:
        raise InputError(
            f"{path} line {number} is no row of a measurement: labels, batch and then "
            f"the numbers {', '.join(NEEDED)} are needed, and machine."
        )
    return row


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


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
    flags = parse(Flags, args)
    refuse_existing(flags.out, flags.force)
    rows = read_rows(flags.results)
    with write_beside(flags.out, flags.force) as part:
        write_page(rows, part)
    print(f"wrote {flags.out}")


if __name__ == "__main__":
    run(main)
