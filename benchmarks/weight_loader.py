"""One side of weight_loading.py: loads a file whenever it reads a line.

    python benchmarks/weight_loader.py keras_resnet|timm MODEL FILE

Prints a JSON object when the model is built, and one a load: wall and processor
seconds, and how far the process's memory rose above what it had before. The side of
timm needs torch and timm, and nothing of this package.
"""

import json
import sys
import time
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def memory(entry: str) -> int | None:
    """Bytes of an entry of /proc/self/status; None where there is no such thing."""
    if not _STATUS.exists():
        return None
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines[entry].split()[0]) * 1024


def forget_peak() -> None:
    """Has the kernel measure the peak of resident memory anew."""
    if _CLEAR.exists():
        _CLEAR.write_text("5")


def keras_side(model: str, path: str):
    import keras_resnet

    network = keras_resnet.build(model)
    return lambda: keras_resnet.load_weights(network, path)


def timm_side(model: str, path: str):
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests/golden"))
    import reference  # noqa: F401  a torchvision whose operators do not fit
    import timm
    from timm.models import load_checkpoint

    network = timm.create_model(model)
    return lambda: load_checkpoint(network, path)


def main() -> None:
    library, model, path = sys.argv[1:]
    load = {"keras_resnet": keras_side, "timm": timm_side}[library](model, path)
    print(json.dumps({"library": library}), flush=True)
    for _ in sys.stdin:
        forget_peak()
        before = memory("VmRSS")
        wall, processor = time.perf_counter(), time.process_time()
        load()
        wall = time.perf_counter() - wall
        processor = time.process_time() - processor
        peak = memory("VmHWM")
        row = {
            "wall": wall,
            "processor": processor,
            "peak": peak and before and peak - before,
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
