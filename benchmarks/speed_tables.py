"""What `onnx_speed.py` found, as tables: speeds, shares of the limit, targets."""

from collections.abc import Sequence
from typing import Any

from machine_limit import KIND, SIDE, limits, median, rate

STOCK, PLUGIN, OWN = "onnxruntime", "onnxruntime+openvino", "openvino"
Key = tuple[str, str, str]  # model, runtime, what is computed in

FLOAT: Key = ("resnet50", STOCK, "float32")
CLOSE = 1 / 1.1  # within 10%

# A row, what it is held against, the least ratio of speeds at batch 1 and above.
TARGETS: tuple[tuple[Key, Key, float, float], ...] = (
    (("resnet50, nchw", STOCK, "float32"), ("torchvision", STOCK, "float32"), 1, 1),
    (
        ("resnet50_v1", STOCK, "float32"),
        ("keras.applications", STOCK, "float32"),
        1,
        1,
    ),
    (("resnet50", STOCK, "int8"), FLOAT, 2.6, 2.6),
    (("resnet50", PLUGIN, "bfloat16"), FLOAT, 5, 6),
    (("resnet50", PLUGIN, "int8"), FLOAT, 5, 6),
    *(
        (("resnet50", PLUGIN, computes), ("resnet50", OWN, computes), CLOSE, CLOSE)
        for computes in ("float32", "bfloat16", "int8")
    ),
)


def with_rates(
    rows: Sequence[dict[str, Any]], work: dict[str, int]
) -> list[dict[str, Any]]:
    """The rows with `gmac_per_second`, and what `share_of_limit` that is.

    Args:
        rows: as `measure` gives them, of networks and of matrix products.
        work: multiply-adds of an image, by model.
    """
    reached = limits(rows)
    found = []
    for row in rows:
        speed = rate(row, SIDE**3 if row["model"] == KIND else work[row["model"]])
        limit = reached.get(row["computes"])
        share = round(speed / limit, 3) if limit else None
        found.append({**row, "gmac_per_second": speed, "share_of_limit": share})
    return found


def speeds(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A Markdown table: time, speed against float32, rate, share of the limit."""
    base = {r["batch"]: median(r) for r in rows if _key(r) == FLOAT}
    lines = [
        "| Model | Runtime | Computes in | Batch | ms | Speed | GMAC/s | Of limit |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in sorted(rows, key=lambda one: one["batch"] or 0):
        ratio, share = base.get(row["batch"], 0) / median(row), row["share_of_limit"]
        cells = [*_key(row), row["batch"] or "-", f"{median(row):.2f}"]
        cells += [f"{ratio:.2f}" if ratio else "-", f"{row['gmac_per_second']:.0f}"]
        lines.append(f"| {' | '.join(map(str, cells))} | {_percent(share)} |")
    return lines


def against_targets(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A Markdown table of the ratios that are asked for and those that were found.

    Beside the ratio of the medians stand the quartiles of the rounds' own ratios: where
    what is asked for lies between them, the machine cannot tell.
    """
    found = {(_key(row), row["batch"]): row for row in rows if row["batch"]}
    lines = [
        "| Row | Against | Batch | Asked for | Found | By rounds | |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for ours, theirs, single, several in TARGETS:
        for batch in sorted({batch for _, batch in found}):
            if {(ours, batch), (theirs, batch)} <= found.keys():
                least = single if batch == 1 else several
                mine, other = found[ours, batch], found[theirs, batch]
                ratio = median(other) / median(mine)
                low, high = _quartiles(mine["rounds_p50_ms"], other["rounds_p50_ms"])
                verdict = "reached" if ratio >= least else "missed"
                if low <= least <= high:
                    verdict = "within the spread"
                cells = [" ".join(ours), " ".join(theirs), str(batch), f"{least:.2f}"]
                cells += [f"{ratio:.2f}", f"{low:.2f} to {high:.2f}", verdict]
                lines.append(f"| {' | '.join(cells)} |")
    return lines


def _quartiles(ours: list[float], theirs: list[float]) -> list[float]:
    """Of the ratios of times in the rounds that both were in."""
    import numpy as np

    ratios = [b / a for a, b in zip(ours, theirs, strict=False)]
    return np.percentile(ratios, [25, 75]).tolist()


def _key(row: dict[str, Any]) -> Key:
    return row["model"], row["runtime"], row["computes"]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
