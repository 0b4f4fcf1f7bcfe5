"""The ONNX files of two checkouts side by side: nodes, bytes, answers, time, memory.

    python benchmarks/export_checkouts.py before --out exported/before
    python benchmarks/export_checkouts.py before after --out exported/both
    python benchmarks/export_checkouts.py before after --out exported/both \
        --before-folder exported/before

Every case is exported by `python -m export.onnx`, in a process for each checkout, in
turns, without the exporter's own proof. The first checkout draws the weights and writes
them as safetensors files, which both checkouts load, so that the same network is
exported. The files of a case then answer the same noise, and their latency is measured
in one process in interleaved rounds. With one checkout the files are only made.
"""

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from code_flows import epochs

INT8 = "--calibrate folder:{inputs}/photos --calibration-images 8 --validate none"
DIGITS = "--calibrate digits --validate digits"
# The network, and the words after it for `python -m export.onnx`. {inputs} is a folder.
CASES = {
    "resnet50": ("resnet50", ""),
    "resnet152": ("resnet152", ""),
    "resnet50_keras": ("resnet50_keras", ""),
    "resnext50_32x4d": ("resnext50_32x4d", ""),
    "seresnet50": ("seresnet50", ""),
    "ecaresnet50d": ("ecaresnet50d", ""),
    "resnest50d": ("resnest50d", ""),
    "skresnet50": ("skresnet50", ""),
    "res2net50_26w_4s": ("res2net50_26w_4s", ""),
    "densenet121": ("densenet121", ""),
    "resnetv2_50x1_bit": ("resnetv2_50x1_bit", ""),
    "resnetrs50": ("resnetrs50", ""),
    "resnetblur50": ("resnetblur50", ""),
    "resnet18, full, top_k": ("resnet18", "--preprocess full --output top_k"),
    "resnet18, normalize": ("resnet18", "--preprocess normalize --output logits"),
    "resnet18, features": ("resnet18", "--output features"),
    "resnet18, nchw": ("resnet18", "--layout nchw"),
    "resnet18, any size": ("resnet18", "--any-size"),
    "resnet50, float16": ("resnet50", "--precision float16 --validate none"),
    "resnet50, int8": ("resnet50", f"--precision int8 {INT8}"),
    "resnet50, int8-tensorrt": ("resnet50", f"--precision int8-tensorrt {INT8}"),
    "resnet50, int8-weights": ("resnet50", "--precision int8-weights --validate none"),
    "seresnet50, int8": ("seresnet50", f"--precision int8 {INT8}"),
    "densenet121, int8": ("densenet121", f"--precision int8 {INT8}"),
    "resnetv2_50x1_bit, int8": (
        "resnetv2_50x1_bit",
        f"--precision int8 --input-size 224 224 {INT8}",
    ),
    "digits": ("digits", "--validate digits"),
    "digits, float16": ("digits", "--precision float16 --validate digits"),
    "digits, int8": ("digits", f"--precision int8 {DIGITS}"),
    "digits, int8-tensorrt": ("digits", f"--precision int8-tensorrt {DIGITS}"),
    "digits, int8-weights": ("digits", "--precision int8-weights --validate digits"),
}
SIDES = ("before", "after")
QUIET = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
}
PACKAGES = ("keras", "tensorflow", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu")
BATCH = 2  # of the noise that both files answer
SIDE = 240  # of an image where a file takes any size
WARMUP = 3


def main() -> None:
    """Exports, compares, and writes `results.json`, `.csv` and `.md` after each case.

    A case that fails on one side keeps its row, with the error in it.
    """
    flags = parse()
    checkouts = dict(zip(SIDES, flags.checkouts, strict=False))
    before_folder = flags.before_folder or flags.out
    inputs = (before_folder / "inputs").resolve()
    flags.out.mkdir(parents=True, exist_ok=True)
    names = flags.only or list(CASES)
    networks = dict.fromkeys(CASES[name][0] for name in names)
    call(flags.checkouts[0], __file__, "--prepare", str(inputs), *networks)
    exporting = dict(checkouts)  # a folder of finished files needs no export
    if flags.before_folder:
        del exporting["before"]
    for side, checkout in exporting.items():
        (flags.out / side).mkdir(exist_ok=True)
        if "digits" in networks:
            call(checkout, __file__, "--digits", str(inputs), str(flags.out / side))
    saved = {}
    if flags.before_folder:
        saved = json.loads((flags.before_folder / "results.json").read_text())["cases"]
    conditions = machine() | {
        "exports": flags.exports,
        "threads": flags.threads,
        "repetitions": flags.repetitions,
    }
    cases: dict[str, dict] = {}
    for name in names:
        case = cases[name] = {}
        if flags.before_folder:
            missing = {"before": {"error": "not in --before-folder"}}
            case["before"] = saved.get(name, missing)["before"]
        case |= exports(name, exporting, inputs, flags.out, flags.exports)
        files = [
            before_folder / "before" / file_name(name),
            flags.out / "after" / file_name(name),
        ]
        if "after" in checkouts and all(file.exists() for file in files):
            numbers = str(flags.threads), str(flags.repetitions)
            case |= figures_of("compare", *files, *numbers)
        print(f"{name}: {json.dumps(case)}", flush=True)
        write(flags.out / "results", conditions, cases)


def exports(
    case: str, checkouts: dict[str, Path], inputs: Path, out: Path, repetitions: int
) -> dict[str, dict]:
    """Exports a case from each checkout in turns; the figures by side."""
    rounds: dict[str, list[dict]] = {side: [] for side in checkouts}
    for _ in range(repetitions):
        for side, checkout in checkouts.items():
            file = out / side / file_name(case)
            rounds[side].append(export(checkout, case, inputs, file))
    return {side: summary(figures) for side, figures in rounds.items()}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", nargs="+", type=Path, metavar="CHECKOUT")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument(
        "--only", action="append", choices=CASES, metavar="CASE", help="may be repeated"
    )
    parser.add_argument(
        "--before-folder", type=Path, help="an earlier --out, whose files are taken"
    )
    parser.add_argument("--exports", type=int, default=1, help="of each file")
    parser.add_argument("--threads", type=int, default=2, help="of onnxruntime")
    parser.add_argument("--repetitions", type=int, default=30, help="of each latency")
    flags = parser.parse_args()
    if len(flags.checkouts) > 2:
        parser.error("CHECKOUT: one or two are needed.")
    return flags


