"""MLPerf LoadGen's scenarios on an ONNX file, with LoadGen's own logs.

    python -m export.loadgen resnet50.onnx --scenario SingleStream
    python -m export.loadgen resnet50.onnx --scenario Server --target-qps 20
    python -m export.loadgen resnet50.onnx --scenario Offline --batch 16 --seconds 60

LoadGen (pip install mlcommons-loadgen) issues the queries, takes the times and says
whether the run is valid; `under_test` answers with real runs of the file
on images that lie in memory. Durations, counts and seeds are those that LoadGen
itself holds for MLPerf's ResNet-50; with others, or with another network or data, a
figure can be set beside MLPerf's, but is no result of MLPerf.

Exit status: 0 for a run that LoadGen calls VALID, 1 for INVALID (the logs are kept), 2
for bad input.
"""

import importlib.util
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from export.benchmark.candidates import (
    image_shape,
    model_facts,
    parse_stack,
    require_provider,
)
from export.benchmark.coldstart import run_module
from export.benchmark.measure import CONTENDED
from export.benchmark.under_test import read_images
from export.runtime.session import Session
from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import refuse_existing, refuse_foreign, write_beside
from keras_resnet.common.fingerprint import fingerprint
from keras_resnet.common.numbers import check_number
from keras_resnet.common.progress import Progress

RESULT = "result.json"
DETAIL, SUMMARY = "mlperf_log_detail.txt", "mlperf_log_summary.txt"
LOGS = {DETAIL, SUMMARY, "mlperf_log_accuracy.json", "mlperf_log_trace.json"}
PERCENTILES = {  # our names, and LoadGen's
    f"p{text.rstrip('0').rstrip('.').replace('.', '_')}_ms": text
    for text in ("50.00", "90.00", "95.00", "97.00", "99.00", "99.90")
}
METRICS = {  # what MLPerf reports of a scenario: LoadGen's key, our name, its divisor
    "SingleStream": ("early_stopping_latency_ss", "p90_estimate_ms", 1e6),
    "MultiStream": ("early_stopping_latency_ms", "p99_estimate_ms", 1e6),
    "Offline": ("result_samples_per_second", "samples_per_second", 1),
    "Server": ("result_completed_samples_per_sec", "samples_per_second", 1),
}
AT_ONCE = {"SingleStream": 1, "MultiStream": 8}  # images of a query
SERVER = ("target_qps", "target_latency_ms")
MINIMUM = {  # LoadGen counts in whole milliseconds and nanoseconds
    **dict.fromkeys(("samples", "batch", "queries"), 1),
    "seconds": 1e-3,
    "target_qps": 1e-6,
    "target_latency_ms": 1e-6,
}
MAXIMUM = 1e9


@dataclass(frozen=True)
class Flags:
    """Runs a scenario of MLPerf LoadGen on an ONNX file."""

    file: Positional[Path]
    """The .onnx file."""
    scenario: Literal["SingleStream", "MultiStream", "Offline", "Server"] = (
        "SingleStream"
    )
    """One image at a time; eight at a time; all at once; or arriving by chance."""
    provider: str = "auto"
    """As --providers of export.benchmark: cpu, cuda+cpu, openvino:bfloat16 ..."""
    require_provider: str | None = None
    """An error where the file does not run on this one."""
    threads: int | None = None
    """Of one operator on the CPU; onnxruntime's choice where none is given."""
    spinning: bool = True
    """Idle threads wait busily: best on a quiet machine, bad on a shared."""
    input_size: tuple[int, ...] = ()
    """Height and width, or one number for both, of files that take any size."""
    images: Path | None = None
    """An .npz with an array `images`, as the file takes them; else random images."""
    samples: int = 1024
    """Images held in memory, MLPerf's number for ResNet-50."""
    batch: int = 8
    """Most images that Offline and Server compute at a time."""
    seconds: float | None = None
    """The run's shortest duration; MLPerf's is 600."""
    queries: int | None = None
    """The fewest queries (Offline: samples). LoadGen has 100 for SingleStream and
    Server, 662 for MultiStream and 24576 for Offline; its early stopping may want more.
    """
    target_qps: float | None = None
    """Server: queries a second that arrive. Server needs it."""
    target_latency_ms: float | None = None
    """Server: what 99% of the queries must keep to; MLPerf's is 15."""
    out: Path | None = None
    """The folder of the logs and result.json. Default: beside the file."""
    force: bool = False
    """Replace the folder."""


def measure_scenario(flags: Flags) -> dict[str, Any]:
    """Runs the scenario in a process of its own and writes the folder.

    Returns:
        What result.json holds: `valid`, `metric` (what MLPerf reports of the scenario,
        None where LoadGen could not tell), percentiles of the queries' latencies in
        ms, LoadGen's settings and reasons, `others_share`, the part of the processor's
        time that other processes had, the file and the machine.

    Raises:
        InputError: bad input, LoadGen is not installed, or a query failed.
    """
    _check(flags)
    out = flags.out or flags.file.with_name(
        f"{flags.file.stem}-loadgen-{flags.scenario.lower()}"
    )
    refuse_existing(out, flags.force)
    refuse_foreign(out, LOGS | {RESULT}, "is not of a run")
    request, facts = _prepare(flags)
    machine = fingerprint()
    with write_beside(out, flags.force) as part:
        part.mkdir()
        apart = _run_apart({**request, "folder": str(part)}, flags.seconds or 600)
        figures = read_log(part / DETAIL, flags.scenario)
        result = {
            "model": flags.file.stem,
            "provider": flags.provider,
            "scenario": flags.scenario,
            **figures,
            "images": flags.images.name if flags.images else "random",
            "batch": request["batch"],
            **apart,
            "mlperf_settings": not request["settings"] and flags.samples == 1024,
            **facts,
            "machine": machine,
        }
        (part / RESULT).write_text(json.dumps(result, indent=2) + "\n")
        print((part / SUMMARY).read_text())
    print(_line(result))
    print(f"wrote {out}")
    return result


