"""Measures the latency of an ONNX file on the CPU.

    python examples/benchmark.py

The same as a command: `python -m export.benchmark resnet20.onnx --providers cpu`.
"""

from pathlib import Path

import keras_resnet
from export.benchmark import benchmark
from export.onnx import export_onnx

model = keras_resnet.build("resnet20", weights=None)
export_onnx(model, "resnet20.onnx", force=True)

# One second for each batch size is enough for a first look; give it more to compare.
rows = benchmark(
    [Path("resnet20.onnx")],
    providers=["cpu"],
    batch_sizes=[1, 8],
    min_seconds=1,
    cold_starts=1,
    force=True,
)

# A table has been printed, and written beside the file, with charts and the machine.
print(sorted(rows[0]))
