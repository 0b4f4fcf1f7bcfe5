"""Charts of measured rows as SVG, to stand inside a page.

Texts, axes and grids take the colour of the page's text, so that they can be read on
light and dark.
"""

import io
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from export.benchmark.latency_chart import (
    chart_label,
    draw_latency,
    draw_speed,
    looks_of,
    names_of,
    scale_milliseconds,
)
from export.benchmark.tables import number_of

Row = dict[str, Any]

INK = "#010203"  # drawn with, and then replaced by the page's own colour
MARKERS = "osD^v<>PX*"
STEPS = 400  # points of a distribution's line, more than can be told apart
STYLE = {
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 10,
    "legend.frameon": False,
    "legend.fontsize": 9,
    # Letters stay letters, which can be searched and read aloud.
    "svg.fonttype": "none",
    "text.parse_math": False,
}


def charts(rows: Sequence[Row]) -> dict[str, str]:
    """An SVG for each title; charts to which the rows have nothing are left out."""
    kinds: dict[str, tuple[Callable, list[Row]]] = {
        "Accuracy against latency": (_accuracy, accurate(rows)),
        "Latency": (_latency, list(rows)),
        "Distribution of latencies": (_distributions, with_samples(rows)),
        "Throughput by batch": (_speed, with_speed(rows)),
    }
    return {
        title: _svg(title, lambda figure, draw=draw, some=some: draw(figure, some))
        for title, (draw, some) in kinds.items()
        if some
    }


def accurate(rows: Sequence[Row]) -> list[Row]:
    """Rows of the smallest batch, host to host, whose file tells its accuracy.

    Each has it under `quality`, in the unit `quality_unit`: top-1, or, where no file
    was held against a validation set, the parity's signal-to-noise ratio.
    """
    host = [row for row in rows if row.get("timing", "host") == "host" and row["batch"]]
    first = [row for row in host if row["batch"] == min(one["batch"] for one in host)]
    qualities = (("top1", 100, "top-1 %"), ("snr_db", 1, "SNR to float32 Keras, dB"))
    for name, times, unit in qualities:
        known = [row for row in first if number_of(row, name) is not None]
        if known:
            return [
                {
                    **row,
                    "quality": row[name] * times,
                    "quality_unit": f"{unit}, {chart_label(row['accuracy_data'])}"
                    if name == "top1" and row.get("accuracy_data")
                    else unit,
                }
                for row in known
            ]
    return []


def with_samples(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.get("samples_ms")]


def with_speed(rows: Sequence[Row]) -> list[Row]:
    known = (row for row in rows if row["batch"])
    return [row for row in known if number_of(row, "images_per_second") is not None]


def _svg(title: str, draw: Callable) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # The title salts the names inside, of which no two in a page may be the same.
    with rc_context({**STYLE, "svg.hashsalt": title}):
        figure = Figure(figsize=(9, 4.2), layout="constrained")
        figure.patch.set_alpha(0)
        draw(figure)
        for axes in figure.axes:
            axes.patch.set_alpha(0)
        drawn = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(drawn, format="svg", metadata=nothing)
    svg = drawn.getvalue()
    svg = re.sub(r' id="[\w.]+_\d+"', "", svg[svg.index("<svg") :])
    return svg.replace(INK, "currentColor")


