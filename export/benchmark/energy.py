"""How much energy the machine has used, in joules, where it tells.

Processors: Linux's counters of Intel and AMD packages (RAPL), which many systems let
root alone read and which virtual machines lack. NVIDIA GPUs from Volta on: NVML's
counter, through the package nvidia-ml-py. Both count all that runs there, and the
idle machine too. What concerns GPUs follows NVML's documentation.
"""

from collections.abc import Callable
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
Counter = Callable[[], float]  # joules so far


class Meter:
    """Adds up every counter that this machine lets us read.

    Attributes:
        sources: names of the counters; empty where the machine has none for us.
        missing: why there is no counter of a kind.
    """

    def __init__(self):
        packages, no_package = _packages()
        gpus, no_gpu = _gpus()
        self._counters = {**packages, **gpus}
        self.sources = list(self._counters)
        self.missing = [reason for reason in (no_package, no_gpu) if reason]

    def read(self) -> float | None:
        """Joules since the meter was made or before; None without a counter."""
        if not self._counters:
            return None
        return sum(counter() for counter in self._counters.values())


def _packages() -> tuple[dict[str, Counter], str]:
    """A counter for each processor package, or why there is none."""
    # intel-rapl:0:0 is a part of intel-rapl:0; intel-rapl-mmio:0 counts the same again,
    # and so does the zone of the whole platform, psys.
    counters = {}
    try:
        for zone in sorted(POWERCAP.glob("intel-rapl:*")):
            name = (zone / "name").read_text().strip()
            if name.startswith("package"):
                counters[f"{zone.name} {name}"] = _zone_counter(zone)
    except OSError as error:
        return {}, f"{error.filename} cannot be read: {error.strerror}"
    return counters, "" if counters else f"no processor's counter under {POWERCAP}"


def _zone_counter(zone: Path) -> Counter:
    """Joules so far of one zone, whose counter of microjoules starts anew."""
    span = int((zone / "max_energy_range_uj").read_text())
    last, turns = int((zone / "energy_uj").read_text()), 0

    def read() -> float:
        nonlocal last, turns
        now = int((zone / "energy_uj").read_text())
        turns += now < last
        last = now
        return (turns * span + now) / 1e6

    return read


def _gpus() -> tuple[dict[str, Counter], str]:
    """A counter for each GPU, or why there is none."""
    try:
        import pynvml as nvml  # type: ignore[import-not-found]  # optional
    except ImportError:
        return {}, "no GPU's counter: pip install nvidia-ml-py"
    counters = {}
    try:
        nvml.nvmlInit()
        for i in range(nvml.nvmlDeviceGetCount()):
            gpu = nvml.nvmlDeviceGetHandleByIndex(i)
            nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)  # fails before Volta
            counters[f"GPU {i} {nvml.nvmlDeviceGetName(gpu)}"] = lambda gpu=gpu: (
                nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1e3
            )
    except nvml.NVMLError as error:
        return {}, f"no GPU's counter: {error}"
    return counters, ""