def file_name(case: str) -> str:
    return f"{case.replace(', ', '-').replace(' ', '_')}.onnx"


def call(checkout: Path, *words: str) -> None:
    """Runs Python with the code of a checkout."""
    subprocess.run(
        [sys.executable, *words], env=environment(checkout), check=True, text=True
    )


def environment(checkout: Path) -> dict[str, str]:
    return {**os.environ, **QUIET, "PYTHONPATH": str(checkout.resolve())}


def export(checkout: Path, case: str, inputs: Path, file: Path) -> dict:
    """Exports a case in a process of its own, and measures the process as a whole.

    Its seconds and its memory include Python's imports and the building of the model.
    """
    network, options = CASES[case]
    file.unlink(missing_ok=True)
    source = [network, "--weights", str(inputs / f"{network}.safetensors")]
    if network == "digits":
        source = [str(file.with_name("digits.keras").resolve())]
    words = [*source, "--out", str(file.resolve()), "--no-verify", "--force"]
    command = [sys.executable, "-m", "export.onnx", *words]
    command += options.format(inputs=inputs).split()
    start = time.perf_counter()
    log = file.with_suffix(".log")
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=checkout,
            env=environment(checkout),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        return {"error": log.read_text().strip().splitlines()[-1][:300]}
    return {
        "seconds": time.perf_counter() - start,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6,
        **figures_of("contents", file),
    }


