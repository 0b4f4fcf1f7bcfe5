"""What `export.benchmark` times: sessions of files, and what is said of each."""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.benchmark.coldstart import measure_cold
from export.benchmark.measure import Candidate
from export.benchmark.tables import LARGEST, names_of_files
from export.runtime.providers import AUTO, provider_names, short_name, why_not
from export.runtime.session import Session
from keras_resnet.common.errors import InputError
from keras_resnet.common.fingerprint import sha256
from keras_resnet.common.progress import Progress

ON_DEVICE = ("cuda", "tensorrt")  # where copies between host and device take time
# As asked for; the providers, best first, or "auto"; OpenVINO's precision.
Stack = tuple[str, list[str] | str, str | None]
LOWER = {"bfloat16", "float16"}  # precisions that a provider may choose by itself
SETS = ("real", "noise")  # of images in a file's proof, the most telling first


@dataclass(frozen=True)
class Case:
    """A file with a provider and a number of threads.

    Attributes:
        path: of the file.
        name: of the file, unlike that of every other.
        provider: as it was asked for.
        options: of `Session`.
        inputs: images of each batch, the smallest first.
    """

    path: Path
    name: str
    provider: str
    options: dict[str, Any]
    inputs: list[np.ndarray]


def cases_of(
    paths: Sequence[Path],
    providers: Sequence[str],
    threads: Sequence[int],
    batch_sizes: Sequence[int],
    input_size: Sequence[int],
    settings: dict[str, Any],
) -> list[Case]:
    """Every file with every provider and number of threads.

    Args:
        paths: .onnx files.
        providers, threads, batch_sizes, input_size: as `export.benchmark` takes them.
        settings: further arguments of `export.runtime.session.Session`.

    Raises:
        InputError: a file, a provider or a size that cannot be used.
    """
    stacks = _stacks(providers)
    paths = list(dict.fromkeys(paths))
    names = dict(zip(paths, names_of_files(paths), strict=True))
    inputs = {path: _inputs(path, batch_sizes, input_size) for path in paths}
    return [
        Case(
            path,
            names[path],
            label,
            {
                "providers": stack,
                "threads": count,
                "precision": precision,
                "largest_input": list(inputs[path][-1].shape),
                **settings,
            },
            inputs[path],
        )
        for path, (label, stack, precision), count in itertools.product(
            paths, stacks, dict.fromkeys(threads or [None])
        )
    ]


def prepare(
    cases: Sequence[Case], required: str | None, cold_starts: int
) -> tuple[list[Candidate], list[dict[str, Any]]]:
    """The candidates, and what is to be said of each beside its times.

    Each case is tried first. Then come the cold starts, while this process holds no
    session of its own, and then the sessions that are timed.

    Args:
        cases: of `cases_of`.
        required: a provider on which each file must run, or None.
        cold_starts: processes of each case.

    Raises:
        InputError: a case does not load, or no case of a file runs as required.
    """
    # Nothing is shown where it takes less than a second.
    with Progress(cases, desc="loading", leave=False, delay=1) as bar:
        known = [model_facts(Session(case.path, **case.options)) for case in bar]
    require(required, known)
    with Progress(cases, desc="cold starts", leave=False, delay=1) as bar:
        cold = [
            measure_cold(case.path, case.options, case.inputs, cold_starts)
            for case in bar
        ]
    candidates, descriptions = [], []
    for case, facts, starts in zip(cases, known, cold, strict=True):
        found = _candidates(case, facts)
        candidates += found
        descriptions += [{**starts[one.batch], **facts} for one in found]
    return candidates, descriptions


def _stacks(providers: Sequence[str]) -> list[Stack]:
    """Every stack to be measured; says what "auto" leaves out."""
    stacks = []
    for one in providers:
        if one != "auto":
            stacks.append(parse_stack(one))
            continue
        reasons = {name: why_not(name) for name in AUTO}
        for name, why in reasons.items():
            if why:
                print(f"without {name}: {why}")
        loading = [name for name, why in reasons.items() if not why]
        tails = (loading[i:] for i in range(len(loading)))
        stacks += [("+".join(names), names, None) for names in tails]
    return list({label: (label, *rest) for label, *rest in stacks}.values())


def parse_stack(text: str) -> Stack:
    """ "openvino:bfloat16+cpu" as providers, best first, and OpenVINO's precision.

    Raises:
        InputError: a name that onnxruntime does not know, or two precisions.
    """
    parts = [part.partition(":") for part in text.split("+")]
    precisions = [precision for _, colon, precision in parts if colon]
    if len(precisions) > 1:
        raise InputError(
            f"providers: {text!r} names {len(precisions)} precisions; one is accepted, "
            "as in openvino:bfloat16+cpu."
        )
    names = "auto" if text == "auto" else provider_names([name for name, _, _ in parts])
    return text, names, precisions[0] if precisions else None


