"""Measured rows as tables of text: for a terminal, for Markdown, for a page."""

from collections.abc import Callable, Sequence
from typing import Any

from export.timing.measure import PERCENTILES, align, remarks

Row = dict[str, Any]


def _marked(name: str) -> Callable[[Row], str]:
    number = _number(f"{name}_ms", 3)
    return lambda row: number(row) + "?" * (name in row["uncertain"])


def _number(name: str, digits: int, times: int = 1) -> Callable[[Row], str]:
    """Empty where there is no number to be told."""

    def text(row: Row) -> str:
        value = row.get(name)
        return f"{value * times:.{digits}f}" if isinstance(value, int | float) else ""

    return text


# Heading, and the text of a row's cell; a column that is empty in all rows is left out.
TIMES = {
    **{f"p{p} ms": _marked(f"p{p}") for p in PERCENTILES},
    "n": lambda row: str(row["n"]),
    "images/s": _number("images_per_second", 1),
    "contended": lambda row: f"{row['contended'] / row['n']:.0%}",
    "quiet p50 ms": _number("quiet_p50_ms", 3),
}
COLD = {
    "load ms": _number("load_ms", 1),
    "first run ms": _number("first_run_ms", 1),
    "memory MB": _number("peak_rss_mb", 1),
    "GPU memory MB": _number("device_mb", 0),
}
REST = {
    "J/image": _number("joules_per_image", 4),
    "top-1 %": _number("top1", 2, 100),
    "SNR dB": _number("snr_db", 1),
}


def labels_of(rows: Sequence[Row]) -> list[str]:
    """What tells one row from another: all that stands before `n`, `batch` last."""
    before = [list(row)[: list(row).index("n")] for row in rows]
    names = dict.fromkeys(name for one in before for name in one if name != "batch")
    known = {name for row in rows for name in row if row[name] is not None}
    return [one for one in [*names, "batch"] if one in known]


def cells(
    rows: Sequence[Row], columns: dict[str, Callable[[Row], str]]
) -> tuple[list[str], list[list[str]]]:
    """The headings, and each row's texts: the labels, then the columns not empty."""
    labels = labels_of(rows)
    texts = {heading: [text(row) for row in rows] for heading, text in columns.items()}
    texts = {heading: column for heading, column in texts.items() if any(column)}
    lines = []
    for i, row in enumerate(rows):
        named = ["" if row.get(one) is None else str(row[one]) for one in labels]
        lines.append([*named, *(column[i] for column in texts.values())])
    return [*labels, *texts], lines


def cold_table(rows: Sequence[Row]) -> str:
    """Cold start, energy and accuracy as aligned text; "" where none is known."""
    headings, lines = cells(rows, COLD | REST)
    left = len(labels_of(rows))
    return align([headings, *lines], left - 1) if len(headings) > left else ""


def conditions(machine: Row) -> list[tuple[str, str]]:
    """A machine's record as names and texts, without what is not known."""
    nothing = (None, "", [])
    return [
        (
            name.replace("_", " "),
            ", ".join(map(str, value)) if isinstance(value, list) else str(value),
        )
        for name, value in machine.items()
        if value not in nothing
    ]


def all_remarks(rows: Sequence[Row]) -> list[str]:
    """What is to be known of the numbers, those of cold starts and energy included."""
    said = remarks(rows)
    starts = [row["cold_load_ms"] for row in rows if row.get("cold_load_ms")]
    if starts and isinstance(starts[0], list):
        said.append(
            "load, first run (of the smallest batch) and memory: medians over "
            f"{len(starts[0])} fresh processes, the file in the page cache, imports "
            "left out; memory is the rise of the peak of resident memory up to the "
            "row's batch"
        )
    if any(row.get("top1") or row.get("snr_db") for row in rows):
        said.append(
            "top-1 and SNR are what the exporter measured and wrote into the file, in "
            "the file's own precision; a provider that computes in another may differ"
        )
    if any(row.get("joules_per_image") for row in rows):
        said.append("J/image: of all that the counters see, the idle machine included")
    if not all(row.get("complete", True) for row in rows):
        said.append("warning: the measurement was cut short")
    return said


def markdown(rows: Sequence[Row], machine: Row) -> str:
    """A table ready to paste, with its remarks and conditions."""
    headings, lines = cells(rows, TIMES | COLD | REST)
    left = len(labels_of(rows))
    rule = ["---" if i < left else "---:" for i in range(len(headings))]
    texts = [headings, *lines]
    table = [f"| {' | '.join(map(_escaped, one))} |" for one in texts]
    table.insert(1, f"| {' | '.join(rule)} |")
    said = [f"- {_escaped(one)}" for one in all_remarks(rows)]
    known = [f"- {_escaped(f'{name}: {text}')}" for name, text in conditions(machine)]
    return "\n".join([*table, "", *said, "", "Conditions:", "", *known, ""])


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    text = "".join(c if c.isprintable() else " " for c in text)
    for character in "\\`*_[]<>|":
        text = text.replace(character, "\\" + character)
    return text