def figures_of(function: str, *words: str | Path) -> dict:
    """What `contents` or `compare` returns, called in a process of its own.

    This process has to stay small: Linux counts its peak memory as the least that an
    export it starts has used.
    """
    command = [sys.executable, __file__, f"--{function}", *map(str, words)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if answer.returncode:
        return {"error": f"{function} failed; its message is above"}
    return json.loads(answer.stdout.splitlines()[-1])


def contents(file: Path) -> dict:
    """What a file holds: its nodes, bytes, and the accuracy that its metadata has."""
    import onnx

    model = onnx.load(file, load_external_data=False)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    accuracy = json.loads(metadata.get("keras_resnet", "{}")).get("accuracy")
    return {
        "nodes": len(model.graph.node),
        "bytes": sum(path.stat().st_size for path in parts(file)),
        "accuracy": accuracy,
    }


def parts(file: Path) -> list[Path]:
    """The file, and the files beside it that hold its weights."""
    return [file, *file.parent.glob(f"{file.name}.*.data")]


def summary(rounds: list[dict]) -> dict:
    """The medians over the exports of one file, and the rest of the last export."""
    for figures in rounds:
        if "error" in figures:
            return figures
    measured = ("seconds", "processor_seconds", "peak_mb")
    medians = {
        key: round(median(figures[key] for figures in rounds), 2) for key in measured
    }
    return rounds[-1] | medians


def compare(before: Path, after: Path, threads: int, repetitions: int) -> dict:
    """Both files on the same noise: their differences, then their latencies."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    provider = ["CPUExecutionProvider"]
    sessions = [
        onnxruntime.InferenceSession(str(file), options, providers=provider)
        for file in (before, after)
    ]
    takes = [(i.name, i.shape[1:], i.type) for s in sessions for i in s.get_inputs()]
    if len(takes) != 2 or takes[0][2] != takes[1][2]:
        return {"compared": f"the inputs differ: {takes}"}
    images = noise(sessions[0].get_inputs()[0], np.random.default_rng(0))
    names = [session.get_inputs()[0].name for session in sessions]
    answers = [
        dict(
            zip(
                [output.name for output in session.get_outputs()],
                session.run(None, {name: images}),
                strict=True,
            )
        )
        for session, name in zip(sessions, names, strict=True)
    ]
    if answers[0].keys() != answers[1].keys():
        return {"compared": f"the outputs differ: {[list(a) for a in answers]}"}
    largest, share, other_integers = 0.0, 0.0, 0
    for name, expected in answers[0].items():
        actual = answers[1][name]
        if expected.shape != actual.shape:
            return {"compared": f"{name}: shapes {expected.shape} and {actual.shape}"}
        if np.issubdtype(expected.dtype, np.integer):
            other_integers += int((expected != actual).sum())
            continue
        expected, actual = expected.astype("float64"), actual.astype("float64")
        difference = float(np.abs(actual - expected).max())
        spread = float(expected.max() - expected.min())
        largest = max(largest, difference)
        if difference:
            share = max(share, difference / spread if spread else float("inf"))
    times: list[list[float]] = [[], []]
    for turn in range(WARMUP + repetitions):
        # The file that goes first changes, since the second finds warmer caches.
        for position in (0, 1) if turn % 2 else (1, 0):
            feed = {names[position]: images[:1]}
            start = time.perf_counter()
            sessions[position].run(None, feed)
            if turn >= WARMUP:
                times[position].append(1e3 * (time.perf_counter() - start))
    ratios = np.divide(times[1], times[0])
    return {
        "compared": "yes",
        "largest_difference": largest,
        "share_of_spread": share,
        "other_integers": other_integers,
        "before_ms": round(median(times[0]), 3),
        "after_ms": round(median(times[1]), 3),
        "latency_ratio": round(median(times[1]) / median(times[0]), 3),
        "ratio_quartiles": np.percentile(ratios, [25, 75]).round(3).tolist(),
    }


def noise(takes, generator):
    """Random images in the form that a file's input takes."""
    known = [side if isinstance(side, int) else SIDE for side in takes.shape[1:]]
    batch = takes.shape[0] if isinstance(takes.shape[0], int) else BATCH
    if takes.type == "tensor(uint8)":
        return generator.integers(256, size=(batch, *known)).astype("uint8")
    kind = "float16" if takes.type == "tensor(float16)" else "float32"
    return generator.normal(size=(batch, *known)).astype(kind)


def machine() -> dict:
    """The conditions of the measurements."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    cpu = platform.processor() or platform.machine()
    if (information := Path("/proc/cpuinfo")).exists():
        lines = information.read_text().splitlines()
        names = [line.split(": ")[1] for line in lines if line.startswith("model name")]
        cpu = names[0] if names else cpu
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu": cpu,
        "logical_cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "os": platform.platform(),
        "python": platform.python_version(),
        **versions,
    }


def write(path: Path, conditions: dict, cases: dict[str, dict]) -> None:
    """The results as JSON, as CSV with a row for each case, and as Markdown."""
    results = {"conditions": conditions, "cases": cases}
    path.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    rows = [{"case": name} | flat(case) for name, case in cases.items()]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    path.with_suffix(".md").write_text("\n".join(markdown(conditions, cases)) + "\n")


def flat(case: dict) -> dict:
    """The figures of a case under names such as `before_nodes`."""
    values = {}
    for key, value in case.items():
        if isinstance(value, dict):
            values |= {f"{key}_{name}": inner for name, inner in value.items()}
        else:
            values[key] = value
    return values


def markdown(conditions: dict, cases: dict[str, dict]) -> list[str]:
    """A table in which a cell with two figures means before and after."""
    lines = [
        "| Case | Nodes | kB | Export, s | Processor, s | Peak, MB | Top-1, % "
        "| Largest difference | Of the spread | Other classes | Latency, ms | Ratio |",
        f"|---|{'---:|' * 11}",
    ]
    for name, case in cases.items():
        sides = [case[side] for side in SIDES if side in case]
        errors = [part["error"] for part in (*sides, case) if "error" in part]
        if errors:
            lines.append(f"| {name} | {'; '.join(errors).replace('|', '/')} |")
            continue
        cells = [
            pair(side["nodes"] for side in sides),
            pair(f"{side['bytes'] / 1e3:.0f}" for side in sides),
            pair(f"{side['seconds']:.1f}" for side in sides),
            pair(f"{side['processor_seconds']:.1f}" for side in sides),
            pair(f"{side['peak_mb']:.0f}" for side in sides),
            pair(top1(side["accuracy"]) for side in sides),
        ]
        if case.get("compared") == "yes":
            cells += [
                f"{case['largest_difference']:.1e}",
                f"{case['share_of_spread']:.1e}",
                str(case["other_integers"]),
                f"{case['before_ms']:.2f} / {case['after_ms']:.2f}",
                f"{case['latency_ratio']:.3f}",
            ]
        else:
            cells += [case.get("compared", "-"), "-", "-", "-", "-"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "Conditions:", ""]
    return lines + [f"- {key}: {value}" for key, value in conditions.items()]


def pair(values) -> str:
    return " / ".join(str(value) for value in values)


def top1(accuracy: dict | None) -> str:
    """The accuracy of the file itself, where its metadata has one."""
    value = (accuracy or {}).get("exported", {}).get("top1")
    return "-" if value is None else f"{100 * value:.2f}"


def prepare(folder: str, *networks: str) -> None:
    """Writes the weights of networks and the images for calibration, where missing."""
    import keras

    import keras_resnet

    inputs = Path(folder)
    inputs.mkdir(parents=True, exist_ok=True)
    if not (inputs / "photos").exists():
        write_photos(inputs / "photos")
    for network in networks:
        path = inputs / f"{network}.safetensors"
        if path.exists():
            continue
        if network == "digits":
            train_digits(path)
            continue
        keras.utils.clear_session()
        keras.utils.set_random_seed(0)
        model = keras_resnet.build(network)
        draw_normalization(model)
        keras_resnet.export_weights(model, path)


def write_photos(folder: Path) -> None:
    """Crops of the two photographs that come with scikit-learn, in a folder each."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_images

    generator = np.random.default_rng(0)
    for label, photo in zip(
        ("temple", "flower"), load_sample_images().images, strict=True
    ):
        (folder / label).mkdir(parents=True)
        for number in range(16):
            y, x = (generator.integers(side - 224) for side in photo.shape[:2])
            crop = Image.fromarray(photo[y : y + 224, x : x + 224])
            crop.save(folder / label / f"{number}.png")


def draw_normalization(model) -> None:
    """Draws every normalization anew, so that two of its arrays cannot be swapped."""
    import numpy as np

    ranges = {
        "gamma": (0.3, 0.7),  # around 1, the logits of a deep network would explode
        "moving_variance": (0.5, 1.5),
        "beta": (-0.2, 0.2),
        "moving_mean": (-0.2, 0.2),
    }
    generator = np.random.default_rng(0)
    for variable in model.weights:
        if variable.name in ranges:
            variable.assign(generator.uniform(*ranges[variable.name], variable.shape))


def train_digits(path: Path) -> None:
    """Trains ResNet-20 on digits for five epochs and writes its weights."""
    import keras_resnet

    run = path.with_name("digits-run")
    command = [sys.executable, "-m", "keras_resnet.training", *epochs(5)]
    command += ["--model", "resnet20", "--data", "digits", "--out", str(run)]
    subprocess.run(command, check=True)
    keras_resnet.export_weights(keras_resnet.load_model(run / "best.keras"), path)


def save_digits(inputs: str, folder: str) -> None:
    """Saves the trained network as a `.keras` file of the checkout that runs this."""
    import keras_resnet

    weights = Path(inputs, "digits.safetensors")
    model = keras_resnet.build(
        "resnet20", input_shape=(8, 8, 1), classes=10, weights=str(weights)
    )
    keras_resnet.save_model(model, Path(folder, "digits.keras"), force=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--prepare"]:
        prepare(*sys.argv[2:])
    elif sys.argv[1:2] == ["--digits"]:
        save_digits(*sys.argv[2:])
    elif sys.argv[1:2] == ["--contents"]:
        print(json.dumps(contents(Path(sys.argv[2]))))
    elif sys.argv[1:2] == ["--compare"]:
        before, after, *numbers = sys.argv[2:]
        print(json.dumps(compare(Path(before), Path(after), *map(int, numbers))))
    else:
        main()