def _accuracy(figure, rows: Sequence[Row]) -> None:
    """A panel a data set; colours for how it ran, markers for the architectures."""
    from matplotlib.lines import Line2D

    ways = names_of([_way(row) for row in rows])
    looks = looks_of([_way(row) for row in rows])
    known = (row.get("architecture") or row.get("model", "") for row in rows)
    models = [chart_label(one) for one in known]
    markers = dict(zip(dict.fromkeys(models), itertools.cycle(MARKERS), strict=False))
    units = list(dict.fromkeys(row["quality_unit"] for row in rows))
    for axes, unit in zip(_panels(figure, len(units)), units, strict=True):
        lines: dict[str, list] = {}
        for row, model, way in zip(rows, models, ways, strict=True):
            if row["quality_unit"] == unit:
                lines.setdefault(way, []).append((row["p50_ms"], row["quality"], model))
        for way, points in lines.items():
            times, qualities, _ = zip(*sorted(points), strict=True)
            axes.plot(times, qualities, alpha=0.5, **looks[way])
            for time, quality, model in points:
                spot = {"color": looks[way]["color"], "marker": markers[model]}
                axes.plot(time, quality, markersize=8, **spot)
        times = [time for points in lines.values() for time, _, _ in points]
        scale_milliseconds(axes, min(times), max(times))
        axes.margins(y=0.15)
        axes.set_xlabel(f"p50, milliseconds a call of batch {rows[0]['batch']}")
        axes.set_ylabel(unit)
        axes.grid(alpha=0.2)
    handles = [Line2D([], [], label=way, **look) for way, look in looks.items()]
    handles += [
        Line2D([], [], color=INK, marker=mark, linestyle="", label=name)
        for name, mark in markers.items()
    ]
    _legend(figure, handles)


def _way(row: Row) -> Row:
    """How a row's file ran: what names a line over the architectures."""
    names = ("run", "file_precision", "provider", "ran", "threads")
    return {name: row.get(name) for name in names} | {"n": row["n"]}


def _latency(figure, rows: Sequence[Row]) -> None:
    figure.set_figheight(max(2.5, 1.2 + 0.32 * len(rows)))
    draw_latency(figure.subplots(), rows)


def _distributions(figure, rows: Sequence[Row]) -> None:
    """The share of calls that took no longer, a panel a batch."""
    from matplotlib.lines import Line2D

    looks = looks_of(rows)
    panels: dict[int | None, list] = {}
    for row, name in zip(rows, names_of(rows), strict=True):
        panels.setdefault(row["batch"], []).append((row, looks[name]))
    for axes, batch in zip(_panels(figure, len(panels)), panels, strict=True):
        for row, look in panels[batch]:
            _distribution(axes, row, look)
        least = min(np.concatenate(row["samples_ms"]).min() for row, _ in panels[batch])
        # The few calls behind the last p99 would press all others together.
        most = 1.2 * max(row["p99_ms"] for row, _ in panels[batch])
        axes.set_xlim(0.9 * least, most)
        scale_milliseconds(axes, least, most)
        axes.set_title(f"batch {batch}" if batch else "")
        axes.set_xlabel("milliseconds a call")
        axes.set_ylabel("share of calls")
        axes.set_yticks([0, 0.25, 0.5, 0.75, 0.9, 1])
        axes.grid(alpha=0.2)
    lines = [Line2D([], [], label=name, **look) for name, look in looks.items()]
    _legend(figure, lines)


def _distribution(axes, row: Row, look: dict[str, Any]) -> None:
    """Solid: calls while no other process was busy. Dotted, where some were: all."""
    shares = np.linspace(0, 1, STEPS)
    blocks = list(zip(row["samples_ms"], row["contended_rounds"], strict=True))
    every = np.concatenate([block for block, _ in blocks])
    quiet = [block for block, contended in blocks if not contended]
    if quiet and len(quiet) < len(blocks):
        dotted = {"color": look["color"], "linestyle": ":", "linewidth": 1}
        axes.plot(np.quantile(every, shares), shares, **dotted)
    solid = np.concatenate(quiet) if quiet else every
    axes.plot(np.quantile(solid, shares), shares, **look)


def _speed(figure, rows: Sequence[Row]) -> None:
    axes = figure.subplots()
    draw_speed(axes, rows)
    _legend(figure, axes.get_legend_handles_labels()[0])


def _panels(figure, count: int) -> list:
    """Axes in rows of two; the figure grows with them."""
    columns = min(count, 2)
    lines = -(-count // columns)
    figure.set_figheight(3.4 * lines + 0.6)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for one in axes[count:]:
        one.remove()
    return list(axes[:count])


def _legend(figure, handles: list) -> None:
    """Below the panels, in as many columns as the longest name leaves room for."""
    longest = max(len(one.get_label()) for one in handles)
    columns = max(1, min(len(handles), 110 // (longest + 8)))
    lines = -(-len(handles) // columns)
    figure.set_figheight(figure.get_figheight() + 0.22 * lines)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
