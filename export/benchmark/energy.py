"""How much energy the machine has used, in joules, where it tells.

Processors: Linux's counters of Intel and AMD packages (RAPL), which many systems let
root alone read and which virtual machines lack. NVIDIA GPUs from Volta on: NVML's
counter, through the package nvidia-ml-py. Both count all that runs there, and the
idle machine too. What concerns GPUs follows NVML's documentation.
"""

from collections.abc import Callable
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


class Meter:
    """Adds up every counter that this machine lets us read.

    Attributes:
        sources: names of the counters; empty where the machine tells nothing.
        missing: why there is no counter of a kind.
    """

    def __init__(self):
        self._counters: list[Callable[[], float]] = []
        self.sources: list[str] = []
        self.missing: list[str] = []
        for find in (_packages, _gpus):
            found, why = find()
            self._counters += found.values()
            self.sources += found
            self.missing += [why] if why else []

    def read(self) -> float | None:
        """Joules since the meter was made or before; None without a counter."""
        if not self._counters:
            return None
        return sum(counter() for counter in self._counters)


def _packages() -> tuple[dict[str, Callable[[], float]], str]:
    """A counter for each processor package, or why there is none."""
    # intel-rapl:0:0 is a part of intel-rapl:0; intel-rapl-mmio:0 counts the same again,
    # and so does the zone of the whole platform, psys.
    found = {}
    try:
        for zone in sorted(POWERCAP.glob("intel-rapl:*")):
            name = (zone / "name").read_text().strip()
            if name.startswith("package"):
                found[f"{zone.name} {name}"] = _wrapping(zone)
    except OSError as error:
        return {}, f"{error.filename} cannot be read: {error.strerror}"
    return found, "" if found else f"no processor's counter under {POWERCAP}"


def _wrapping(zone: Path) -> Callable[[], float]:
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


def _gpus() -> tuple[dict[str, Callable[[], float]], str]:
    """A counter for each GPU, or why there is none."""
    try:
        import pynvml
    except ImportError:
        return {}, "no GPU's counter: pip install nvidia-ml-py"
    try:
        pynvml.nvmlInit()
        handles = [
            pynvml.nvmlDeviceGetHandleByIndex(i)
            for i in range(pynvml.nvmlDeviceGetCount())
        ]
        found = {
            f"GPU {i} {pynvml.nvmlDeviceGetName(handle)}": _millijoules(handle)
            for i, handle in enumerate(handles)
        }
        for read in found.values():
            read()  # a GPU older than Volta says here that it has no counter
    except pynvml.NVMLError as error:
        return {}, f"no GPU's counter: {error}"
    return found, ""


def _millijoules(handle) -> Callable[[], float]:
    import pynvml

    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
