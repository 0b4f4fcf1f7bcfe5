"""The benchmark: its candidates, its files, its refusals. No time decides a test."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_files import write_model

from export.benchmark import benchmark, main
from export.benchmark import measure as measuring
from export.benchmark.candidates import Case, _candidates, parse_stack
from export.benchmark.coldstart import measure_cold
from export.benchmark.results import KINDS, markdown, read_rows
from export.runtime.providers import why_not
from keras_resnet.common.errors import InputError
from keras_resnet.common.fingerprint import fingerprint

QUICK = {
    "warmup_seconds": 0,
    "warmup_repetitions": 1,
    "min_seconds": 1e-9,
    "min_repetitions": 1,
    "cold_starts": 0,
}
QUICK_WORDS = [f"--{k.replace('_', '-')}={v}" for k, v in QUICK.items()]


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    monkeypatch.setattr(measuring, "BLOCK_SECONDS", 0)


@pytest.fixture
def file(tmp_path):
    metadata = {"architecture": "small", "labels": ["a"] * 4}
    return write_model(tmp_path / "small.onnx", metadata=metadata)


def test_every_combination_is_a_row(file, tmp_path, capsys):
    other = write_model(tmp_path / "other.onnx")
    rows = benchmark(
        [file, str(other)],
        providers=["cpu"],
        batch_sizes=[1, 4],
        threads=[1, 2],
        out=tmp_path / "r",
        **QUICK,
    )
    found = [(row["model"], row["threads"], row["batch"]) for row in rows]
    names, sizes = ("small", "other"), (1, 4)
    assert found == [(m, t, b) for m in names for t in (1, 2) for b in sizes]
    assert {row["provider"] for row in rows} == {"cpu"}
    assert {row["timing"] for row in rows} == {"host"}
    assert all(row["min_ms"] <= row["p50_ms"] <= row["p99_ms"] for row in rows)
    said = capsys.readouterr().out
    for words in ("p50", "p90", "p99", "images/s", "contended", "small", "other"):
        assert words in said


def test_auto_takes_what_loads_and_says_what_does_not(monkeypatch, capsys):
    from export.benchmark import candidates

    def stacks(*providers):
        return [one["providers"] for one in candidates._stacks(providers).values()]

    monkeypatch.setattr(candidates, "why_not", lambda name: "")
    assert stacks("auto") == [["tensorrt", "cuda", "cpu"], ["cuda", "cpu"], ["cpu"]]
    missing = {"tensorrt": "no libnvinfer"}
    monkeypatch.setattr(candidates, "why_not", lambda name: missing.get(name, ""))
    assert stacks("auto") == [["cuda", "cpu"], ["cpu"]]
    assert capsys.readouterr().out == "without tensorrt: no libnvinfer\n"
    assert stacks("cuda+cpu", "cuda") == [["cuda", "cpu"], ["cuda"]]


def test_a_precision_stands_behind_the_provider():
    assert parse_stack("openvino:bfloat16+cpu") == {
        "providers": ["openvino", "cpu"],
        "precision": "bfloat16",
    }
    assert parse_stack("cpu") == {"providers": ["cpu"], "precision": None}
    with pytest.raises(InputError, match="names 2 precisions"):
        parse_stack("openvino:bfloat16+cpu:float32")


def test_what_is_written(file, tmp_path):
    import hashlib

    rows = benchmark(file, batch_sizes=[1, 2], providers=["cpu"], **QUICK)
    base = tmp_path / "small-latency"
    written = base.with_suffix(".jsonl").read_text().splitlines()
    lines = [json.loads(line) for line in written]
    assert [{k: v for k, v in one.items() if k != "machine"} for one in lines] == rows
    assert lines[0]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert lines[0]["metadata"] == {"architecture": "small"}
    assert lines[0]["spinning"] is True
    assert lines[0]["loaded"][-1] == "cpu"
    machine = lines[0]["machine"]
    assert machine["cpu"] and machine["cores"] and machine["os"]
    assert machine["python"] == sys.version.split()[0]
    assert machine["numpy"] == np.__version__
    assert set(machine) == {*fingerprint(), "command", "energy"}
    table_rows = list(csv.DictReader(base.with_suffix(".csv").read_text().splitlines()))
    assert [float(one["p50_ms"]) for one in table_rows] == [r["p50_ms"] for r in rows]
    assert table_rows[0]["cpu"] == machine["cpu"]
    expected = [f"small-latency.{kind}" for kind in sorted(KINDS)]
    assert sorted(p.name for p in tmp_path.iterdir()) == [*expected, "small.onnx"]
    text = markdown(read_rows([base.with_suffix(".jsonl")]))
    assert f"| {rows[0]['p50_ms']:.3f}" in text and machine["cpu"] in text
    page = base.with_suffix(".html").read_text()
    assert f">{rows[0]['p50_ms']:.3f}" in page and machine["cpu"] in page


@pytest.mark.parametrize("kind", KINDS)
def test_existing_results_are_refused_before_any_work(
    file, tmp_path, kind, monkeypatch
):
    existing = tmp_path / f"r.{kind}"
    existing.write_text("mine")
    monkeypatch.setattr("export.benchmark.__main__.prepare", None)
    with pytest.raises(InputError, match="--force"):
        main([str(file), "--out", str(tmp_path / "r"), *QUICK_WORDS])
    assert existing.read_text() == "mine"


def test_existing_results_are_replaced_with_force(file, tmp_path):
    existing = [tmp_path / f"r.{kind}" for kind in KINDS]
    for one in existing:
        one.write_text("mine")
    words = [str(file), "--out", str(tmp_path / "r"), *QUICK_WORDS]
    main([*words, "--batch-sizes", "1", "--force"])
    assert all(one.read_bytes() != b"mine" for one in existing)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 8, 8, 3), {"batch_sizes": [1, 2]}, "batches of 1 alone"),
        (("n", "h", "w", 3), {}, "input_size needs 1 number or 2"),
        (("n", "h", "w", 3), {"input_size": [1, 2, 3]}, "input_size needs"),
        (("n", 8, 8, 3), {"input_size": [9]}, "alone"),
        (("n", 8, 8, 3), {"batch_sizes": [0]}, "batch_sizes: 0"),
        (("n", 8, 8, 3), {"batch_sizes": [10**16]}, "out of memory with 1000000000"),
        (("n", 8, 8, 3), {"threads": [-1]}, "threads: -1"),
        (("n", 8, 8, 3), {"min_seconds": 0}, "min_seconds: 0"),
        (("n", 8, 8, 3), {"min_repetitions": float("nan")}, "min_repetitions: nan"),
        (("n", 8, 8, 3), {"providers": ["cdua"]}, "Did you mean 'cuda'"),
    ],
)
def test_bad_input(tmp_path, shape, options, message):
    path = write_model(tmp_path / "small.onnx", shape)
    with pytest.raises(InputError, match=message):
        benchmark([path], **{**QUICK, **options})
    assert list(tmp_path.iterdir()) == [path]


def test_files_of_one_name_are_told_apart_and_nothing_is_timed_twice(tmp_path):
    paths = [tmp_path / folder / "small.onnx" for folder in ("before", "after")]
    for path in paths:
        path.parent.mkdir()
        write_model(path)
    rows = benchmark(
        [*paths, paths[0]],
        providers=["cpu", "cpu"],
        batch_sizes=[1, 1],
        threads=[1, 1],
        out=tmp_path / "r",
        **QUICK,
    )
    assert [row["model"] for row in rows] == [str(path) for path in paths]


def test_the_help_names_the_command_as_it_is_typed(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert capsys.readouterr().out.startswith("usage: python -m export.benchmark [-h]")


def test_a_place_that_cannot_be_written_is_found_before_any_work(file):
    with pytest.raises(InputError, match="not a folder that can be written to"):
        benchmark(file, out=file / "results" / "r", **QUICK)


def test_no_file_and_a_wrong_flag():
    with pytest.raises(InputError, match="at least one"):
        main([])
    with pytest.raises(InputError, match="--batch-size"):
        main(["a.onnx", "--batch-size", "1"])


def write_convolution(path, metadata=None):
    """A file whose one product every provider names."""
    weights = np.ones((16, 16, 3, 3), np.float32)
    images, found = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("images", ["n", 16, 8, 8]), ("y", ["n", 16, 6, 6]))
    )
    node = helper.make_node("Conv", ["images", "weights"], ["y"])
    initializers = [numpy_helper.from_array(weights, "weights")]
    graph = helper.make_graph([node], "conv", [images], [found], initializers)
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    helper.set_model_props(model, {"keras_resnet": json.dumps(metadata or {})})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(("given", "wanted"), [([16], (16, 16)), ([16, 24], (16, 24))])
def test_files_that_take_any_size(tmp_path, given, wanted):
    path = write_model(tmp_path / "any.onnx", ("n", "h", "w", 3))
    shapes = []
    run = "export.runtime.Session.run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, lambda self, images: shapes.append(images.shape))
        benchmark([path], batch_sizes=[2], input_size=given, providers=["cpu"], **QUICK)
    assert set(shapes) == {(2, *wanted, 3)}


TOLD = {
    "architecture": "small",
    "precision": "int8",
    "accuracy": {"data": "digits", "exported": {"top1": 0.97, "top5": 1.0}},
    "parity": {"sets": {"noise": {"snr_db": 30.5}, "real": {"snr_db": 27.8}}},
}


def test_a_row_says_what_the_file_tells_and_what_ran(tmp_path, capsys):
    path = write_model(tmp_path / "small.onnx", metadata=TOLD)
    (row,) = benchmark(path, providers=["cpu"], batch_sizes=[1], **QUICK)
    assert (row["file_precision"], row["accuracy_data"]) == ("int8", "digits")
    assert (row["top1"], row["snr_db"]) == (0.97, 27.8)
    assert (row["ran"], row["ran_provider"]) == ("cpu float32", "cpu")
    assert row["complete"] is True
    assert "97.00" in capsys.readouterr().out
    assert "Accuracy against latency" in (tmp_path / "small-latency.html").read_text()


@pytest.mark.parametrize(
    "told",
    [
        {"accuracy": "97", "parity": [1], "precision": 8, "architecture": {"a": 1}},
        {"accuracy": {"exported": {"top1": True}}, "parity": {"sets": None}},
        {"accuracy": {"exported": {"top1": float("inf")}}},
        {"accuracy": {"exported": {"top1": 10**400}}},
    ],
)
def test_metadata_of_another_kind_is_left_alone(tmp_path, told):
    path = write_model(tmp_path / "small.onnx", metadata=told)
    (row,) = benchmark(path, providers=["cpu"], batch_sizes=[1], **QUICK)
    known = ("top1", "snr_db", "file_precision", "architecture", "accuracy_data")
    assert [row[name] for name in known] == [None] * 5


def test_cold_starts_are_measured_in_fresh_processes(file, tmp_path, capsys):
    options = {**QUICK, "cold_starts": 2}
    rows = benchmark(file, providers=["cpu"], batch_sizes=[1, 64], **options)
    for row in rows:
        assert len(row["cold_load_ms"]) == len(row["cold_first_run_ms"]) == 2
        assert row["load_ms"] == pytest.approx(np.median(row["cold_load_ms"]), abs=1e-3)
        assert row["first_run_ms"] > 0
    if sys.platform == "linux":
        assert 0 < rows[0]["peak_rss_mb"] <= rows[1]["peak_rss_mb"]
    said = capsys.readouterr().out
    assert "load ms" in said and "first run ms" in said
    assert "fresh processes" in (tmp_path / "small-latency.html").read_text()


def test_memory_of_gpus_is_nvidia_smis(file, tmp_path, monkeypatch):
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    # More with each question: before loading, and behind each batch.
    tool.write_text('#!/bin/sh\necho x >> "$0.asked"; wc -l < "$0.asked"; echo 1000')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    images = [np.zeros((n, 8, 8, 3), np.float32) for n in (1, 2)]
    found = measure_cold(file, {"providers": ["cpu"]}, images, 1)
    assert [found[n]["device_mb"] for n in (1, 2)] == [1.049, 2.097]  # MiB in MB


def test_on_a_gpu_the_time_without_copies_stands_beside(file):
    images = [np.ones((2, 8, 8, 3), np.float32)]
    case = Case(file, "small", "cuda", {"providers": ["cpu"], "threads": None}, images)
    ran = {"ran_provider": "cuda", "ran_precision": "float16"}
    host, device = _candidates(case, ran, {2: {"load_ms": 3}})
    assert [one.labels["timing"] for one in (host, device)] == ["host", "device"]
    assert host.facts == device.facts == {"load_ms": 3, **ran}
    assert host.labels["ran"] == device.labels["ran"] == "cuda float16"
    np.testing.assert_array_equal(device.call().numpy(), host.call())


def test_a_fresh_process_that_fails_is_one_line(file):
    images = [np.zeros((1, 8, 8, 5), np.float32)]  # two channels too many
    with pytest.raises(InputError, match=r"a fresh process .* failed: images: float32"):
        measure_cold(file, {"providers": ["cpu"]}, images, 1)


def test_a_provider_can_be_required(file):
    options = {**QUICK, "providers": ["cpu"], "batch_sizes": [1]}
    with pytest.raises(InputError, match=r"small\.onnx ran on cpu alone"):
        benchmark(file, require_provider="openvino", **options)
    assert len(list(file.parent.iterdir())) == 1
    assert benchmark(file, require_provider="cpu", **options)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), InputError("out of memory")])
def test_what_was_measured_before_an_end_is_written(file, tmp_path, monkeypatch, error):
    rounds = []
    take_block = measuring.Candidate.take_block

    def fails_in_the_third(self, meter):
        rounds.append(self.batch)
        if len(rounds) == 3:
            raise error
        take_block(self, meter)

    monkeypatch.setattr(measuring.Candidate, "take_block", fails_in_the_third)
    earlier = tmp_path / "small-latency.jsonl"
    earlier.write_text("finished")
    options = {**QUICK, "providers": ["cpu"], "min_repetitions": 100, "force": True}
    with pytest.raises(type(error)):
        benchmark(file, batch_sizes=[1, 2, 4], **options)
    assert earlier.read_text() == "finished"
    base = tmp_path / "small-latency-incomplete"
    lines = base.with_suffix(".jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert sorted(row["batch"] for row in rows) == sorted(rounds[:2])
    assert not any(row["complete"] for row in rows)
    assert "cut short" in base.with_suffix(".html").read_text()


def test_an_end_before_anything_was_measured_writes_nothing(file, monkeypatch):
    def fails(self, images):
        raise InputError("out of memory")

    monkeypatch.setattr("export.runtime.session.Session.run", fails)
    with pytest.raises(InputError, match="out of memory"):
        benchmark(file, providers=["cpu"], **QUICK)
    assert list(file.parent.iterdir()) == [file]


def test_the_command_stands_in_the_results(file, tmp_path):
    words = [str(file), "--providers", "cpu", "--batch-sizes", "1", *QUICK_WORDS]
    main(words)
    (line,) = (tmp_path / "small-latency.jsonl").read_text().splitlines()
    command = json.loads(line)["machine"]["command"]
    assert command.startswith(f"python -m export.benchmark {file} --providers cpu")


@pytest.mark.skipif(bool(why_not("openvino")), reason="without the OpenVINO plugin")
def test_openvino_runs_in_the_precision_that_is_named(tmp_path):
    path = write_convolution(tmp_path / "conv.onnx", {**TOLD, "precision": "float32"})
    rows = benchmark(
        path,
        providers=["cpu", "openvino", "openvino:bfloat16"],
        require_provider="openvino",
        batch_sizes=[1],
        **QUICK,
    )
    assert [row["ran_provider"] for row in rows] == ["cpu", "openvino", "openvino"]
    assert [row["ran_precision"] for row in rows[:2]] == ["float32", "float32"]
    # A processor without bfloat16 computes in float32, and the row says so.
    assert rows[2]["ran_precision"] in ("bfloat16", "float32")
    exact = [row["ran_precision"] == "float32" for row in rows]
    for name in ("top1", "snr_db", "accuracy_data"):  # of the file as it was measured
        assert [row[name] is not None for row in rows] == exact


@pytest.mark.parametrize("content", [b"", b"no onnx", b"\x08\x08:\x03abc"])
def test_files_that_are_no_onnx_are_one_line_and_earlier_results_stay(
    tmp_path, content
):
    path, old = tmp_path / "bad.onnx", tmp_path / "bad-latency.jsonl"
    path.write_bytes(content)
    old.write_text("earlier")
    done = _command(BENCHMARK, path, "--providers", "cpu", "--force")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert old.read_text() == "earlier"
    assert len(list(tmp_path.iterdir())) == 2


def _command(code, *words):
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


BENCHMARK = "import runpy; runpy.run_module('export.benchmark', run_name='__main__')"
PAGE = BENCHMARK.replace("export.benchmark", "export.page")
WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras", "tf2onnx", "onnx"):
            raise ImportError(f"{name} is not installed")

sys.meta_path.insert(0, Absent())
"""


def test_runs_with_tensorflow_and_keras_uninstalled(file, tmp_path):
    words = [file, "--batch-sizes", 1, *QUICK_WORDS, "--out", tmp_path / "r"]
    # Off a terminal progress is a line every 30 seconds; here, a line each time.
    shown = "from keras_resnet.common import progress; progress.SECONDS = 0\n"
    done = _command(WITHOUT + shown + BENCHMARK, *words)
    assert done.returncode == 0, done.stderr
    assert "small" in done.stdout
    assert "measuring" in done.stderr  # the progress
    image = tmp_path / "r.png"
    done = _command(WITHOUT + PAGE, tmp_path / "r.jsonl", "--out", image)
    assert image.exists(), done.stderr
    refused = _command(WITHOUT + "import keras_resnet; keras_resnet.ResNet8()")
    assert "keras is not installed" in refused.stderr  # the block does block


@pytest.mark.skipif(not why_not("cuda"), reason="there is a GPU")
def test_cuda_without_a_gpu_is_one_line_and_status_2(file, tmp_path):
    done = _command(BENCHMARK, file, "--providers", "cuda")
    assert done.returncode == 2
    assert done.stderr.startswith("error: provider 'cuda' did not load: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == [file]
