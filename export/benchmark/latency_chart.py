"""Draws what was measured: latencies with their tails, and images a second.

Every text comes from files and flags: none is read as mathematics, and what cannot be
printed is left out.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.benchmark.tables import labels_of
from keras_resnet.common.errors import printable

LONGEST = 60  # characters of a name in an image
STYLES = ("-", "--", "-.")  # for more lines than there are colours


def draw(rows: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """Writes a PNG: latency by candidate, and beside it images/s by batch if several.

    Args:
        rows: as `export.benchmark.measure.measure` returns them.
        path: of the image.
        title: over it; the machine, for one.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    several = len({row["batch"] for row in rows}) > 1
    size = (13 if several else 8, max(3, 1.6 + 0.3 * len(rows)))
    with rc_context({"text.parse_math": False}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(title, fontsize=9)
        if several:
            latency, speed = figure.subplots(1, 2, width_ratios=(3, 2))
            draw_speed(speed, rows)
            speed.legend(fontsize=7)
        else:
            latency = figure.subplots()
        draw_latency(latency, rows)
        figure.savefig(path, dpi=100)


def draw_latency(axes, rows: Sequence[dict[str, Any]]) -> None:
    """A line a candidate, the smallest batches first."""
    looks = looks_of(rows)
    ordered = sorted(
        zip(rows, names_of(rows), strict=True), key=lambda one: one[0]["batch"] or 0
    )
    labels = []
    for y, (row, name) in enumerate(ordered):
        colour = looks[name]["color"]
        p50, p90, p99 = row["p50_ms"], row["p90_ms"], row["p99_ms"]
        axes.plot([p50, p99], [y, y], color=colour, linewidth=1, marker="|")
        axes.plot([p50, p90], [y, y], color=colour, linewidth=4, alpha=0.5)
        axes.plot(p50, y, "o", color=colour)
        above = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center"}
        axes.annotate(f"{p50:.4g}", (p50, y), fontsize=8, **above)
        labels.append(f"{name}, batch {row['batch']}" if row["batch"] else name)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_ylim(len(labels) - 0.4, -0.8)
    scale_milliseconds(
        axes, min(row["p50_ms"] for row in rows), max(row["p99_ms"] for row in rows)
    )
    axes.set_xlabel("milliseconds a call: p50 (dot), to p90 (thick), to p99 (thin)")
    axes.grid(axis="x", which="both", alpha=0.2)


def scale_milliseconds(axes, least: float, most: float) -> None:
    """From nought where the values are of one size, logarithmic where they are not."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    if most < 10 * least:
        axes.set_xlim(left=0)
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(
        LogLocator(subs=(1, 2, 5) if most < 1e3 * least else (1,))
    )
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def draw_speed(axes, rows: Sequence[dict[str, Any]]) -> None:
    """A line a candidate over its batch sizes; rows without batches have none."""
    lines: dict[str, list] = {}
    for row, name in zip(rows, names_of(rows), strict=True):
        if row["batch"]:
            point = row["batch"], row["images_per_second"]
            lines.setdefault(name, []).append(point)
    looks = looks_of(rows)
    for name, points in lines.items():
        pairs = zip(*sorted(points), strict=True)
        axes.plot(*pairs, marker="o", label=name, **looks[name])
    batches = sorted({row["batch"] for row in rows if row["batch"]})
    axes.set_xscale("log", base=2)
    axes.set_xticks(batches, batches)
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("batch size")
    axes.set_ylabel("images a second")
    axes.grid(alpha=0.2)


def looks_of(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Colour and style of each candidate's lines, by its name."""
    from matplotlib import colormaps

    palette = colormaps["tab10"].colors
    return {
        name: {
            "color": palette[i % len(palette)],
            "linestyle": STYLES[i // len(palette) % len(STYLES)],
        }
        for i, name in enumerate(dict.fromkeys(names_of(rows)))
    }


def names_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Each row's labels but `batch`, and but those that tell no row from another."""
    kept: list[str] = []
    for label in labels_of(rows):
        if label != "batch" and _groups(rows, [*kept, label]) > _groups(rows, kept):
            kept.append(label)
    kept = kept or labels_of(rows)[:1]
    return [
        " ".join(
            f"{row[name]} threads" if name == "threads" else chart_label(row[name])
            for name in kept
            if row.get(name) is not None
        )
        for row in rows
    ]


def chart_label(value: Any) -> str:
    """A text short enough for an image, with nothing in it that has no shape."""
    text = printable(str(value), replacement="?")
    text = f" {text}" if text.startswith("_") else text  # legends leave those out
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[: half - 1]}...{text[2 - half :]}"


def _groups(rows: Sequence[dict[str, Any]], labels: Sequence[str]) -> int:
    return len({tuple(str(row.get(one)) for one in labels) for row in rows})
