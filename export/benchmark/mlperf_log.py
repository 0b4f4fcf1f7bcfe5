"""What LoadGen's logs of a run say, in our units."""

import json
from pathlib import Path
from typing import Any

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


def read_detail(path: Path) -> dict[str, Any]:
    """Key to value of LoadGen's detailed log; of a key told twice, the last."""
    start = ":::MLLOG "
    lines = path.read_text().splitlines()
    told = (json.loads(line.removeprefix(start)) for line in lines if start in line)
    return {one["key"]: one["value"] for one in told}


def row_of(scenario: str, told: dict[str, Any]) -> dict[str, Any]:
    """What LoadGen found, in our units.

    Args:
        scenario: its name.
        told: of `read_detail`.
    """
    key, name, divisor = METRICS[scenario]
    each = "_per_query" if scenario == "MultiStream" else ""
    latencies = {
        name: told[f"result_{percentile}_percentile{each}_latency_ns"]
        for name, percentile in PERCENTILES.items()
    }
    mean = "result_mean_query_latency_ns" if each else "result_mean_latency_ns"
    return {
        "valid": told["result_validity"] == "VALID",
        "invalid_because": str(told.get("result_invalid_reason", "")).strip(),
        "early_stopping": told["early_stopping_result"].strip(),
        # Nought stands for an estimate that wants more queries.
        "metric": {name: told[key] / divisor if told[key] else None},
        "queries": told["result_query_count"],
        **{one: round(value / 1e6, 4) for one, value in latencies.items()},
        "mean_ms": round(told[mean] / 1e6, 4),
        "loadgen": told["loadgen_version"],
        "loadgen_settings": {
            one.removeprefix("effective_"): value
            for one, value in told.items()
            if one.startswith("effective_")
        },
    }
