"""The benchmark: its arithmetic, its turns, its files. No time decides a test."""

import csv
import json
import subprocess
import sys
from math import comb

import numpy as np
import pytest
from onnx_files import write_model

from export import measure as measuring
from export.benchmark import benchmark, main
from export.measure import Candidate, measure, samples_for, statistics, table
from export.providers import why_not
from keras_resnet.errors import InputError
from keras_resnet.fingerprint import fingerprint

QUICK = {
    "warmup_seconds": 0,
    "warmup_repetitions": 1,
    "min_seconds": 1e-9,
    "min_repetitions": 1,
}
QUICK_WORDS = [f"--{k.replace('_', '-')}={v}" for k, v in QUICK.items()]


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    monkeypatch.setattr(measuring, "BLOCK_SECONDS", 0)


@pytest.fixture
def file(tmp_path):
    metadata = {"architecture": "small", "labels": ["a"] * 4}
    return write_model(tmp_path / "small.onnx", metadata=metadata)


@pytest.mark.parametrize(("percentile", "wanted"), [(50, 11), (90, 64), (99, 662)])
def test_samples_that_a_percentile_wants(percentile, wanted):
    assert samples_for(percentile) == wanted

    def at_most_one_above(n):
        q = 1 - percentile / 100
        return sum(comb(n, k) * q**k * (1 - q) ** (n - k) for k in (0, 1))

    assert at_most_one_above(wanted) <= 0.01 < at_most_one_above(wanted - 1)


def test_statistics_are_numpys():
    times = np.random.default_rng(0).exponential(size=700)
    blocks = [(list(times[:300]), False), (list(times[300:]), True)]
    found = statistics(blocks, batch=4)
    for percentile in (50, 90, 99):
        value = np.percentile(times * 1e3, percentile)
        assert found[f"p{percentile}_ms"] == pytest.approx(value, abs=1e-3)
    assert found["mean_ms"] == pytest.approx(times.mean() * 1e3, abs=1e-3)
    assert found["std_ms"] == pytest.approx(times.std(ddof=1) * 1e3, abs=1e-3)
    assert found["min_ms"] == pytest.approx(times.min() * 1e3, abs=1e-3)
    assert found["max_ms"] == pytest.approx(times.max() * 1e3, abs=1e-3)
    assert found["images_per_second"] == pytest.approx(4 / times.mean(), abs=0.01)
    assert (found["n"], found["contended"], found["uncertain"]) == (700, 400, [])
    quiet = np.median(times[:300]) * 1e3
    assert found["quiet_p50_ms"] == pytest.approx(quiet, abs=1e-3)
    assert found["rounds_p50_ms"][0] == found["quiet_p50_ms"]


def test_too_few_samples_are_said():
    found = statistics([([1.0] * 64, True)], batch=1)
    assert found["uncertain"] == ["p99"]
    assert found["quiet_p50_ms"] is None
    text = table([{"model": "a", "batch": 1, **found}])
    assert "1000.000?" in text and "p99 wants 662" in text
    assert "64 of 64 calls ran while other processes" in text


