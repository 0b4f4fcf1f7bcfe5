"""Finds the fastest way to run a file on this machine, under an accuracy floor.

    python -m export.tune resnet50.onnx --batch-size 1 --images validation.npz

Tries the providers that load, OpenVINO's precisions, threads, spinning and options:
first one of each kind, held against the plain run on the CPU, then variants of the
fastest, interleaved, half of them dropped in each round. The winner is written to
`<name>.tuned.json` beside the file, where `export.runtime.load` finds it.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tyro.conf import Positional

from export.benchmark.candidates import image_shape, random_images
from export.benchmark.judge import judge
from export.benchmark.race import Entry, enter, kinds, name_of, race, variants
from export.runtime import Predictor
from export.runtime.session import Session
from export.runtime.settings import Settings, tuned_path, write_settings
from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import refuse_existing
from keras_resnet.images.files import read_images

RANDOM_IMAGES = 16  # where no real ones are given
MEASURED = ("n", "p50_ms", "p90_ms", "quiet_p50_ms", "contended")


def tune(
    path: str | Path,
    *,
    batch_size: int = 1,
    images: Path | str | None = None,
    most_images: int = 256,
    floor: float = 30.0,
    max_drop: float = 0.5,
    input_size: Sequence[int] = (),
    force: bool = False,
) -> Settings:
    """Finds the settings, prints them, and writes `<name>.tuned.json`.

    Args:
        path: an .onnx file.
        batch_size: images a call in the service.
        images: real images: a folder, or an .npz with `images` and perhaps `labels`.
            Default: noise, which tells less.
        most_images: the first so many of them are used.
        floor: signal-to-noise ratio in dB against the plain run of the same file on
            the CPU, which settings must reach where there are no labels. bfloat16
            comes to 37 on ResNet-50.
        max_drop: percentage points of top-1 accuracy that settings may lose where there
            are labels.
        input_size: height and width of the images, or one number for both, for a
            file that takes any size.
        force: replace existing settings.

    Raises:
        InputError: an argument or the file cannot be used; or settings exist.
    """
    if min(batch_size, most_images) < 1 or not math.isfinite(floor) or max_drop < 0:
        raise InputError(
            f"batch_size={batch_size}, most_images={most_images}, floor={floor}, "
            f"max_drop={max_drop}: numbers from 1, 1, a finite one and 0 are needed."
        )
    out = refuse_existing(tuned_path(path), force)
    plain = Predictor(Session(path, "cpu"), batch_size)
    fixed = plain.session.input_shape[0]
    if fixed and batch_size != fixed:
        raise InputError(f"{path} takes batches of {fixed} alone: batch_size={fixed}.")
    evaluation_images, labels = _evaluation_images(
        plain, batch_size, images, most_images, input_size
    )
    first = next(plain.batches(evaluation_images))
    timed = np.resize(first, (batch_size, *first.shape[1:]))
    within = functools.partial(
        _within,
        evaluation_images=evaluation_images,
        expected=plain.outputs(evaluation_images),
        labels=labels,
        floor=floor,
        max_drop=max_drop,
    )
    entries = [one for one in enter(path, kinds(batch_size), timed) if within(one)]
    if not entries:
        raise InputError(f"{path} gives no finite outputs on the CPU.")
    fastest = race(entries)
    tried = [one for kind in fastest for one in variants(kind)]
    # An option may change the numbers: then the kind itself stays.
    ranked = race(enter(path, tried, timed))
    best = next((one for one in ranked if within(one)), fastest[0])
    _report(best, out, path, force)
    return best.settings


def _within(
    entry: Entry, *, evaluation_images, expected, labels, floor, max_drop
) -> bool:
    """Whether the entry is accurate enough; says so where it is not."""
    predictor = Predictor(entry.session, entry.settings.batch)
    found = judge(expected, predictor.outputs(evaluation_images), labels)
    entry.judgement = found
    if found.drop_points is not None:
        finite = found.snr_db > -math.inf
        good = finite and found.drop_points <= max_drop
        said = f"-{found.drop_points:.2f} points" if finite else "not finite"
    else:
        good, said = found.snr_db >= floor, f"{found.snr_db:.1f} dB"
    if not good:
        print(f"not accurate enough: {name_of(entry.settings)} ({said})")
    return good


def _evaluation_images(
    predictor: Predictor,
    batch_size: int,
    images: Path | str | None,
    most: int,
    input_size: Sequence[int],
) -> tuple[Any, np.ndarray | None]:
    """Images as the predictor takes them, and labels where they are known."""
    session, record = predictor.session, predictor.preprocessing
    if images is not None:
        channels = session.input_shape[1 if predictor.channels_first else -1]
        return read_images(images, most, channels)
    print("warning: without --images it is judged by noise, which tells less")
    if record is not None:
        shape = [*record.size, len(record.mean)]
    else:
        shape = image_shape(session, input_size)
        shape = [*shape[1:], shape[0]] if predictor.channels_first else shape
    count = max(RANDOM_IMAGES, batch_size)
    return random_images(count, shape, predictor.dtype), None


def _report(best: Entry, out: Path, path: str | Path, force: bool) -> None:
    ran, judged = best.session.ran, best.judgement
    measured = {
        **{k: best.row[k] for k in MEASURED},
        "ran": ran,
        "accuracy": asdict(judged) | {"snr_db": _finite(judged.snr_db)},
    }
    write_settings(best.settings, path, out, measured, force)
    print(f"{path}: {name_of(best.settings)}")
    print(
        f"  {best.milliseconds:.3f} ms a batch of {best.settings.batch}; ran on "
        f"{ran['provider']} in {ran['precision']}; SNR {judged.snr_db:.1f} dB over "
        f"{judged.images} images"
    )
    if contended := best.row["contended"]:
        print(
            f"warning: {contended} of {best.row['n']} calls ran while other processes "
            "were busy; tune on a quiet machine"
        )
    print(f"wrote {out}")


def _finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Finds the fastest provider, threads and options for ONNX files on this machine.

    Writes them to <name>.tuned.json beside each file, where export.runtime.load finds
    them.
    """

    paths: Positional[tuple[Path, ...]]
    """The .onnx files."""
    batch_size: int = 1
    """Images a call in the service."""
    images: Path | None = None
    """Real images to judge by: a folder, or an .npz with `images` and perhaps
    `labels`. Default: noise, which tells less."""
    most_images: int = 256
    """The first so many of them are used."""
    floor: float = 30.0
    """Signal-to-noise ratio in dB against the plain run of the file on the CPU, to be
    reached where there are no labels."""
    max_drop: float = 0.5
    """Percentage points of top-1 accuracy that may be lost where there are labels."""
    input_size: tuple[int, ...] = ()
    """Height and width, or one number for both, of files that take any size."""
    force: bool = False
    """Replace existing settings."""


def main(args: Sequence[str] | None = None) -> None:
    """The command line; `args` in place of sys.argv."""
    flags = vars(parse(Flags, args, prog="python -m export.tune"))
    paths = flags.pop("paths")
    if not paths:
        raise InputError("paths: one .onnx file or more is needed.")
    for path in paths:
        refuse_existing(tuned_path(path), flags["force"])
    for path in paths:
        tune(path, **flags)


if __name__ == "__main__":
    run(main)
