"""The golden answers' files: a JSON list, one row a line. numpy only."""

import json
from pathlib import Path

import numpy as np
import seeded

HERE = Path(__file__).parent


def row(
    model: str, settings: dict, size: tuple[int, int], logits: np.ndarray, source: str
) -> dict:
    """One network's logits at one size."""
    spread = logits.std()
    print(f"{model} {settings or ''} {size} spread {spread:.3f}", flush=True)
    # the weights must leave an image its say
    assert np.isfinite(logits).all() and 0.01 < spread < 1000, model
    assert np.abs(logits[0] - logits[1]).max() > 0.05 * spread, model
    return {
        "model": model,
        "settings": settings,
        "size": list(size),
        "logits": [rounded(one) for one in logits],
        "source": source,
    }


def feature_row(
    model: str, size: tuple[int, int], maps: dict[str, np.ndarray], source: str
) -> dict:
    """One network's feature maps, (2, height, width, channels) each, by their names."""
    return {
        "model": model,
        "size": list(size),
        "maps": {level: summary(model, level, one) for level, one in maps.items()},
        "source": source,
    }


def summary(model: str, level: str, values: np.ndarray) -> dict:
    """What is kept of a feature map: a dozen values, mean and root mean square."""
    places = seeded.positions(f"{model} {level}", 12, values.size)
    wide = values.astype("float64")
    return {
        "shape": list(values.shape),
        "values": rounded(values.ravel()[places]),
        "mean": rounded([wide.mean()])[0],
        "rms": rounded([np.square(wide).mean() ** 0.5])[0],
    }


def rounded(values: np.ndarray) -> list[float]:
    """Seven significant digits, which float32 has."""
    return [float(f"{value:.7g}") for value in values]


def read(file: str) -> list[dict]:
    """The rows of a file beside this one; none if there is no such file."""
    path = HERE / file
    return json.loads(path.read_text()) if path.exists() else []


def update(file: str, rows: list[dict]) -> None:
    """Puts rows in place of those that answer the same question, or behind."""
    table = {_key(one): one for one in read(file)} | {_key(one): one for one in rows}
    text = ",\n".join(json.dumps(one) for one in table.values())
    (HERE / file).write_text(f"[\n{text}\n]\n")


def _key(one):
    """The question that a row answers; the library's version is none of it."""
    library = one["source"].split()[0]
    parts = [one.get(part) for part in ("model", "what", "settings", "size")]
    return json.dumps([*parts, library])
