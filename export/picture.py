"""Draws what was measured: latencies with their tails, and images a second."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def draw(rows: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """Writes a PNG: latency by candidate, and beside it images/s by batch if several.

    Args:
        rows: as `export.measure.measure` returns them.
        path: of the picture.
        title: over it; the machine, for one.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = _names(rows)
    distinct = dict.fromkeys(names)
    palette = colormaps["tab10" if len(distinct) <= 10 else "tab20"]
    colours = {name: palette(i % palette.N) for i, name in enumerate(distinct)}
    coloured = [
        (row, name, colours[name]) for row, name in zip(rows, names, strict=True)
    ]
    several = len({row["batch"] for row in rows}) > 1
    size = (13 if several else 8, max(3, 1.6 + 0.3 * len(rows)))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=9)
    if several:
        latency, speed = figure.subplots(1, 2, width_ratios=(3, 2))
        _draw_speed(speed, coloured)
    else:
        latency = figure.subplots()
    _draw_latency(latency, coloured)
    figure.savefig(path, dpi=100)


def _draw_latency(axes, coloured) -> None:
    """A line a candidate, the smallest batches first."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    rows = [row for row, _, _ in coloured]
    ordered = sorted(coloured, key=lambda one: one[0]["batch"] or 0)
    labels = []
    for y, (row, name, colour) in enumerate(ordered):
        p50, p90, p99 = row["p50_ms"], row["p90_ms"], row["p99_ms"]
        axes.plot([p50, p99], [y, y], color=colour, linewidth=1, marker="|")
        axes.plot([p50, p90], [y, y], color=colour, linewidth=4, alpha=0.5)
        axes.plot(p50, y, "o", color=colour)
        above = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center"}
        axes.annotate(f"{p50:.4g}", (p50, y), fontsize=8, **above)
        labels.append(f"{name}, batch {row['batch']}" if row["batch"] else name)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_ylim(len(labels) - 0.4, -0.8)
    if max(row["p99_ms"] for row in rows) < 10 * min(row["p50_ms"] for row in rows):
        axes.set_xlim(left=0)
    else:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("milliseconds a call: p50 (dot), to p90 (thick), to p99 (thin)")
    axes.grid(axis="x", which="both", alpha=0.2)


def _draw_speed(axes, coloured) -> None:
    """A line a candidate over its batch sizes."""
    lines = {}
    for row, name, colour in coloured:
        point = row["batch"], row["images_per_second"]
        lines.setdefault((name, colour), []).append(point)
    for (name, colour), points in lines.items():
        axes.plot(*zip(*sorted(points), strict=True), "o-", color=colour, label=name)
    batches = sorted({row["batch"] for row, _, _ in coloured})
    axes.set_xscale("log", base=2)
    axes.set_xticks(batches, batches)
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("batch size")
    axes.set_ylabel("images a second")
    axes.grid(alpha=0.2)
    axes.legend(fontsize=7)


def _names(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Each row's labels, but those in which no row differs from another."""
    labels = list(rows[0])[: list(rows[0]).index("batch")]
    telling = [name for name in labels if len({str(row[name]) for row in rows}) > 1]
    telling = telling or labels[:1]
    return [
        " ".join(
            f"{row[name]} threads" if name == "threads" else str(row[name])
            for name in telling
        )
        for row in rows
    ]
