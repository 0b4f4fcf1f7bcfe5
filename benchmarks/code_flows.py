"""How many files and functions of this project four everyday tasks pass through.

    python benchmarks/code_flows.py before after --out flows.json

Each argument is a git checkout of this project. The tasks are building a ResNet-50
with a weights file, training on digits for one epoch, an int8 export to ONNX and a
benchmark of the exported file. Each task runs in a process of its own under
`sys.setprofile`, through the public interface alone, so that code may have moved.

A function of `keras_resnet` or `export` counts once it is called, in whichever thread.
Left out are functions that run only while a module is being imported, module and class
bodies, lambdas and comprehensions, and processes that a task starts. Switches are
changes of file in the order in which the functions are first called.
"""

import argparse
import importlib.util
import inspect
import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
from itertools import pairwise
from pathlib import Path

PACKAGES = ("keras_resnet", "export")
# Either words for `python -m`, or an expression that uses the package.
FLOWS = {
    "builder": "keras_resnet.ResNet50(weights='resnet50.safetensors')",
    "training": "keras_resnet.training --model resnet20 --data digits "
    "--data-dir data --out run",
    "int8 export": "export.onnx resnet50 --weights resnet50.safetensors "
    "--precision int8 --calibrate folder:photos --calibration-images 8 "
    "--validate none --input-size 64 64 --out int8.onnx",
    "benchmark": "export.benchmark int8.onnx --batch-sizes 1 --min-seconds 0.5 "
    "--cold-starts 1 --out latency",
}
QUIET = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
}


def main() -> None:
    """Prints a Markdown table; writes the functions themselves where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", nargs="+", type=Path, metavar="CHECKOUT")
    parser.add_argument("--out", type=Path, help="JSON file with every function called")
    parser.add_argument("--only", choices=FLOWS, help="run this task alone")
    parser.add_argument("--int8-file", type=Path, help="for --only benchmark")
    flags = parser.parse_args()
    results = {}
    for checkout in flags.checkouts:
        with tempfile.TemporaryDirectory() as folder:
            results[checkout.resolve().name] = run_flows(
                checkout.resolve(), Path(folder), flags.only, flags.int8_file
            )
    if flags.out:
        flags.out.write_text(json.dumps(results, indent=1) + "\n")
    print("\n".join(markdown(results)))


def run_flows(
    checkout: Path, folder: Path, only: str | None, int8_file: Path | None
) -> dict[str, dict]:
    """The figures of the flows, each run in `folder` with the checkout's code."""
    if int8_file:
        (folder / "int8.onnx").symlink_to(int8_file.resolve())
    environment = {**os.environ, **QUIET, "PYTHONPATH": str(checkout)}
    script = [sys.executable, "-W", "ignore", str(Path(__file__).resolve())]
    if only in (None, "builder", "int8 export"):
        command = [*script, "--prepare"]
        subprocess.run(command, cwd=folder, env=environment, check=True)
    figures = {}
    for name in [only] if only else FLOWS:
        print(f"{checkout.name}: {name}", file=sys.stderr, flush=True)
        command = [*script, "--profile", name, str(checkout)]
        # A flow's own lines go where the progress goes.
        subprocess.run(
            command, cwd=folder, env=environment, check=True, stdout=sys.stderr
        )
        calls = json.loads((folder / "calls.json").read_text())
        files = [file for file, _ in calls]
        figures[name] = {
            "files": len(set(files)),
            "functions": len(calls),
            "switches": sum(before != after for before, after in pairwise(files)),
            "calls": calls,
        }
    return figures


def prepare() -> None:
    """Makes what the flows read: a weights file and labelled images."""
    import numpy as np
    from PIL import Image

    import keras_resnet

    keras_resnet.export_weights(keras_resnet.ResNet50(), "resnet50.safetensors")
    generator = np.random.default_rng(0)
    for label in ("bright", "dark"):
        folder = Path("photos", label)
        folder.mkdir(parents=True)
        for number in range(16):
            noise = generator.integers(255 if label == "bright" else 99, size=(8, 8, 3))
            image = Image.fromarray(noise.astype("uint8"))
            image.resize((40 + number, 48)).save(folder / f"{number}.png")


def profile(flow: str, checkout: str) -> None:
    """Runs a flow in this process and writes the functions it calls in order."""
    roots = tuple(f"{checkout}{os.sep}{package}{os.sep}" for package in PACKAGES)
    first_calls: dict[tuple[str, str, int], None] = {}
    recorded = set()

    def on_event(frame, event, _):
        code = frame.f_code
        if event != "call" or code in recorded:
            return
        if not code.co_filename.startswith(roots) or not is_function(code):
            recorded.add(code)
        elif not is_importing(frame):
            recorded.add(code)
            # A module that runs as `__main__` has its code objects twice.
            name = os.path.relpath(code.co_filename, checkout)
            first_calls[name, code.co_qualname, code.co_firstlineno] = None

    module, *words = FLOWS[flow].split()
    import_of(module if words else "keras_resnet", roots)
    if flow == "training":
        words += epochs(1)
    threading.setprofile(on_event)
    sys.setprofile(on_event)
    try:
        if words:
            sys.argv = [module, *words]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            names = {"keras_resnet": sys.modules["keras_resnet"]}
            exec(FLOWS[flow], names | {"__name__": "__main__"})
    except SystemExit as end:
        if end.code:
            raise
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    calls = [(file, function) for file, function, _ in first_calls]
    Path("calls.json").write_text(json.dumps(calls))


def epochs(number: int) -> list[str]:
    """The words that set the epochs of a training; earlier checkouts spell it --set."""
    command = [sys.executable, "-m", "keras_resnet.training", "--help"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    if "--set." in answer.stdout:
        return ["--set", f"epochs={number}"]
    return ["--epochs", f"{number}"]


def import_of(name: str, roots: tuple[str, ...]) -> None:
    """Imports what a flow starts from, before anything is counted."""
    module = importlib.import_module(name)
    if not str(module.__file__).startswith(roots):
        sys.exit(f"{module.__file__} is not in the checkout: {roots}")
    if hasattr(module, "__path__") and importlib.util.find_spec(f"{name}.__main__"):
        importlib.import_module(f"{name}.__main__")


def is_function(code) -> bool:
    """Whether code is a named function's, not a body's, lambda's or comprehension's."""
    return bool(code.co_flags & inspect.CO_OPTIMIZED) and code.co_name[0] != "<"


def is_importing(frame) -> bool:
    """Whether the body of a module other than `__main__` is waiting for this call."""
    while frame := frame.f_back:
        body = frame.f_code.co_name == "<module>"
        if body and frame.f_globals.get("__name__") != "__main__":
            return True
    return False


def markdown(results: dict[str, dict[str, dict]]) -> list[str]:
    """A table: a row for each flow, three columns for each checkout."""
    columns = ("files", "functions", "switches")
    heads = [f"{name}: {column}" for name in results for column in columns]
    lines = [f"| Flow | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for flow in dict.fromkeys(flow for flows in results.values() for flow in flows):
        cells = [
            str(flows[flow][column]) for flows in results.values() for column in columns
        ]
        lines.append(f"| {flow} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    if sys.argv[1:2] == ["--prepare"]:
        prepare()
    elif sys.argv[1:2] == ["--profile"]:
        profile(*sys.argv[2:])
    else:
        main()
