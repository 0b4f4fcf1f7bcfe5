"""MLPerf LoadGen on our files: its scenarios, its logs, its verdicts, our refusals."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from onnx_files import expected, write_failing, write_model

from export import loadgen
from export.benchmark.under_test import SystemUnderTest, read_images
from export.loadgen import main
from export.runtime.session import Session
from keras_resnet.common.errors import InputError

SHORT = ["--provider=cpu", "--samples=16", "--seconds=0.3", "--no-spinning"]
LOGS = {"mlperf_log_summary.txt", "mlperf_log_detail.txt", "result.json"}


@pytest.fixture
def file(tmp_path):
    return write_model(tmp_path / "small.onnx", metadata={"precision": "float32"})


@pytest.fixture
def installed():
    pytest.importorskip("mlperf_loadgen")


def _run(file, *words):
    """The row, whether LoadGen calls the run valid or not."""
    out = file.parent / "out"
    with contextlib.suppress(SystemExit):
        main([str(file), "--out", str(out), *SHORT, *map(str, words)])
    assert {one.name for one in out.iterdir()} >= LOGS
    return json.loads((out / "result.json").read_text())


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("scenario", "words", "metric", "batch"),
    [
        ("SingleStream", ["--queries=20"], "p90_estimate_ms", 1),
        ("MultiStream", ["--queries=20"], "p99_estimate_ms", 8),
        ("Offline", ["--queries=50", "--batch=4"], "samples_per_second", 4),
        ("Server", ["--queries=20", "--target-qps=50"], "samples_per_second", 8),
    ],
)
def test_each_scenario_runs_and_keeps_loadgens_logs(
    file, capsys, scenario, words, metric, batch
):
    row = _run(file, "--scenario", scenario, *words)
    settings = row["loadgen_settings"]
    assert settings["scenario"] == row["scenario"] == scenario
    assert settings["min_duration_ms"] == 300
    assert settings["performance_sample_count"] == 16
    assert settings["samples_per_query"] >= {"MultiStream": 8}.get(scenario, 1)
    assert row["queries"] * settings["samples_per_query"] >= 20
    assert [*row["metric"]] == [metric]
    assert 0 < row["p50_ms"] <= row["p99_ms"] <= row["p99_9_ms"]
    assert (row["ran_provider"], row["batch"]) == ("cpu", batch)
    assert row["mlperf_settings"] is False
    assert row["machine"]["cpu"] and len(row["sha256"]) == 64
    said = capsys.readouterr().out
    assert "MLPerf Results Summary" in said
    assert ("INVALID" in said) is not row["valid"]


@pytest.mark.usefixtures("installed")
def test_invalid_is_said_and_status_1_and_the_logs_stay(file, capsys):
    out = file.parent / "out"
    words = ["--scenario=Server", "--target-qps=50", "--target-latency-ms=0.001"]
    with pytest.raises(SystemExit) as end:  # nothing answers within a microsecond
        main([str(file), *SHORT, *words, "--queries=20", "--out", str(out)])
    assert end.value.code == 1
    said = capsys.readouterr().out
    assert "\nINVALID: Reduce target QPS" in said
    row = json.loads((out / "result.json").read_text())
    assert row["valid"] is False
    assert row["loadgen_settings"]["target_latency_ns"] == 1000


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("scenario", "asked", "wanted"),
    [
        ("SingleStream", {}, [600_000, 100, 15_000_000]),
        ("MultiStream", {}, [600_000, 662, 15_000_000]),
        ("Offline", {"min_query_count": 7}, [600_000, 7, 15_000_000]),
        ("Server", {"min_duration_ms": 5}, [5, 100, 15_000_000]),
    ],
)
def test_settings_are_mlperfs_but_for_those_that_are_given(
    file, scenario, asked, wanted
):
    request = {
        "file": str(file),
        "options": {"providers": "cpu"},
        "scenario": scenario,
        "images": None,
        "samples": 4,
        "image": [8, 8, 3],
        "batch": 2,
        "settings": asked,
        "folder": str(file.parent),
    }
    code = (
        "import json, sys, mlperf_loadgen as l\n"
        "from export.benchmark import under_test\n"
        "under_test.WARMUP_SECONDS = 0\n"
        "l.StartTestWithLogSettings = lambda u, q, s, *_: print("
        "s.min_duration_ms, s.min_query_count, s.server_target_latency_ns)\n"
        "under_test.run_test(json.loads(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert [int(one) for one in done.stdout.split()[:3]] == wanted, done.stderr


def test_every_sample_is_computed_and_its_own_output_handed_over(file):
    """What LoadGen is given lies at the pointers, in the order of the samples."""
    session = Session(file, "cpu")
    images = read_images(None, 6, (8, 8, 3), np.dtype(np.float32))
    system = SystemUnderTest.__new__(SystemUnderTest)
    handed = {}

    def response(identity, pointer, size):
        handed[identity] = np.ctypeslib.as_array(
            (np.ctypeslib.ctypes.c_float * (size // 4)).from_address(pointer)
        ).copy()

    system.loadgen = SimpleNamespace(
        QuerySampleResponse=response, QuerySamplesComplete=lambda found: None
    )
    system.session, system.images, system.batch = session, images, 4
    order = [5, 0, 3, 3, 1, 2]
    system.answer([SimpleNamespace(id=100 + i, index=n) for i, n in enumerate(order)])
    found = np.stack([handed[100 + i] for i in range(6)])
    np.testing.assert_allclose(found, expected(images)[order], rtol=1e-5)


@pytest.mark.usefixtures("installed")
def test_images_of_an_npz(file, tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, images=np.ones((3, 8, 8, 3), np.float32), labels=[1, 2, 3])
    row = _run(file, "--images", path, "--queries=20")
    assert row["images"] == "images.npz"
    assert row["loadgen_settings"]["performance_sample_count"] == 3


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    "arrays",
    [
        {"labels": np.ones(3)},
        {"images": np.ones((3, 8, 8, 3))},  # float64
        {"images": np.ones((3, 9, 8, 3), np.float32)},
        {"images": np.ones((0, 8, 8, 3), np.float32)},
        {"images": np.array([{}, {}])},  # a pickle
        None,
    ],
)
def test_an_npz_of_another_kind_is_refused(file, tmp_path, arrays):
    path = tmp_path / "images.npz"
    path.write_bytes(b"no zip")
    if arrays is not None:
        np.savez(path, **arrays)
    with pytest.raises(InputError, match=r"images=.*images\.npz"):
        main([str(file), "--images", str(path), *SHORT])
    assert sorted(tmp_path.iterdir()) == [path, file]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scenario=Server"], "target_qps is needed"),
        (["--target-qps=3"], "scenario Server alone"),
        (["--batch=0"], "batch=0"),
        (["--seconds=-1"], "seconds=-1"),
        (["--seconds=nan"], "seconds=nan"),
        (["--seconds=0.0001"], "seconds=0.0001"),  # nought for LoadGen: its default
        (["--queries=99999999999"], "queries=99999999999"),
        (["--provider=cdua"], "Did you mean 'cuda'"),
        (["--require-provider=openvino"], "ran on cpu alone"),
        (["--input-size=9"], "alone"),
        (["--scenario=Best"], "scenario"),
    ],
)
def test_bad_input(file, words, message):
    with pytest.raises(InputError, match=message):
        main([str(file), *SHORT, *words])
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.usefixtures("installed")
def test_a_file_of_a_fixed_batch_and_an_existing_folder_are_refused(tmp_path):
    path = write_model(tmp_path / "four.onnx", (4, 8, 8, 3))
    with pytest.raises(InputError, match="takes batches of 4 alone"):
        main([str(path), *SHORT])
    mine = tmp_path / "out" / "mine"
    mine.parent.mkdir()
    mine.write_text("earlier")
    with pytest.raises(InputError, match="--force"):
        main([str(path), "--out", str(mine.parent), *SHORT])
    assert mine.read_text() == "earlier"
    any_batch = write_model(tmp_path / "any.onnx")
    with pytest.raises(InputError, match="out holds mine, which is not of a run"):
        main([str(any_batch), "--out", str(mine.parent), *SHORT, "--force"])
    assert mine.read_text() == "earlier"


def test_without_loadgen_the_extra_is_named(file, monkeypatch):
    monkeypatch.setattr(loadgen.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"not installed: pip install .*\[loadgen\]"):
        main([str(file), *SHORT])


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("scenario", ["SingleStream", "Server"])
def test_a_query_that_fails_ends_the_run_in_one_line(tmp_path, scenario):
    path = write_failing(tmp_path / "failing.onnx")
    random_images = tmp_path / "images.npz"
    values = np.array([[1.0]] * 15 + [[255.0]], np.float32)
    np.savez(random_images, images=values.reshape(16, 1, 1, 1))
    words = [
        "--images",
        str(random_images),
        "--scenario",
        scenario,
        *SHORT,
        "--batch=1",
    ]
    words += ["--target-qps=500"] * (scenario == "Server")
    with pytest.raises(InputError, match=rf"{scenario} failed: .*failing\.onnx"):
        main([str(path), *words, "--seconds=2"])
    assert sorted(tmp_path.iterdir()) == [path, random_images]


@pytest.mark.usefixtures("installed")
@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_an_interruption_leaves_nothing_behind(file):
    command = [sys.executable, "-m", "export.loadgen", str(file), *SHORT]
    process = subprocess.Popen(
        [*command, "--seconds=60"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        # a shell's background job ignores Ctrl-C, and so would what it starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    own = psutil.Process(process.pid)
    end = time.monotonic() + 60
    while not (children := own.children()) and time.monotonic() < end:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 130 and b"interrupted" in said
    assert not psutil.wait_procs(children, timeout=10)[1]
    assert list(file.parent.iterdir()) == [file]
