"""Finds the fastest way to run a file on this machine, under an accuracy floor.

    python -m export.tune resnet50.onnx --batch-size 1 --images validation.npz

Tries the providers that load, OpenVINO's precisions, threads, spinning and options:
first one of each kind, compared with the plain run on the CPU, then variants of the
fastest, interleaved, half of them dropped in each round. The winner is written to
`<name>.tuned.json` beside the file, where `export.runtime.load` finds it.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tyro.conf import Positional

from export.benchmark.candidates import image_shape, random_images
from export.benchmark.search import (
    Requirement,
    SettingsCandidate,
    describe,
    kinds,
    load_candidates,
    rank,
    variants,
)
from export.runtime import Predictor
from export.runtime.session import Session
from export.runtime.settings import Settings, tuned_path, write_settings
from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import refuse_existing
from keras_resnet.common.numbers import check_number, check_whole
from keras_resnet.images.files import read_images

RANDOM_IMAGES = 16  # where no real ones are given
MEASURED = ("n", "p50_ms", "p90_ms", "quiet_p50_ms", "contended")


@dataclass(frozen=True, kw_only=True)
class TuningConfig:
    """What the settings are for, and how accurate they must be."""

    batch_size: int = 1
    """Images a call in the service."""
    images: Path | None = None
    """Evaluation images: a folder, or an .npz with `images` and perhaps `labels`.
    Default: noise, which tells less."""
    most_images: int = 256
    """The first so many of them are used."""
    floor: float = 30.0
    """Signal-to-noise ratio in dB against the plain run of the file on the CPU, to be
    reached where there are no labels. bfloat16 comes to 37 on ResNet-50."""
    max_drop: float = 0.5
    """Percentage points of top-1 accuracy that may be lost where there are labels."""
    input_size: tuple[int, ...] = ()
    """Height and width, or one number for both, of files that take any size."""
    force: bool = False
    """Replace existing settings."""


def tune(path: str | Path, config: TuningConfig | None = None) -> Settings:
    """Finds the settings of an .onnx file, prints and writes `<name>.tuned.json`.

    Raises:
        InputError: an argument or the file cannot be used; or settings exist.
    """
    config = config or TuningConfig()
    batch_size = config.batch_size
    check_whole("batch_size", batch_size)
    check_whole("most_images", config.most_images)
    check_number("floor", config.floor)
    check_number("max_drop", config.max_drop, minimum=0)
    out = refuse_existing(tuned_path(path), config.force)
    plain = Predictor(Session(path, "cpu"), batch_size)
    fixed = plain.session.input_shape[0]
    if fixed and batch_size != fixed:
        raise InputError(f"{path} takes batches of {fixed} alone: batch_size={fixed}.")
    images, labels = _evaluation_images(plain, config)
    required = Requirement(
        images, labels, plain.outputs(images), config.floor, config.max_drop
    )
    first = next(plain.batches(images))
    timed = np.resize(first, (batch_size, *first.shape[1:]))
    candidates = load_candidates(path, kinds(batch_size), timed)
    candidates = [candidate for candidate in candidates if required.accepts(candidate)]
    if not candidates:
        raise InputError(f"{path} gives no finite outputs on the CPU.")
    fastest = rank(candidates)
    choices = [choice for kind in fastest for choice in variants(kind.settings)]
    ranked = rank(load_candidates(path, choices, timed))
    # An option may change the numbers: then the kind itself stays.
    best = next(filter(required.accepts, ranked), fastest[0])
    _report(best, path, out, config.force)
    return best.settings


def _evaluation_images(
    plain: Predictor, config: TuningConfig
) -> tuple[Any, np.ndarray | None]:
    """Images as the predictor takes them, and labels where they are known."""
    session, record = plain.session, plain.preprocessing
    if config.images is not None:
        channels = session.input_shape[1 if plain.channels_first else -1]
        return read_images(config.images, config.most_images, channels or 3)
    print("warning: without --images accuracy is measured on noise, which tells less")
    if record is not None:
        shape = [*record.size, len(record.mean)]
    else:
        shape = image_shape(session, config.input_size)
        shape = [*shape[1:], shape[0]] if plain.channels_first else shape
    count = max(RANDOM_IMAGES, config.batch_size)
    return random_images(count, shape, plain.dtype), None


def _report(best: SettingsCandidate, path: str | Path, out: Path, force: bool) -> None:
    accuracy, ran, row = best.accuracy, best.session.ran, best.measured
    assert accuracy is not None  # it has been accepted
    snr = accuracy.snr_db if math.isfinite(accuracy.snr_db) else None  # JSON has no inf
    measured = {
        **{name: row[name] for name in MEASURED},
        "ran": ran,
        "accuracy": asdict(accuracy) | {"snr_db": snr},
    }
    write_settings(best.settings, path, out, measured, force)
    print(f"{path}: {describe(best.settings)}")
    print(
        f"  {best.milliseconds:.3f} ms a batch of {best.settings.batch}; ran on "
        f"{ran['provider']} in {ran['precision']}; SNR {accuracy.snr_db:.1f} dB over "
        f"{accuracy.images} images"
    )
    if contended := row["contended"]:
        print(
            f"warning: {contended} of {row['n']} calls ran while other processes were "
            "busy; tune on a quiet machine"
        )
    print(f"wrote {out}")


@dataclass(frozen=True, kw_only=True)
class Flags(TuningConfig):
    """Finds the fastest provider, threads and options for ONNX files on this machine.

    Writes them to <name>.tuned.json beside each file, where export.runtime.load finds
    them.
    """

    paths: Positional[tuple[Path, ...]]
    """The .onnx files."""


def main(args: Sequence[str] | None = None) -> None:
    """The command line; `args` in place of sys.argv."""
    flags = parse(Flags, args, prog="python -m export.tune")
    if not flags.paths:
        raise InputError("paths: one .onnx file or more is needed.")
    for path in flags.paths:
        refuse_existing(tuned_path(path), flags.force)
    for path in flags.paths:
        tune(path, flags)


if __name__ == "__main__":
    run(main)
