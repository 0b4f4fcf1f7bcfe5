"""Measured rows as tables of text: for a terminal, for Markdown, for a page."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from export.benchmark.measure import CONTENDED, PERCENTILES, samples_for
from keras_resnet.common.errors import printable

Row = dict[str, Any]
MOST = 1e15  # no number that is told of a measurement is larger


def number_of(row: Row, name: str) -> float | None:
    """What a row tells, if that is a number."""
    value = row.get(name)
    fits = isinstance(value, int | float) and abs(value) <= MOST
    return float(value) if fits else None


def _marked(name: str) -> Callable[[Row], str]:
    number = _number(f"{name}_ms", 3)
    return lambda row: number(row) + "?" * (name in row["uncertain"])


def _number(name: str, digits: int, times: int = 1) -> Callable[[Row], str]:
    """Empty where there is no number to be told."""

    def text(row: Row) -> str:
        value = number_of(row, name)
        return "" if value is None else f"{value * times:.{digits}f}"

    return text


# Heading, and the text of a row's cell; a column that is empty in all rows is left out.
TIMES = {
    **{f"p{p} ms": _marked(f"p{p}") for p in PERCENTILES},
    "n": lambda row: str(row["n"]),
    "images/s": _number("images_per_second", 1),
    "contended": lambda row: f"{row['contended'] / row['n']:.0%}",
    "quiet p50 ms": _number("quiet_p50_ms", 3),
}
SPREAD = {
    f"{name} ms": _number(f"{name}_ms", 3) for name in ("mean", "std", "min", "max")
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


def names_of_files(paths: Sequence[Path]) -> list[str]:
    """Their names without the suffix; the whole paths where two are alike."""
    stems = [path.stem for path in paths]
    return stems if len({*stems}) == len(stems) else [str(path) for path in paths]


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


def table(rows: Sequence[Row]) -> str:
    """The times as aligned text, with what is uncertain or contended said below."""
    return "\n".join([_aligned(rows, TIMES | SPREAD), *remarks(rows)])


def cold_table(rows: Sequence[Row]) -> str:
    """Cold start, energy and accuracy as aligned text; "" where none is known."""
    columns = COLD | REST
    known = any(text(row) for row in rows for text in columns.values())
    return _aligned(rows, columns) if known else ""


def _aligned(rows: Sequence[Row], columns: dict[str, Callable[[Row], str]]) -> str:
    """Labels to the left, but for the batch, and numbers to the right."""
    headings, lines = cells(rows, columns)
    texts = [headings, *lines]
    left = sum(label != "batch" for label in labels_of(rows))
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    padded = [
        [
            text.ljust(width) if i < left else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in texts
    ]
    return "\n".join("  ".join(line).rstrip() for line in padded)


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


def remarks(rows: Sequence[Row]) -> list[str]:
    """What is to be known of the times: units, too few calls, contention."""
    said = ["milliseconds a call; images/s from the mean"]
    uncertain = [p for p in PERCENTILES if any(f"p{p}" in r["uncertain"] for r in rows)]
    if uncertain:
        wants = ", ".join(f"p{p} wants {samples_for(p)}" for p in uncertain)
        said.append(f"warning: ? marks a percentile of too few calls: {wants}")
    contended = sum(row["contended"] for row in rows)
    if contended:
        said.append(
            f"warning: {contended} of {sum(row['n'] for row in rows)} calls ran while "
            f"other processes had over {CONTENDED:.0%} of the processor"
        )
    return said


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
            "top-1 and SNR are what the exporter measured and wrote into the file; a "
            "row that computes in a lower precision than the file's has none"
        )
    if any(row.get("joules_per_image") for row in rows):
        said.append("J/image: of all that the counters see, the idle machine included")
    if not all(row.get("complete", True) for row in rows):
        said.append("warning: the measurement was cut short")
    return said


def markdown(rows: Sequence[Row], machine: Row) -> str:
    """A table ready to paste, with its remarks and conditions."""
    headings, texts = cells(rows, TIMES | COLD | REST)
    left = len(labels_of(rows))
    rule = ["---" if i < left else "---:" for i in range(len(headings))]
    lines = [f"| {' | '.join(map(_escaped, one))} |" for one in [headings, *texts]]
    lines.insert(1, f"| {' | '.join(rule)} |")
    said = [f"- {_escaped(one)}" for one in all_remarks(rows)]
    known = [f"- {_escaped(f'{name}: {text}')}" for name, text in conditions(machine)]
    return "\n".join([*lines, "", *said, "", "Conditions:", "", *known, ""])


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    text = printable(text, replacement=" ")
    for character in "\\`*_[]<>|":
        text = text.replace(character, "\\" + character)
    return text
