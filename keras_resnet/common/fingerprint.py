"""Which machine and which versions a result was made with. Imports none of them."""

import contextlib
import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

PACKAGES = (
    "keras",
    "tensorflow",
    "jax",
    "torch",
    "tensorflow-datasets",
    "numpy",
    "onnxruntime-gpu",
    "onnxruntime",
    "onnxruntime-ep-openvino",
    "openvino",
    "onnx",
    "tensorrt",
    "mlcommons-loadgen",
    "matplotlib",
)


def fingerprint() -> dict[str, Any]:
    """The machine and the installed versions, as they are now; no host or user name.

    Returns:
        `time` (UTC), `cpu`, `cores` (physical), `logical_cores`, `usable_cores` (of
        this process), `governor` (None where it cannot be read), `memory_gib`, `os`,
        `load_average` (over a minute), `gpus` and `driver` (from nvidia-smi),
        `python` and the versions of the packages that are installed.
    """
    gpus, drivers = _gpus()
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(),
        "usable_cores": _usable_cores(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "os": platform.platform(),
        "load_average": psutil.getloadavg()[0],
        "gpus": gpus,
        "driver": drivers[0] if drivers else None,
        "python": platform.python_version(),
        **installed_versions(PACKAGES),
    }


def sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cpu_model() -> str:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _usable_cores() -> int | None:
    # macOS has no affinity.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _gpus() -> tuple[list[str], list[str]]:
    """Names of the GPUs and their drivers' versions; empty without nvidia-smi."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return [], []
    if answer.returncode:
        return [], []
    pairs = [line.rsplit(", ", 1) for line in answer.stdout.strip().splitlines()]
    return [name for name, _ in pairs], [driver for _, driver in pairs]


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """The version of each of the packages that is installed, by its name."""
    versions = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions
