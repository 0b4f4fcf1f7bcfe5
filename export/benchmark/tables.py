"""Measured rows as tables, on a terminal, in Markdown and in HTML, with remarks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from export.benchmark.measure import CONTENDED, PERCENTILES, samples_for
from keras_resnet.common.errors import printable

Row = dict[str, Any]
LARGEST = 1e15  # no number that is measured or read from a file is larger


def number(value: Any) -> int | float | None:
    """The value, if it is a number that a measurement can have."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return value if known and abs(value) <= LARGEST else None


# Heading -> the number's name in a row, and its format. A column that is empty in all
# rows is left out.
Columns = dict[str, tuple[str, str]]
TIMES: Columns = {
    **{f"p{percentile} ms": (f"p{percentile}_ms", ".3f") for percentile in PERCENTILES},
    "n": ("n", ".0f"),
    "images/s": ("images_per_second", ".1f"),
    "contended": ("contended", ".0%"),
    "quiet p50 ms": ("quiet_p50_ms", ".3f"),
}
SPREAD: Columns = {
    f"{name} ms": (f"{name}_ms", ".3f") for name in ("mean", "std", "min", "max")
}
COLD: Columns = {  # and what else is not a time of a call
    "load ms": ("load_ms", ".1f"),
    "first run ms": ("first_run_ms", ".1f"),
    "memory MB": ("peak_rss_mb", ".1f"),
    "GPU memory MB": ("device_mb", ".0f"),
    "J/image": ("joules_per_image", ".4f"),
    "top-1": ("top1", ".2%"),
    "SNR dB": ("snr_db", ".1f"),
}


def _cell(row: Row, name: str, form: str) -> str:
    """Empty where the row has no such number; ? marks a percentile of too few calls."""
    value = number(row.get(name))
    if value is None:
        return ""
    if name == "contended":  # how many of the calls
        value /= row["n"]
    return f"{value:{form}}" + "?" * (name.removesuffix("_ms") in row["uncertain"])


@dataclass(frozen=True)
class Table:
    """Texts of cells.

    Attributes:
        headings: of the columns: first the labels, then the numbers.
        lines: each row's texts.
        labels: number of columns that are labels.
    """

    headings: list[str]
    lines: list[list[str]]
    labels: int

    @classmethod
    def of(cls, rows: Sequence[Row], columns: Columns) -> "Table":
        """The labels that tell the rows apart, and the columns that are not empty."""
        labels = labels_of(rows)
        cells = {
            heading: [_cell(row, name, form) for row in rows]
            for heading, (name, form) in columns.items()
        }
        cells = {heading: texts for heading, texts in cells.items() if any(texts)}
        lines = []
        for i, row in enumerate(rows):
            named = ["" if row.get(name) is None else str(row[name]) for name in labels]
            lines.append([*named, *(texts[i] for texts in cells.values())])
        return cls([*labels, *cells], lines, len(labels))

    @property
    def has_numbers(self) -> bool:
        return len(self.headings) > self.labels

    def as_text(self) -> str:
        """Labels to the left, but for the batch, and numbers to the right."""
        lines = [self.headings, *self.lines]
        left = self.labels - ("batch" in self.headings)
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = (
            "  ".join(
                text.ljust(width) if i < left else text.rjust(width)
                for i, (text, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        )
        return "\n".join(line.rstrip() for line in padded)

    def as_markdown(self) -> str:
        lines = [self.headings, *self.lines]
        texts = [f"| {' | '.join(map(markdown_text, line))} |" for line in lines]
        numbers = len(self.headings) - self.labels
        rule = ["---"] * self.labels + ["---:"] * numbers
        return "\n".join([texts[0], f"| {' | '.join(rule)} |", *texts[1:]])

    def as_html(self) -> str:
        name = ' class="name"'

        def line(texts: Sequence[str], tag: str) -> str:
            cells = [
                f"<{tag}{name * (i < self.labels)}>{html_text(text)}</{tag}>"
                for i, text in enumerate(texts)
            ]
            return f"<tr>{''.join(cells)}</tr>"

        lines = [
            line(self.headings, "th"),
            *(line(texts, "td") for texts in self.lines),
        ]
        return "<table>" + "\n".join(lines) + "\n</table>"


def labels_of(rows: Sequence[Row]) -> list[str]:
    """What tells one row from another: all that stands before `n`, `batch` last."""
    first = [name for row in rows for name in list(row)[: list(row).index("n")]]
    names = [name for name in dict.fromkeys(first) if name != "batch"]
    known = {name for row in rows for name in row if row[name] is not None}
    return [name for name in [*names, "batch"] if name in known]


def names_of_files(paths: Sequence[Path]) -> list[str]:
    """Their names without the suffix; the whole paths where two are alike."""
    stems = [path.stem for path in paths]
    return stems if len({*stems}) == len(stems) else [str(path) for path in paths]


def table(rows: Sequence[Row]) -> str:
    """The times as aligned text, with what is uncertain or contended said below."""
    return "\n".join([Table.of(rows, TIMES | SPREAD).as_text(), *remarks(rows)])


def cold_table(rows: Sequence[Row]) -> str:
    """Cold start, energy and accuracy as aligned text; "" where none is known."""
    cold = Table.of(rows, COLD)
    return cold.as_text() if cold.has_numbers else ""


def remarks(rows: Sequence[Row]) -> list[str]:
    """What is to be known of the times: units, too few calls, contention."""
    lines = ["milliseconds a call; images/s from the mean"]
    uncertain = [p for p in PERCENTILES if any(f"p{p}" in r["uncertain"] for r in rows)]
    if uncertain:
        wants = ", ".join(f"p{p} wants {samples_for(p)}" for p in uncertain)
        lines.append(f"warning: ? marks a percentile of too few calls: {wants}")
    contended = sum(row["contended"] for row in rows)
    if contended:
        lines.append(
            f"warning: {contended} of {sum(row['n'] for row in rows)} calls ran while "
            f"other processes had over {CONTENDED:.0%} of the processor"
        )
    return lines


def all_remarks(rows: Sequence[Row]) -> list[str]:
    """What is to be known of the numbers, those of cold starts and energy included."""
    lines = remarks(rows)
    starts = [row["cold_load_ms"] for row in rows if row.get("cold_load_ms")]
    if starts and isinstance(starts[0], list):
        lines.append(
            "load, first run (of the smallest batch) and memory: medians over "
            f"{len(starts[0])} fresh processes, the file in the page cache, imports "
            "left out; memory is the rise of the peak of resident memory up to the "
            "row's batch"
        )
    if any(row.get("top1") or row.get("snr_db") for row in rows):
        lines.append(
            "top-1 and SNR are what the exporter measured and wrote into the file; a "
            "row that computes in a lower precision than the file's has none"
        )
    if any(row.get("joules_per_image") for row in rows):
        lines.append("J/image: of all that the counters see, the idle machine included")
    if not all(row.get("complete", True) for row in rows):
        lines.append("warning: the measurement was cut short")
    return lines


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"[\\`*_\[\]<>|]", r"\\\g<0>", printable(text, replacement=" "))


def html_text(text: str) -> str:
    """Text for HTML, without what HTML cannot hold."""
    return escape(printable(text, replacement=" "))