def _check(flags: Flags) -> None:
    if importlib.util.find_spec("mlperf_loadgen") is None:
        raise InputError(
            "MLPerf LoadGen is not installed: pip install "
            "'keras-resnet-applications[loadgen]' or mlcommons-loadgen."
        )
    for name, minimum in MINIMUM.items():
        value = getattr(flags, name)
        if value is not None:
            check_number(name, value, minimum, MAXIMUM)
    for_server = [name for name in SERVER if getattr(flags, name) is not None]
    if flags.scenario == "Server" and flags.target_qps is None:
        raise InputError("scenario=Server: target_qps is needed.")
    if flags.scenario != "Server" and for_server:
        raise InputError(f"{', '.join(for_server)}: scenario Server alone has it.")


def _prepare(flags: Flags) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the process under test is told, and what a row says of the file."""
    options = {
        **parse_stack(flags.provider),
        "threads": flags.threads,
        "spinning": flags.spinning,
    }
    session = Session(flags.file, **options)
    image = image_shape(session, flags.input_size)
    fixed = session.input_shape[0]
    if fixed not in (None, 1):
        raise InputError(
            f"{flags.file} takes batches of {fixed} alone: LoadGen's queries want a "
            "file of any batch, or of 1."
        )
    if flags.images:  # refused here, before the run
        read_images(flags.images, flags.samples, image, session.input_dtype)
    facts = model_facts(session)
    require_provider(flags.require_provider, [facts])
    asked = {
        "min_duration_ms": flags.seconds and round(flags.seconds * 1e3),
        "min_query_count": flags.queries,
        "server_target_qps": flags.target_qps,
        "server_target_latency_ns": flags.target_latency_ms
        and round(flags.target_latency_ms * 1e6),
    }
    return {
        "file": str(flags.file),
        "options": options,
        "scenario": flags.scenario,
        "images": flags.images and str(flags.images),
        "samples": flags.samples,
        "image": image,
        "batch": 1 if fixed == 1 else AT_ONCE.get(flags.scenario, flags.batch),
        "settings": {name: value for name, value in asked.items() if value},
    }, facts


def _run_apart(request: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Runs `under_test`; LoadGen can be stopped with its process alone."""
    form = "{desc} {percentage:3.0f}%|{bar}| {elapsed}"
    start = time.monotonic()
    with Progress(total=seconds, desc=request["scenario"], bar_format=form) as bar:
        return run_module(
            "export.benchmark.under_test",
            request,
            f"{request['file']}: {request['scenario']}",
            lambda: bar.update(min(seconds, time.monotonic() - start) - bar.n),
            every=0.2,
        )


def read_log(path: Path, scenario: str) -> dict[str, Any]:
    """What LoadGen's detailed log says of a run, in our units."""
    start = ":::MLLOG "
    records = [
        json.loads(line.removeprefix(start))
        for line in path.read_text().splitlines()
        if start in line
    ]
    log = {record["key"]: record["value"] for record in records}  # the last of a key
    key, metric, divisor = METRICS[scenario]
    each = "_per_query" if scenario == "MultiStream" else ""
    latencies = {
        name: log[f"result_{percentile}_percentile{each}_latency_ns"]
        for name, percentile in PERCENTILES.items()
    }
    mean = "result_mean_query_latency_ns" if each else "result_mean_latency_ns"
    return {
        "valid": log["result_validity"] == "VALID",
        "invalid_because": str(log.get("result_invalid_reason", "")).strip(),
        "early_stopping": log["early_stopping_result"].strip(),
        # Nought stands for an estimate that wants more queries.
        "metric": {metric: log[key] / divisor if log[key] else None},
        "queries": log["result_query_count"],
        **{name: round(value / 1e6, 4) for name, value in latencies.items()},
        "mean_ms": round(log[mean] / 1e6, 4),
        "loadgen": log["loadgen_version"],
        "loadgen_settings": {
            name.removeprefix("effective_"): value
            for name, value in log.items()
            if name.startswith("effective_")
        },
    }


def _line(result: dict[str, Any]) -> str:
    ((name, value),) = result["metric"].items()
    metric = "not known yet" if value is None else f"{value:.4g}"
    verdict = "VALID" if result["valid"] else "INVALID"
    why = result["invalid_because"] or result["early_stopping"]
    reason = "" if result["valid"] else f": {' '.join(why.split())}"
    if result["others_share"] > CONTENDED:
        reason += (
            f"\nwarning: other processes had {result['others_share']:.0%} of the "
            "processor"
        )
    return (
        f"{result['model']} on {result['ran_provider']} {result['ran_precision']}, "
        f"{result['scenario']}: {name} {metric}, p50 {result['p50_ms']:.3f} ms, p99 "
        f"{result['p99_ms']:.3f} ms, {result['queries']} queries\n{verdict}{reason}"
    )


def main(args: Sequence[str] | None = None) -> None:
    result = measure_scenario(parse(Flags, args, prog="python -m export.loadgen"))
    if not result["valid"]:
        sys.exit(1)


if __name__ == "__main__":
    run(main)
