"""Measured rows as one self-contained HTML page: charts, tables, conditions.

The page fetches nothing and runs no script. Whatever came from a file is escaped.
"""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from export.benchmark.charts import charts
from export.benchmark.tables import (
    COLD,
    REST,
    TIMES,
    all_remarks,
    cells,
    conditions,
    labels_of,
)
from keras_resnet.common.errors import printable

Row = dict[str, Any]

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


def write_page(rows: Sequence[Row], path: Path) -> None:
    """Writes the page.

    Args:
        rows: as `read_rows` gives them: of `measure`, each with its `machine`.
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
    return escape(printable(text, replacement=" "))


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
