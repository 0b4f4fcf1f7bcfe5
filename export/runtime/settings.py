"""How to run a file on this machine: what `export.tune` writes and `load` reads.

The JSON is data: its types, names and values are held against what a session knows,
and it can name no place to write to. It is for one file, one processor and one
onnxruntime; elsewhere it is passed over.
"""

import json
import os
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import onnxruntime as ort

from export.runtime.options import KNOWN, PLACES
from export.runtime.plugin import PRECISIONS
from export.runtime.providers import AUTO
from export.runtime.session import MOST_THREADS
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import write_beside
from keras_resnet.common.fingerprint import fingerprint, sha256
from keras_resnet.common.numbers import is_whole

MOST_BYTES = 2**20
MOST_BATCH = 2**16
PLUGIN = "onnxruntime-ep-openvino"


@dataclass(frozen=True)
class Settings:
    """Arguments of a `Session`, and the batch that they were chosen for.

    Attributes:
        providers, threads, spinning, precision, options: as `Session` takes them.
        batch: most images a call; None leaves it to whoever calls.
    """

    providers: tuple[str, ...] = AUTO[-1:]
    threads: int | None = None
    spinning: bool = True
    precision: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    batch: int | None = None

    def session_arguments(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "batch"}

    @classmethod
    def from_json(cls, record: Any) -> "Settings":
        """What `dataclasses.asdict` gave; an InputError if it is anything else."""
        names = {one.name for one in fields(cls)}
        if not isinstance(record, dict) or record.keys() != names:
            raise InputError(f"settings: exactly {', '.join(sorted(names))} are needed")
        options, known = record["options"], {n for k in KNOWN.values() for n in k}
        valid = {
            "providers": _are_names(record["providers"], {*AUTO, "openvino"}),
            "threads": _is_count(record["threads"], MOST_THREADS),
            "spinning": isinstance(record["spinning"], bool),
            "precision": record["precision"] in (None, *PRECISIONS),
            "options": isinstance(options, dict)
            and _are_names([*options], known - PLACES, least=0)
            and all(isinstance(one, str) for one in options.values()),
            "batch": _is_count(record["batch"], MOST_BATCH),
        }
        for name, fits in valid.items():
            if not fits:
                raise InputError(f"settings: {name}={record[name]!r} cannot be used")
        return cls(**record | {"providers": tuple(record["providers"])})


def _are_names(values: Any, choices: set[str], least: int = 1) -> bool:
    whole = isinstance(values, list) and len(values) >= least
    return whole and all(isinstance(one, str) and one in choices for one in values)


def _is_count(value: Any, most: int) -> bool:
    return value is None or is_whole(value, 1, most)


def tuned_path(path: str | os.PathLike) -> Path:
    """Where the settings of a file stand: model.onnx gives model.tuned.json."""
    return Path(path).with_suffix(".tuned.json")


def conditions(path: str | os.PathLike) -> dict[str, Any]:
    """What settings are bound to: the file and the machine."""
    machine = fingerprint()
    try:
        plugin = version(PLUGIN)
    except PackageNotFoundError:
        plugin = None
    return {
        "file": sha256(path),
        "cpu": machine["cpu"],
        "usable_cores": machine["usable_cores"],
        "gpus": machine["gpus"],
        "onnxruntime": ort.__version__,
        PLUGIN: plugin,
    }


def write_settings(
    settings: Settings,
    path: str | os.PathLike,
    out: str | os.PathLike,
    measured: dict[str, Any],
    force: bool = False,
) -> None:
    """Writes the settings for the file at `path`, and what was measured, to `out`."""
    record = {
        "settings": asdict(settings),
        "conditions": conditions(path),
        "measured": measured,
    }
    with write_beside(out, force) as part:
        part.write_text(json.dumps(record, indent=2) + "\n")


def read_settings(source: str | os.PathLike, path: str | os.PathLike) -> Settings:
    """The settings at `source`, for the file at `path`.

    Raises:
        InputError: no such file, not what `write_settings` writes, or made for
            another file, machine or onnxruntime.
    """
    source = Path(source)
    try:
        if not source.is_file():  # of a pipe or a device one might read for ever
            raise ValueError("there is no such file")
        if (size := source.stat().st_size) > MOST_BYTES:
            raise ValueError(f"{size} bytes, {MOST_BYTES} are read")
        record = json.loads(source.read_text(encoding="utf-8"))
        settings = Settings.from_json(record["settings"])
        bound = dict(record["conditions"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{source} cannot be read as settings: {error}.") from error
    for name, here in conditions(path).items():
        if bound.get(name) != here:
            raise InputError(
                f"{source} was made for {name} {bound.get(name)}; here it is {here}."
            )
    return settings
