"""The exporter's passes over a graph, beside what libraries make of the same graph.

    python benchmarks/graph_passes.py --out benchmarks/results/graph_passes.md

Each side has a process of its own for each network. Timed is what follows the tracing:
the passes of `export.graph.passes`; onnxscript's constant folding and all its rewrite
rules; or onnxruntime's basic level, from the bytes of the model to its optimized file.
Seconds are of the processor, memory is in multiples of the weights' size, and a result
that `onnx.checker` refuses is marked.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODELS = (
    "resnet50",
    "resnet152",
    "seresnet50",
    "densenet121",
    "resnetv2_50x1_bit",
    "resnest50d",
)


def passes(model, folder: Path):
    from export.graph.passes import PASSES

    for change in PASSES:
        change(model)
    return model


def onnxscript_rules(model, folder: Path):
    import onnxscript.optimizer

    size = 2**62
    onnxscript.optimizer.optimize_ir(
        model, input_size_limit=size, output_size_limit=size, onnx_shape_inference=True
    )
    onnxscript.rewriter.rewrite(model)
    return model


def onnxruntime_basic(model, folder: Path):
    import onnx_ir as ir
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(folder / "basic.onnx")
    content = ir.to_proto(model).SerializeToString()
    onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    return ir.load(folder / "basic.onnx")


SIDES = {
    "passes": passes,
    "onnxscript": onnxscript_rules,
    "onnxruntime": onnxruntime_basic,
}


def measure(name: str, side: str) -> dict:
    """One side's work on one network."""
    import logging

    import onnx
    import onnx.reference
    import onnxruntime  # noqa: F401
    import onnxscript.rewriter  # noqa: F401
    from weight_loader import forget_peak, memory

    import export.graph.passes  # noqa: F401
    import keras_resnet
    from export.graph.convert import trace
    from export.graph.files import weights_as_inputs, weights_of
    from export.model.signature import make_signature

    logging.disable(logging.WARNING)  # of rules that could not be applied
    model = trace(make_signature(keras_resnet.build(name), output="logits"), 17)
    row = {"traced": len(model.graph)}
    weights = sum(tensor.nbytes for tensor in weights_of(model))
    with tempfile.TemporaryDirectory() as folder:
        forget_peak()
        before, start = memory("VmRSS"), time.process_time()
        model = SIDES[side](model, Path(folder))
        row["seconds"] = time.process_time() - start
        row["memory"] = (memory("VmHWM") - before) / weights
    row["nodes"] = len(model.graph)
    row["transposes"] = sum(node.op_type == "Transpose" for node in model.graph)
    try:
        onnx.checker.check_model(weights_as_inputs(model), full_check=True)
        row["valid"] = True
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        row["valid"] = False
    return row


def table(rows: dict[str, dict[str, dict]]) -> list[str]:
    lines = ["| Network | traced |", "|---|---|"]
    for side in SIDES:
        lines[0] += f" {side}: nodes (Transposes), seconds, memory |"
        lines[1] += "---|"
    for name, sides in rows.items():
        line = f"| {name} | {sides['passes']['traced']} |"
        for row in sides.values():
            line += (
                f" {row['nodes']} ({row['transposes']}), {row['seconds']:.2f} s, "
                f"{row['memory']:.2f}{'' if row['valid'] else ', not a valid graph'} |"
            )
        lines.append(line)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="a Markdown file to write")
    parser.add_argument("--only", nargs=2, help="print the figures of MODEL SIDE")
    flags = parser.parse_args()
    if flags.only:
        print(json.dumps(measure(*flags.only)))
        return
    rows: dict[str, dict[str, dict]] = {}
    for name in MODELS:
        for side in SIDES:
            command = [sys.executable, __file__, "--only", name, side]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            row = json.loads(done.stdout.splitlines()[-1])
            rows.setdefault(name, {})[side] = row
        print(table({name: rows[name]})[-1], flush=True)
    if flags.out:
        flags.out.write_text("\n".join(table(rows)) + "\n")


if __name__ == "__main__":
    main()
