"""The system under test of `export.loadgen`: answers LoadGen's queries.

A process of its own, which takes its request as JSON. LoadGen reads MLPerf's settings
once a process, and cannot be stopped by an error or Ctrl-C in the midst of a test.
"""

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np

from export.benchmark.candidates import random_images
from export.benchmark.measure import watch_others
from export.runtime.session import Session
from keras_resnet.images.files import check_images, read_npz

WARMUP_SECONDS = 1.0
WARMUP_CALLS = 5
MLPERF_MODEL = "resnet50"  # whose settings LoadGen holds


class SystemUnderTest:
    """Runs a session on images in memory and hands LoadGen each image's output."""

    def __init__(self, session: Session, images: np.ndarray, batch: int):
        import mlperf_loadgen

        self.loadgen = mlperf_loadgen
        self.session, self.images, self.batch = session, images, batch
        self._waiting: queue.SimpleQueue = queue.SimpleQueue()

    def answer(self, samples: Sequence) -> None:
        """Computes the samples, `batch` at a time, before it returns."""
        for start in range(0, len(samples), self.batch):
            batch = samples[start : start + self.batch]
            outputs = self.session.run(self.images[[sample.index for sample in batch]])
            if isinstance(outputs, dict):  # LoadGen is handed the first of the outputs
                outputs = next(iter(outputs.values()))
            outputs = np.ascontiguousarray(outputs)
            self.loadgen.QuerySamplesComplete(
                [
                    self.loadgen.QuerySampleResponse(
                        sample.id, output.ctypes.data, output.nbytes
                    )
                    for sample, output in zip(batch, outputs, strict=True)
                ]
            )

    def enqueue(self, samples: Sequence) -> None:
        """Leaves the samples to `serve` and returns at once."""
        for sample in samples:
            self._waiting.put(sample)

    def serve(self) -> None:
        """Answers what waits, as many at a time as there are and fit, for ever."""
        while True:
            samples = [self._waiting.get()]
            while len(samples) < self.batch and not self._waiting.empty():
                samples.append(self._waiting.get())
            self.answer(samples)

    def seconds_a_call(self) -> float:
        """Of a full batch, once warm."""
        times: list[float] = []
        inputs = self.images[np.arange(self.batch) % len(self.images)]
        end = time.perf_counter() + WARMUP_SECONDS
        while time.perf_counter() < end or len(times) < WARMUP_CALLS:
            start = time.perf_counter()
            self.session.run(inputs)
            times.append(time.perf_counter() - start)
        return median(times)


def read_images(
    path: str | os.PathLike | None, count: int, image: Sequence[int], dtype: np.dtype
) -> np.ndarray:
    """The first images of an .npz, refused if of another shape; or random images."""
    if path is None:
        return random_images(count, image, dtype)
    images, _ = read_npz(path, count)
    check_images(images, image, dtype, source=path)
    return images


def run_test(request: dict[str, Any]) -> None:
    """Runs LoadGen; its logs go to the request's folder."""
    import mlperf_loadgen as loadgen

    scenario = request["scenario"]
    session = Session(request["file"], **request["options"])
    images = read_images(
        request["images"], request["samples"], request["image"], session.input_dtype
    )
    system = SystemUnderTest(session, images, request["batch"])
    settings = _settings(request, len(images), system.seconds_a_call())
    issue = system.answer
    if scenario == "Server":
        issue = system.enqueue
        threading.Thread(target=_or_end(system.serve), daemon=True).start()
    logs = loadgen.LogSettings()
    logs.log_output.outdir = request["folder"]
    logs.log_output.copy_summary_to_stdout = False
    logs.enable_trace = False
    under_test = loadgen.ConstructSUT(_or_end(issue), lambda: None)
    # The images are in memory before and stay there.
    library = loadgen.ConstructQSL(
        len(images), len(images), lambda indices: None, lambda indices: None
    )
    others_share = watch_others()
    loadgen.StartTestWithLogSettings(under_test, library, settings, logs, "")
    print(json.dumps({"others_share": round(others_share(), 4)}))
    loadgen.DestroyQSL(library)
    loadgen.DestroySUT(under_test)


def _settings(request: dict[str, Any], count: int, seconds: float):
    """LoadGen's own for the scenario, `count` images and `seconds` a call, with what
    the request changes."""
    import mlperf_loadgen as loadgen

    settings = loadgen.TestSettings()
    settings.FromConfig("", MLPERF_MODEL, request["scenario"], 0)
    settings.scenario = getattr(loadgen.TestScenario, request["scenario"])
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.performance_sample_count_override = count
    for name, value in request["settings"].items():
        setattr(settings, name, value)
    # From these LoadGen reckons how many queries fill the duration: one that were to
    # run faster than it did in warming up would not last.
    least = 0.8 * seconds
    settings.single_stream_expected_latency_ns = least * 1e9
    settings.multi_stream_expected_latency_ns = least * 1e9
    settings.offline_expected_qps = request["batch"] / least
    return settings


def _or_end(call: Callable) -> Callable:
    """`call`, but an exception ends the process: LoadGen would crash, or wait on."""

    def guarded(*args):
        try:
            return call(*args)
        except BaseException as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
            os._exit(2)

    return guarded


def main() -> None:
    run_test(json.loads(sys.argv[1]))


if __name__ == "__main__":
    from keras_resnet.common.command import run

    run(main)
