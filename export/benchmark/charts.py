"""Charts of measured rows: as SVG, to stand inside a page, and as one PNG.

The texts, axes and grids of the SVG take the colour of the page's text, so that they
can be read on light and dark. Every text comes from files and flags: none is read as
mathematics, and what cannot be printed is left out.
"""

import io
import itertools
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from export.benchmark.tables import Row, labels_of, number
from keras_resnet.common.errors import printable

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

INK = "#010203"  # drawn with, and then replaced by the page's own colour
LONGEST_NAME = 60  # characters
LINE_STYLES = ("-", "--", "-.")  # for more lines than there are colours
MARKERS = "osD^v<>PX*"
STEPS = 400  # points of a distribution's line, more than can be told apart
SVG_STYLE: "dict[RcKeyType, Any]" = {
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
    sampled = [row for row in rows if row.get("samples_ms")]
    kinds: dict[str, tuple[Callable, Sequence[Row]]] = {
        "Accuracy against latency": (_accuracy, _with_quality(rows)),
        "Latency": (_latency, rows),
        "Distribution of latencies": (_distributions, sampled),
        "Throughput by batch": (_speed, list(filter(_has_speed, rows))),
    }
    return {
        title: _svg(title, draw, drawn)
        for title, (draw, drawn) in kinds.items()
        if drawn
    }


def draw_png(rows: Sequence[Row], title: str) -> bytes:
    """The latency of each row, and beside it images/s by batch if there are several."""
    several = len({row["batch"] for row in rows if _has_speed(row)}) > 1
    size = (13 if several else 8, max(3, 1.6 + 0.3 * len(rows)))
    with rc_context({"text.parse_math": False}):
        figure = Figure(figsize=size, layout="constrained")
        figure.suptitle(printable(title, replacement="?"), fontsize=9)
        if several:
            latency, speed = figure.subplots(1, 2, width_ratios=(3, 2))
            _draw_speed(speed, rows)
            speed.legend(fontsize=7)
        else:
            latency = figure.subplots()
        _draw_latency(latency, rows)
        image = io.BytesIO()
        figure.savefig(image, dpi=100, format="png")
    return image.getvalue()


def _svg(title: str, draw: Callable, rows: Sequence[Row]) -> str:
    # The title salts the names inside, of which no two in a page may be the same.
    with rc_context({**SVG_STYLE, "svg.hashsalt": title}):
        figure = Figure(figsize=(9, 4.2), layout="constrained")
        figure.patch.set_alpha(0)
        draw(figure, rows)
        for axes in figure.axes:
            axes.patch.set_alpha(0)
        drawn = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(drawn, format="svg", metadata=nothing)
    svg = drawn.getvalue()
    svg = re.sub(r' id="[\w.]+_\d+"', "", svg[svg.index("<svg") :])
    return svg.replace(INK, "currentColor")


def _with_quality(rows: Sequence[Row]) -> list[Row]:
    """Rows of the smallest batch, host to host, whose file tells its accuracy.

    Each has it under `quality`, in the unit `quality_unit`: top-1, or, where no file
    was evaluated on a validation set, the parity's signal-to-noise ratio.
    """
    host = [row for row in rows if row.get("timing", "host") == "host" and row["batch"]]
    smallest = min((row["batch"] for row in host), default=None)
    qualities = (("top1", 100, "top-1 %"), ("snr_db", 1, "SNR to float32 Keras, dB"))
    for name, times, unit in qualities:
        known = []
        for row in host:
            value = number(row.get(name))
            if row["batch"] == smallest and value is not None:
                data = row.get("accuracy_data") if name == "top1" else None
                measured = f"{unit}, {_short(data)}" if data else unit
                known.append(
                    {**row, "quality": value * times, "quality_unit": measured}
                )
        if known:
            return known
    return []


def _accuracy(figure, rows: Sequence[Row]) -> None:
    """A panel a data set; colours for how it ran, markers for the architectures."""
    labels = ("run", "file_precision", "provider", "ran", "threads")
    how = [{name: row.get(name) for name in labels} | {"n": row["n"]} for row in rows]
    ways, looks = _names_of(how), _looks_of(how)
    models = [_short(row.get("architecture") or row.get("model", "")) for row in rows]
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
        _scale_milliseconds(axes, min(times), max(times))
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


def _latency(figure, rows: Sequence[Row]) -> None:
    figure.set_figheight(max(2.5, 1.2 + 0.32 * len(rows)))
    _draw_latency(figure.subplots(), rows)


def _draw_latency(axes, rows: Sequence[Row]) -> None:
    """A line a row, the smallest batches first."""
    looks = _looks_of(rows)
    named = zip(rows, _names_of(rows), strict=True)
    labels = []
    for y, (row, name) in enumerate(
        sorted(named, key=lambda pair: pair[0]["batch"] or 0)
    ):
        color = looks[name]["color"]
        p50, p90, p99 = row["p50_ms"], row["p90_ms"], row["p99_ms"]
        axes.plot([p50, p99], [y, y], color=color, linewidth=1, marker="|")
        axes.plot([p50, p90], [y, y], color=color, linewidth=4, alpha=0.5)
        axes.plot(p50, y, "o", color=color)
        above = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center"}
        axes.annotate(f"{p50:.4g}", (p50, y), fontsize=8, **above)
        labels.append(f"{name}, batch {row['batch']}" if row["batch"] else name)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_ylim(len(labels) - 0.4, -0.8)
    _scale_milliseconds(
        axes, min(row["p50_ms"] for row in rows), max(row["p99_ms"] for row in rows)
    )
    axes.set_xlabel("milliseconds a call: p50 (dot), to p90 (thick), to p99 (thin)")
    axes.grid(axis="x", which="both", alpha=0.2)


def _scale_milliseconds(axes, least: float, most: float) -> None:
    """From nought where the values are of one size, logarithmic where they are not."""
    if most < 10 * least:
        axes.set_xlim(left=0)
        return
    axes.set_xscale("log")
    subs = (1, 2, 5) if most < 1e3 * least else (1,)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _distributions(figure, rows: Sequence[Row]) -> None:
    """The share of calls that took no longer, a panel a batch."""
    looks = _looks_of(rows)
    panels: dict[int | None, list] = {}
    for row, name in zip(rows, _names_of(rows), strict=True):
        panels.setdefault(row["batch"], []).append((row, looks[name]))
    for axes, batch in zip(_panels(figure, len(panels)), panels, strict=True):
        for row, look in panels[batch]:
            _draw_distribution(axes, row, look)
        least = min(np.concatenate(row["samples_ms"]).min() for row, _ in panels[batch])
        # The few calls behind the last p99 would press all others together.
        most = 1.2 * max(row["p99_ms"] for row, _ in panels[batch])
        axes.set_xlim(0.9 * least, most)
        _scale_milliseconds(axes, least, most)
        axes.set_title(f"batch {batch}" if batch else "")
        axes.set_xlabel("milliseconds a call")
        axes.set_ylabel("share of calls")
        axes.set_yticks([0, 0.25, 0.5, 0.75, 0.9, 1])
        axes.grid(alpha=0.2)
    _legend(
        figure, [Line2D([], [], label=name, **look) for name, look in looks.items()]
    )


def _draw_distribution(axes, row: Row, look: dict[str, Any]) -> None:
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


def _has_speed(row: Row) -> bool:
    return bool(row["batch"]) and number(row.get("images_per_second")) is not None


def _speed(figure, rows: Sequence[Row]) -> None:
    axes = figure.subplots()
    _draw_speed(axes, rows)
    _legend(figure, axes.get_legend_handles_labels()[0])


def _draw_speed(axes, rows: Sequence[Row]) -> None:
    """A line a candidate over its batch sizes; rows without a speed have none."""
    lines: dict[str, list] = {}
    for row, name in zip(rows, _names_of(rows), strict=True):
        if _has_speed(row):
            point = row["batch"], row["images_per_second"]
            lines.setdefault(name, []).append(point)
    looks = _looks_of(rows)
    for name, points in lines.items():
        batches, speeds = zip(*sorted(points), strict=True)
        axes.plot(batches, speeds, marker="o", label=name, **looks[name])
    batches = sorted({batch for points in lines.values() for batch, _ in points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(batches, batches)
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("batch size")
    axes.set_ylabel("images a second")
    axes.grid(alpha=0.2)


def _panels(figure, count: int) -> list:
    """Axes in rows of two; the figure grows with them."""
    columns = min(count, 2)
    lines = -(-count // columns)
    figure.set_figheight(3.4 * lines + 0.6)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for empty in panels[count:]:
        empty.remove()
    return list(panels[:count])


def _legend(figure, handles: list) -> None:
    """Below the panels, in as many columns as the longest name leaves room for."""
    longest = max(len(handle.get_label()) for handle in handles)
    columns = max(1, min(len(handles), 110 // (longest + 8)))
    lines = -(-len(handles) // columns)
    figure.set_figheight(figure.get_figheight() + 0.22 * lines)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def _looks_of(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Colour and style of each candidate's lines, by its name."""
    palette = colormaps["tab10"]
    return {
        name: {
            "color": palette(i % palette.N),
            "linestyle": LINE_STYLES[i // palette.N % len(LINE_STYLES)],
        }
        for i, name in enumerate(dict.fromkeys(_names_of(rows)))
    }


def _names_of(rows: Sequence[Row]) -> list[str]:
    """Each row's labels but `batch`, and but those that tell no row from another."""

    def groups(labels: Sequence[str]) -> int:
        return len({tuple(str(row.get(label)) for label in labels) for row in rows})

    telling: list[str] = []
    for label in labels_of(rows):
        if label != "batch" and groups([*telling, label]) > groups(telling):
            telling.append(label)
    telling = telling or labels_of(rows)[:1]
    return [
        " ".join(
            f"{row[label]} threads" if label == "threads" else _short(row[label])
            for label in telling
            if row.get(label) is not None
        )
        for row in rows
    ]


def _short(value: Any) -> str:
    """A text short enough for an image, with nothing in it that has no shape."""
    text = printable(str(value), replacement="?")
    text = f" {text}" if text.startswith("_") else text  # legends leave those out
    if len(text) <= LONGEST_NAME:
        return text
    half = LONGEST_NAME // 2
    return f"{text[: half - 1]}...{text[2 - half :]}"
