"""The scripts that measure speed: their arithmetic, and that they run without a GPU."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import randomize, tiny

from export.onnx import export_onnx
from keras_resnet.common.errors import InputError
from keras_resnet.model import build

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def row(model, runtime, computes, batch, milliseconds):
    return {
        "model": model,
        "runtime": runtime,
        "computes": computes,
        "batch": batch,
        "p50_ms": milliseconds,
        "quiet_p50_ms": None,
        "rounds_p50_ms": [milliseconds],
    }


def test_shares_are_of_the_fastest_product_of_the_same_precision():
    from machine_limit import KIND, SIDE
    from speed_tables import against_targets, with_rates

    work = 10**9
    rows = [
        row(KIND, "cpu", "float32", None, 2 * SIDE**3 / 1e6),
        row(KIND, "openvino", "float32", None, SIDE**3 / 1e6),  # 1 GMAC/s
        row("resnet50", "onnxruntime", "float32", 16, 32000.0),
        row("resnet50", "onnxruntime", "int8", 16, 16000.0),
    ]
    found = with_rates(rows, {"resnet50": work})
    assert [one["gmac_per_second"] for one in found] == [0.5, 1, 0.5, 1]
    assert [one["share_of_limit"] for one in found] == [0.5, 1, 0.5, None]
    (line,) = against_targets(found)[2:]
    assert line.split(" | ")[2:] == ["16", "2.60", "2.00", "2.00 to 2.00", "missed |"]


def test_large_products_compute_what_they_claim(tmp_path, monkeypatch):
    import machine_limit

    monkeypatch.setattr(machine_limit, "SIDE", 64)
    candidates = machine_limit.products(tmp_path, threads=1)
    computed = {one.labels["computes"]: one.call().astype(float) for one in candidates}
    images = np.random.default_rng(0).integers(0, 256, (64, 64))
    draw = np.random.default_rng(0)
    exact = images @ draw.normal(size=(64, 64))
    np.testing.assert_allclose(computed["float32"], exact, rtol=1e-3, atol=0.1)
    draw = np.random.default_rng(0).integers(-63, 64, (64, 64))
    exact = np.round((images - 128) @ draw * 1e-4) + 128
    assert np.abs(computed["int8"] - np.clip(exact, 0, 255)).max() <= 1


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with one tiny network in float32."""
    folder = tmp_path_factory.mktemp("files")
    model = build(tiny("resnet20"), classifier_activation=None)
    randomize(model)
    path = folder / "resnet20-float32.onnx"
    export_onnx(model, path, output="logits", verify=False, verbose=False)
    return folder


def test_gpu_benchmark_says_what_is_missing_and_runs_on_the_cpu(exported, tmp_path):
    import gpu

    out = ["--out", str(tmp_path / "gpu"), "--batch-sizes", "1"]
    with pytest.raises(InputError, match=r"no \.onnx file"):
        gpu.main([str(tmp_path), "--variants", "cpu", *out])
    if not gpu.fingerprint()["gpus"]:
        with pytest.raises(InputError, match="no NVIDIA GPU"):
            gpu.main([str(exported), *out])
    gpu.main([str(exported), "--variants", "cpu", "--min-seconds", "0.1", *out])
    (line,) = (tmp_path / "gpu.jsonl").read_text().splitlines()
    found = json.loads(line)
    assert (found["variant"], found["precision"]) == ("cpu", "float32")
    assert found["max_rel"] < 1e-6


def test_profile_names_operators_and_rates(exported, capsys):
    import onnx_profile

    path = str(exported / "resnet20-float32.onnx")
    onnx_profile.main([path, "--runs", "3"])
    operators, convolutions = capsys.readouterr().out.split("\n\n")
    assert "| Conv |" in operators
    assert "3x3, stride 2" in convolutions and "- |" not in convolutions
    with pytest.raises(InputError, match="batch, threads and runs"):
        onnx_profile.main([path, "--batch", "0"])


def test_gpu_benchmark_can_be_carried():
    """It imports the runtime's side alone: no Keras, no TensorFlow, no onnx."""
    heavy = "{'keras', 'tensorflow', 'onnx'}"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, gpu; print({heavy} & {{*sys.modules}})"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": f"{FOLDER}:{FOLDER.parent}"},
    )
    assert done.stdout.strip() == "set()"


TORCH = """#!/bin/sh
echo '{"model": "resnet18", "variant": "torch-eager", "timing": "host", "batch": 1,'\\
    '"precision": "float16", "torch": "2", "seconds": [0.2, 0.1, 0.3],'\\
    '"contended": true}'
exit 1
"""


@pytest.mark.skipif(os.name == "nt", reason="a script of a shell")
def test_rows_of_pytorch_stand_beside_ours_even_if_it_ends_early(
    exported, tmp_path, capsys
):
    import gpu

    python = tmp_path / "python"
    words = [str(exported), "--variants", "cpu", "--batch-sizes", "1"]
    words += ["--min-seconds", "0.1", "--torch-python", str(python)]
    words += ["--out", str(tmp_path / "gpu")]
    with pytest.raises(InputError, match=r"torch_python=.*cannot be run"):
        gpu.main(words)
    python.write_text(TORCH)
    python.chmod(0o755)
    gpu.main(words)
    assert "PyTorch ended with status 1" in capsys.readouterr().out
    with (tmp_path / "gpu.csv").open() as file:
        ours, theirs = csv.DictReader(file)
    assert (ours["variant"], theirs["variant"]) == ("cpu", "torch-eager")
    assert (theirs["p50_ms"], theirs["contended"]) == ("200.0", "3")
    assert (ours["torch"], theirs["torch"], theirs["max_rel"]) == ("", "2", "")


def test_a_variant_that_computes_something_else_is_left_out(exported, tmp_path, capsys):
    import gpu

    words = [str(exported), "--variants", "cpu", "--batch-sizes", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "PARITY", -1)
        with pytest.raises(InputError, match="no variant runs"):
            gpu.main([*words, "--out", str(tmp_path / "gpu")])
    assert "by cpu: it differs from the CPU by" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_exports_say_whether_others_had_the_processor():
    import export_time

    one = {"processor": 1.0, "peak": None, "weights": 1, "file": 1, "nodes": 3}
    exports = [{**one, "wall": 1.0, "contended": False}]
    assert export_time.row("keras", "resnet18", exports)["std_ms"] is None
    exports.append({**one, "wall": 3.0, "contended": True})
    row = export_time.row("keras", "resnet18", exports)
    assert (row["n"], row["contended"], row["quiet_p50_ms"]) == (2, 1, 1000)
