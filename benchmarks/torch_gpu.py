"""PyTorch's side of `gpu.py`. Needs torch and torchvision, nothing of the package.

Prints a JSON line for each model, form and batch: the seconds of each call. Images are
float16 and channels_last, as PyTorch's own guides advise for tensor cores; "device" has
them on the GPU already, "host" copies them there and the logits back.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import torch
from torchvision_export import torchvision

WARMUP = 5  # calls; the first ones compile and record CUDA graphs
MODE = "max-autotune"  # of torch.compile, with CUDA graphs
CONTENDED = 0.1  # of the processor, as in export.benchmark.measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--repetitions", type=int, required=True)
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--batch-sizes", nargs="+", type=int, required=True)
    flags = parser.parse_args()
    device = torch.device(flags.device)
    torch.backends.cudnn.benchmark = True
    for name in flags.models:
        torch.manual_seed(0)
        model = torchvision.models.get_model(name, weights=None).eval().half()
        model = model.to(device, memory_format=torch.channels_last)
        forms = {"eager": model, "compiled": torch.compile(model, mode=MODE)}
        for form, network in forms.items():
            for batch in flags.batch_sizes:
                try:
                    _measure(name, form, network, batch, device, flags)
                except RuntimeError as error:  # no memory, or no compiler
                    reason = str(error).strip().splitlines()[0]
                    print(f"without {name} {form} {batch}: {reason}", file=sys.stderr)
        torch.compiler.reset()  # what was compiled for the last model goes


@torch.inference_mode()
def _measure(name, form, network, batch, device, flags) -> None:
    there = torch.randn(batch, 3, 224, 224).half()
    there = there.to(memory_format=torch.channels_last)
    here = there.to(device)
    calls = {
        "device": lambda: network(here),
        "host": lambda: network(there.to(device)).cpu(),
    }
    for timing, call in calls.items():
        labels = {"model": name, "variant": f"torch-{form}", "timing": timing}
        block = _block(call, device, flags.seconds, flags.repetitions)
        record = {"batch": batch, "precision": "float16", "torch": torch.__version__}
        print(json.dumps({**labels, **record, **block}), flush=True)


def _block(call, device, least: float, repetitions: int) -> dict:
    """Seconds of each call, and whether others had much of the processor."""

    def finish():
        if device.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(WARMUP):
        call()
    finish()
    times: list[float] = []
    others, start = _others_seconds(), time.perf_counter()
    while time.perf_counter() - start < least or len(times) < repetitions:
        begin = time.perf_counter()
        call()
        finish()
        times.append(time.perf_counter() - begin)
    available = (time.perf_counter() - start) * os.cpu_count()
    contended = _others_seconds() - others > CONTENDED * available
    return {"seconds": times, "contended": contended}


def _others_seconds() -> float:
    """Processor seconds of other processes (Linux), as export.benchmark counts them."""
    with Path("/proc/stat").open() as file:
        user, nice, system, _, _, irq, softirq, steal = map(
            int, file.readline().split()[1:9]
        )
    busy = user + nice + system + irq + softirq + steal
    return busy / os.sysconf("SC_CLK_TCK") - time.process_time()


if __name__ == "__main__":
    main()