def test_candidates_take_turns_and_the_first_call_does_not_count():
    log = []
    names = ["a", "b", "c", "d"]
    candidates = [
        Candidate({"model": name}, 1, lambda name=name: log.append(name))
        for name in names
    ]
    rows = measure(candidates, **{**QUICK, "min_repetitions": 15})
    assert [row["model"] for row in rows] == names
    assert [row["n"] for row in rows] == [15] * 4  # 5 rounds of 3
    assert log[:4] == names  # the warm-up
    blocks = [log[i : i + 4] for i in range(4, len(log), 4)]
    assert all(len(set(block)) == 1 for block in blocks)
    rounds = [[b[0] for b in blocks[i : i + 4]] for i in range(0, len(blocks), 4)]
    assert len(rounds) == 5
    assert all(sorted(one) == names for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1  # the order changes


def test_who_has_enough_sits_out(monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: next(clock))
    slow = Candidate({"model": "slow"}, 1, lambda: [next(clock) for _ in range(99)])
    fast = Candidate({"model": "fast"}, 1, lambda: None)
    rows = measure([slow, fast], **{**QUICK, "min_seconds": 30, "min_repetitions": 6})
    assert [row["n"] for row in rows] == [6, 30]


def test_before_is_called_each_time_and_not_timed(monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: next(clock))
    log = []

    def before():
        log.append("before")
        [next(clock) for _ in range(50)]

    one = Candidate({"model": "a"}, None, lambda: log.append("call"), before)
    (row,) = measure([one], **QUICK)
    assert log == ["before", "call"] * (len(log) // 2)
    assert row["max_ms"] == 1e3
    assert row["images_per_second"] is None
    assert table([row])


@pytest.mark.parametrize(("taken", "contended"), [(0, 0), (10**6, 3)])
def test_blocks_are_contended_where_others_were_busy(monkeypatch, taken, contended):
    others = iter([0, taken])
    monkeypatch.setattr(measuring, "_others_seconds", lambda: next(others))
    candidate = Candidate({"model": "a"}, 1, lambda: None)
    candidate.take_block()
    assert statistics(candidate.blocks, 1)["contended"] == contended


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
    from export import benchmark as benchmarking

    stacks = benchmarking._stacks
    monkeypatch.setattr(benchmarking, "why_not", lambda name: "")
    assert stacks(["auto"]) == [["tensorrt", "cuda", "cpu"], ["cuda", "cpu"], ["cpu"]]
    missing = {"tensorrt": "no libnvinfer"}
    monkeypatch.setattr(benchmarking, "why_not", lambda name: missing.get(name, ""))
    assert stacks(["auto"]) == [["cuda", "cpu"], ["cpu"]]
    assert capsys.readouterr().out == "without tensorrt: no libnvinfer\n"
    assert stacks(["cuda+cpu", "cuda"]) == [["cuda", "cpu"], ["cuda"]]


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
    assert set(machine) == set(fingerprint())
    table_rows = list(csv.DictReader(base.with_suffix(".csv").read_text().splitlines()))
    assert [float(one["p50_ms"]) for one in table_rows] == [r["p50_ms"] for r in rows]
    assert table_rows[0]["cpu"] == machine["cpu"]
    assert base.with_suffix(".png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    expected = ["small-latency.csv", "small-latency.jsonl", "small-latency.png"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [*expected, "small.onnx"]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "png"])
def test_existing_results_are_refused_before_any_work(
    file, tmp_path, kind, monkeypatch
):
    existing = tmp_path / f"r.{kind}"
    existing.write_text("mine")
    words = [str(file), "--out", str(tmp_path / "r"), *QUICK_WORDS]
    with monkeypatch.context() as patch:
        patch.setattr("export.benchmark.measure", None)
        with pytest.raises(InputError, match="--force"):
            main(words)
    assert existing.read_text() == "mine"
    main([*words, "--batch-sizes", "1", "--force"])
    assert existing.read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 8, 8, 3), {"batch_sizes": [1, 2]}, "batches of 1 alone"),
        (("n", "h", "w", 3), {}, "input_size needs 1 number or 2"),
        (("n", "h", "w", 3), {"input_size": [1, 2, 3]}, "input_size needs"),
        (("n", 8, 8, 3), {"input_size": [9]}, "alone"),
        (("n", 8, 8, 3), {"batch_sizes": [0]}, "batch_sizes: 0"),
        (("n", 8, 8, 3), {"threads": [-1]}, "threads: -1"),
        (("n", 8, 8, 3), {"min_seconds": 0}, "min_seconds: 0"),
        (("n", 8, 8, 3), {"providers": ["cdua"]}, "Did you mean 'cuda'"),
    ],
)
def test_bad_input(tmp_path, shape, options, message):
    path = write_model(tmp_path / "small.onnx", shape)
    with pytest.raises(InputError, match=message):
        benchmark([path], **{**QUICK, **options})
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_found_before_any_work(file):
    with pytest.raises(InputError, match="not a folder that can be written to"):
        benchmark(file, out=file / "results" / "r", **QUICK)


def test_no_file_and_a_wrong_flag():
    with pytest.raises(InputError, match="at least one"):
        main([])
    with pytest.raises(InputError, match="--batch-size"):
        main(["a.onnx", "--batch-size", "1"])


@pytest.mark.parametrize(("given", "wanted"), [([16], (16, 16)), ([16, 24], (16, 24))])
def test_files_that_take_any_size(tmp_path, given, wanted):
    path = write_model(tmp_path / "any.onnx", ("n", "h", "w", 3))
    shapes = []
    run = "export.runtime.Session.run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, lambda self, images: shapes.append(images.shape))
        benchmark([path], batch_sizes=[2], input_size=given, providers=["cpu"], **QUICK)
    assert set(shapes) == {(2, *wanted, 3)}


def _command(code, *words):
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


BENCHMARK = "import runpy; runpy.run_module('export.benchmark', run_name='__main__')"
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
    done = _command(WITHOUT + BENCHMARK, *words)
    assert done.returncode == 0, done.stderr
    assert "small" in done.stdout
    assert (tmp_path / "r.png").exists()
    assert "measuring" in done.stderr  # the progress
    refused = _command(WITHOUT + "import keras_resnet; keras_resnet.ResNet8()")
    assert "keras is not installed" in refused.stderr  # the block does block


@pytest.mark.skipif(not why_not("cuda"), reason="there is a GPU")
def test_cuda_without_a_gpu_is_one_line_and_status_2(file, tmp_path):
    done = _command(BENCHMARK, file, "--providers", "cuda")
    assert done.returncode == 2
    assert done.stderr.startswith("error: provider 'cuda' did not load: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == [file]