def _inputs(
    path: Path, batch_sizes: Sequence[int], input_size: Sequence[int]
) -> list[np.ndarray]:
    """Random images for each batch size, in ascending order, as the file takes them."""
    session = Session(path, "cpu")
    image = image_shape(session, input_size)
    batch = session.input_shape[0]
    if batch is not None and set(batch_sizes) != {batch}:
        raise InputError(
            f"{path} takes batches of {batch} alone: --batch-sizes {batch}."
        )
    images = random_images(max(batch_sizes), image, session.input_dtype)
    return [images[:size] for size in sorted(set(batch_sizes))]


def image_shape(session: Session, input_size: Sequence[int]) -> list[int]:
    """The shape of one image, (H, W, C) or (C, H, W), as the file takes it.

    Args:
        session: of the file.
        input_size: height and width, or one number for both, where the file leaves
            them open; else empty.

    Raises:
        InputError: too few numbers, or too many.
    """
    path = session.path
    if not session.input_shape:
        raise InputError(f"{path} does not say what shape its input has.")
    image = session.input_shape[1:]
    free = image.count(None)
    if free and len(input_size) not in (1, free):
        raise InputError(
            f"{path} takes images of any size: input_size needs 1 number or {free}, "
            f"received {len(input_size)}."
        )
    if input_size and not free:
        raise InputError(f"input_size: {path} takes images of {list(image)} alone.")
    sizes = iter([*input_size] * free)
    return [next(sizes) if size is None else size for size in image]


def random_images(count: int, image: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """`count` images, uniform from 0 to 255, always the same.

    Raises:
        InputError: memory does not hold them.
    """
    try:
        images = np.random.default_rng(0).random((count, *image), np.float32)
    except (MemoryError, ValueError) as error:
        raise InputError(
            f"out of memory with {count} images of {tuple(image)}: {error}."
        ) from error
    images *= 255
    return images.astype(dtype, copy=False)


def _candidates(case: Case, facts: dict[str, Any]) -> list[Candidate]:
    """Host to host for every batch; on a GPU beside it without the copies.

    On the CPU onnxruntime reads the caller's array where it lies: there is no copy to
    leave out, and bound and unbound runs were measured alike.
    """
    session = Session(case.path, **case.options)
    ran = facts["ran_provider"], facts["ran_precision"]
    labels = {
        "model": case.name,
        "provider": case.provider,
        "ran": " ".join(filter(None, ran)),
        "threads": case.options["threads"] or "default",
        "timing": "host",
    }
    found = []
    for images in case.inputs:
        call = functools.partial(session.run, images)
        found.append(Candidate(labels, len(images), call))
        if ran[0] in ON_DEVICE:
            on_device = labels | {"timing": "device"}
            found.append(Candidate(on_device, len(images), session.bind(images)))
    return found


def model_facts(session: Session) -> dict[str, Any]:
    """What a row says of its file and session beside the numbers."""
    metadata, ran = session.metadata, session.ran
    precision = _told(metadata, str, "precision")
    # What the exporter measured says nothing of a run in a lower precision.
    computed = {*ran["precisions"], *ran["others"]}
    proven = {} if (LOWER & computed) - {precision} else metadata
    return {
        "file": str(session.path),
        "bytes": session.path.stat().st_size,
        "sha256": sha256(session.path),
        "input_shape": list(session.input_shape),
        "input_dtype": str(session.input_dtype),
        "loaded": [short_name(name) for name in session.providers],
        "architecture": _told(metadata, str, "architecture"),
        "file_precision": precision,
        "top1": _told(proven, float | int, "accuracy", "exported", "top1"),
        "accuracy_data": _told(proven, str, "accuracy", "data"),
        "snr_db": _snr(proven),
        **{f"ran_{name}": value for name, value in ran.items()},
        # A thousand names of classes tell nothing of a latency.
        "metadata": {k: v for k, v in metadata.items() if k != "labels"},
    }


def _snr(metadata: dict[str, Any]) -> float | None:
    """Of the most telling set of images that the proof has."""
    figures = (
        _told(metadata, float | int, "parity", "sets", name, "snr_db") for name in SETS
    )
    return next((one for one in figures if one is not None), None)


def _told(metadata: Any, kind: type, *keys: str) -> Any:
    """What a file tells under nested keys, if it is of that kind; None otherwise."""
    for key in keys:
        metadata = metadata.get(key) if isinstance(metadata, dict) else None
    fits = isinstance(metadata, kind) and not isinstance(metadata, bool)
    return metadata if fits and (kind is str or abs(metadata) <= LARGEST) else None


def require(provider: str | None, descriptions: Sequence[dict[str, Any]]) -> None:
    """An InputError where a file has no candidate that runs on the provider.

    Args:
        provider: its name, or None.
        descriptions: of `prepare`.
    """
    if provider is None:
        return
    (provider,) = provider_names(provider)
    ran: dict[str, set[str]] = {}
    for one in descriptions:
        ran.setdefault(one["file"], set()).add(one["ran_provider"])
    for file, names in ran.items():
        if provider not in names:
            raise InputError(
                f"require_provider={provider}: {file} ran on "
                f"{', '.join(sorted(names))} alone."
            )
