"""What `export.benchmark` times: sessions of files, and what is known of each."""

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.benchmark.coldstart import measure_cold
from export.benchmark.measure import Candidate
from export.benchmark.tables import names_of_files, number
from export.runtime.providers import AUTO, provider_names, short_name, why_not
from export.runtime.session import Session
from keras_resnet.common.errors import InputError
from keras_resnet.common.fingerprint import sha256
from keras_resnet.common.progress import Progress

ON_DEVICE = ("cuda", "tensorrt")  # where copies between host and device take time
LOWER = {"bfloat16", "float16"}  # precisions that a provider may choose by itself
SETS = ("real", "noise")  # of images in a file's parity, the most telling first


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


def list_cases(
    paths: Sequence[Path],
    providers: Sequence[str],
    threads: Sequence[int],
    batch_sizes: Sequence[int],
    input_size: Sequence[int],
    settings: dict[str, Any],
) -> list[Case]:
    """Every file with every provider and number of threads, as `benchmark` takes them.

    Args:
        settings: further arguments of `Session`.
    """
    stacks = _stacks(providers)
    paths = list(dict.fromkeys(paths))
    names = dict(zip(paths, names_of_files(paths), strict=True))
    inputs = {path: _inputs(path, batch_sizes, input_size) for path in paths}
    cases = []
    for path, (provider, stack), count in itertools.product(
        paths, stacks.items(), dict.fromkeys(threads or [None])
    ):
        largest = list(inputs[path][-1].shape)
        options = {**stack, "threads": count, "largest_input": largest, **settings}
        cases.append(Case(path, names[path], provider, options, inputs[path]))
    return cases


def prepare(
    cases: Sequence[Case], required: str | None, cold_starts: int
) -> list[Candidate]:
    """The candidates, with what is known of each beside its times.

    Each case is tried first, and whether each file runs on the required provider. Then
    come the cold starts, while this process holds no session of its own, and then the
    sessions that are timed.
    """
    # Nothing is shown where it takes less than a second.
    with Progress(cases, desc="loading", leave=False, delay=1) as bar:
        facts = [model_facts(Session(case.path, **case.options)) for case in bar]
    require_provider(required, facts)
    with Progress(cases, desc="cold starts", leave=False, delay=1) as bar:
        cold = [
            measure_cold(case.path, case.options, case.inputs, cold_starts)
            for case in bar
        ]
    return [
        candidate
        for case, known, starts in zip(cases, facts, cold, strict=True)
        for candidate in _candidates(case, known, starts)
    ]


def _candidates(
    case: Case, facts: dict[str, Any], starts: dict[int, dict[str, Any]]
) -> Iterable[Candidate]:
    """Host to host for every batch; on a GPU beside it without the copies.

    On the CPU onnxruntime reads the caller's array where it lies: there is no copy to
    leave out, and bound and unbound runs were measured alike.
    """
    session = Session(case.path, **case.options)
    provider, precision = facts["ran_provider"], facts["ran_precision"]
    labels = {
        "model": case.name,
        "provider": case.provider,
        "ran": " ".join(filter(None, (provider, precision))),
        "threads": case.options["threads"] or "default",
    }
    for images in case.inputs:
        batch = len(images)
        calls: dict[str, Callable] = {"host": functools.partial(session.run, images)}
        if provider in ON_DEVICE:
            calls["device"] = session.bind(images)
        for timing, call in calls.items():
            known = {**starts[batch], **facts}
            yield Candidate({**labels, "timing": timing}, batch, call, facts=known)


def _stacks(providers: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Each stack of providers as arguments of `Session`; prints what "auto" lacks."""
    stacks = {}
    for text in providers:
        if text != "auto":
            stacks[text] = parse_stack(text)
            continue
        reasons = {name: why_not(name) for name in AUTO}
        for name, why in reasons.items():
            if why:
                print(f"without {name}: {why}")
        loading = [name for name, why in reasons.items() if not why]
        for i in range(len(loading)):  # each helped by the slower ones
            stack = "+".join(loading[i:])
            stacks[stack] = parse_stack(stack)
    return stacks


def parse_stack(text: str) -> dict[str, Any]:
    """ "openvino:bfloat16+cpu" as `providers`, best first, and `precision`.

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
    return {"providers": names, "precision": precisions[0] if precisions else None}


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

    `input_size` is height and width, or one number for both, where the file leaves
    them open; else empty.
    """
    path = session.name
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
    """`count` images, uniform from 0 to 255, always the same."""
    try:
        images = np.random.default_rng(0).random((count, *image), np.float32)
    except (MemoryError, ValueError) as error:
        raise InputError(
            f"out of memory with {count} images of {tuple(image)}: {error}."
        ) from error
    images *= 255
    return images.astype(dtype, copy=False)


def model_facts(session: Session) -> dict[str, Any]:
    """What a row says of its file and session beside the numbers."""
    metadata, ran = session.metadata, session.ran
    precision = _text(metadata, "precision")
    # What the exporter measured says nothing of a run in a lower precision.
    computed = {*ran["precisions"], *ran["others"]}
    measured = {} if (LOWER & computed) - {precision} else metadata
    snrs = [number(_value(measured, "parity", "sets", name, "snr_db")) for name in SETS]
    return {
        "file": session.name,
        "bytes": Path(session.name).stat().st_size,
        "sha256": sha256(session.name),
        "input_shape": list(session.input_shape),
        "input_dtype": str(session.input_dtype),
        "loaded": [short_name(name) for name in session.providers],
        "architecture": _text(metadata, "architecture"),
        "file_precision": precision,
        "top1": number(_value(measured, "accuracy", "exported", "top1")),
        "accuracy_data": _text(measured, "accuracy", "data"),
        "snr_db": next((snr for snr in snrs if snr is not None), None),
        **{f"ran_{name}": value for name, value in ran.items()},
        # A thousand names of classes tell nothing of a latency.
        "metadata": {k: v for k, v in metadata.items() if k != "labels"},
    }


def _value(metadata: Any, *keys: str) -> Any:
    """What a file has under nested keys, of whatever kind; None otherwise."""
    for key in keys:
        metadata = metadata.get(key) if isinstance(metadata, dict) else None
    return metadata


def _text(metadata: Any, *keys: str) -> str | None:
    value = _value(metadata, *keys)
    return value if isinstance(value, str) else None


def require_provider(name: str | None, facts: Sequence[dict[str, Any]]) -> None:
    """An InputError where a file ran on the provider in none of the `model_facts`."""
    if name is None:
        return
    (name,) = provider_names(name)
    for file in dict.fromkeys(known["file"] for known in facts):
        ran = {known["ran_provider"] for known in facts if known["file"] == file}
        if name not in ran:
            names = ", ".join(sorted(ran))
            raise InputError(f"require_provider={name}: {file} ran on {names} alone.")
