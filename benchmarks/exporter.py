"""One side of export_time.py: exports models to ONNX, one after the other.

    python benchmarks/exporter.py keras_resnet|keras MODEL...

Prints a JSON object a model: wall and processor seconds, whether others had much of the
processor, how far the process's memory rose above what it had with the model built, the
bytes of the weights and of the file, and the nodes. Libraries are imported before.
"""

import gc
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from weight_loader import forget_peak, memory


def ours(model, path: Path) -> None:
    """What `export.onnx.export_onnx` does before the proof."""
    from export.graph.convert import convert
    from export.graph.files import save
    from export.model.metadata import describe
    from export.model.signature import make_signature

    signature = make_signature(model, output="logits")
    save(convert(signature, 17, "nhwc"), describe(signature), path)


def theirs(model, path: Path) -> None:
    model.export(path, format="onnx", verbose=False)


def main() -> None:
    side, *names = sys.argv[1:]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import numpy as np
    import onnx
    import onnx.reference  # imports count for neither side
    import tf2onnx  # noqa: F401

    import export.graph.convert  # noqa: F401
    import keras_resnet
    from export.benchmark.measure import CONTENDED, watch_others

    make = {"keras_resnet": ours, "keras": theirs}[side]
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            model = keras_resnet.build(name)
            model(np.zeros((1, *model.input_shape[1:]), "float32"))  # Keras's asks it
            path = Path(folder) / f"{name}.onnx"
            gc.collect()
            forget_peak()
            before, others_share = memory("VmRSS"), watch_others()
            wall, processor = time.perf_counter(), time.process_time()
            make(model, path)
            row = {
                "wall": time.perf_counter() - wall,
                "processor": time.process_time() - processor,
                "contended": others_share() > CONTENDED,
                "peak": before and memory("VmHWM") - before,
                "weights": sum(4 * weight.numpy().size for weight in model.weights),
                "file": path.stat().st_size,
                "nodes": len(onnx.load(path, load_external_data=False).graph.node),
            }
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
