"""Latency of one model by every route, beside keras.applications, interleaved.

    python benchmarks/latency.py
    python benchmarks/latency.py runs/digits/best.keras --batch-sizes 1 32 --out latency

Five minutes on 2 cores. The first line holds this package's ResNet-50 (v1.5) and
resnet50_v1, which is keras.applications' architecture but for its biases, against
keras.applications' ResNet50, random weights and batch norm statistics. Each goes
through

    onnx        onnxruntime; the file from `export.onnx`, of keras.applications' model
                from its own `model.export(format="onnx")`
    savedmodel  TensorFlow; the folder from `export.savedmodel` or `model.export`
    predict     Keras, `model.predict`
    call        Keras, `model(images)`, eager

with the same float32 images from a numpy array to a numpy array, the same number of
threads, in one process. That all routes of a model give the same output is checked
before anything is timed.
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tyro.conf import Positional

from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError

PEERS = "keras.applications."
TOLERANCE = 1e-4  # of the outputs' spread, as `export.parity.verify` has it


@dataclass(frozen=True)
class Flags:
    """Times Keras, SavedModel and ONNX Runtime side by side."""

    models: Positional[tuple[str, ...]] = (
        "resnet50",
        "resnet50_v1",
        "keras.applications.ResNet50",
    )
    """Names of architectures, `keras.applications.` names, or .keras files."""
    batch_sizes: tuple[int, ...] = (1, 8)
    """Images a call."""
    threads: int = os.cpu_count() or 1
    """Of one operator, for TensorFlow and onnxruntime alike."""
    min_seconds: float = 3.0
    """Each candidate is timed that long,"""
    min_repetitions: int = 11
    """and that often."""
    out: Path = Path("benchmarks/results/latency")
    """Path without suffix of the results."""
    force: bool = False
    """Replace existing results."""


def main(args: Sequence[str] | None = None) -> None:
    flags = parse(Flags, args)
    from export.benchmark.results import refuse_results, write_results

    refuse_results(flags.out, flags.force)
    import tensorflow as tf

    from export.benchmark.measure import measure
    from export.benchmark.tables import table
    from keras_resnet.common.fingerprint import fingerprint

    tf.config.threading.set_intra_op_parallelism_threads(flags.threads)
    machine = fingerprint()
    with tempfile.TemporaryDirectory() as folder:
        candidates = []
        for i, name in enumerate(flags.models):
            candidates += _candidates(name, Path(folder) / str(i), flags)
        rows = measure(
            candidates,
            warmup_repetitions=3,
            min_seconds=flags.min_seconds,
            min_repetitions=flags.min_repetitions,
        )
    print(table(rows))
    write_results(rows, flags.out, machine, flags.force)


def _candidates(name: str, folder: Path, flags: Flags) -> list:
    import numpy as np

    from export.benchmark.measure import Candidate
    from export.parity.compare import max_rel

    model = _model(name)
    shape = [size or 224 for size in model.input_shape[1:]]
    images = np.random.default_rng(0).normal(size=(max(flags.batch_sizes), *shape))
    images = images.astype(np.float32)
    expected = model(images[:2], training=False).numpy()  # Keras exports after a call
    routes = _routes(model, name, folder, flags.threads)
    for route, call in routes.items():
        difference = max_rel(expected, call(images[:2]))
        if difference > TOLERANCE:
            raise InputError(
                f"models: {name} by {route} differs from Keras by {difference:.1e} of "
                f"the outputs' spread; {TOLERANCE:.0e} is allowed, and a .keras file "
                "has to give logits."
            )
    return [
        Candidate(
            {"model": name, "route": route, "threads": flags.threads},
            batch,
            partial(call, images[:batch]),
        )
        for route, call in routes.items()
        for batch in flags.batch_sizes
    ]


def _model(name: str):
    """A Keras model that gives logits."""
    import keras

    import keras_resnet
    from export.model.source import randomize_normalization
    from keras_resnet.saving import load_model

    if Path(name).suffix == ".keras":
        return load_model(name)
    keras.utils.set_random_seed(0)
    if name.startswith(PEERS):
        builder = getattr(keras.applications, name.removeprefix(PEERS), None)
        if builder is None:
            raise InputError(f"models: keras.applications has no {name!r}.")
        model = builder(weights=None, classifier_activation=None)
    else:
        model = keras_resnet.build(name, classifier_activation=None)
    randomize_normalization(model)
    return model


def _routes(model, name: str, folder: Path, threads: int) -> dict[str, Callable]:
    """Functions of a numpy array that return one; says how long exporting took."""
    from export import ExportConfig, export
    from export.runtime import Session

    onnx, saved = folder / "model.onnx", folder / "saved"
    folder.mkdir()
    peer = name.startswith(PEERS)
    ours = ExportConfig(output="logits", verify=False, verbose=False)
    start = time.perf_counter()
    if peer:
        model.export(onnx, format="onnx", verbose=False)
    else:
        export(model, onnx, ours)
    print(f"{name}: ONNX file written in {time.perf_counter() - start:.1f} s")
    if peer:
        model.export(saved, verbose=False)
    else:
        export(model, saved, ours)
    return {
        "onnx": Session(onnx, "cpu", threads).run,
        "savedmodel": _served(saved),
        "predict": partial(model.predict, verbose=0),
        "call": lambda images: model(images, training=False).numpy(),
    }


def _served(folder: Path) -> Callable:
    """The SavedModel's default signature, from array to array."""
    import tensorflow as tf

    loaded = tf.saved_model.load(folder)
    signature = loaded.signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]

    def call(images):
        (output,) = signature(**{name: tf.constant(images)}).values()
        return output.numpy()

    call.loaded = loaded  # the signature alone does not keep its variables alive
    return call


if __name__ == "__main__":
    run(main)
