"""Timing: its arithmetic, its turns, its energy. No time decides a test."""

import sys
from math import comb
from types import SimpleNamespace

import numpy as np
import pytest

from export.benchmark import energy
from export.benchmark import measure as measuring
from export.benchmark.measure import Candidate, measure, samples_for, statistics
from export.benchmark.tables import table

QUICK = {
    "warmup_seconds": 0,
    "warmup_repetitions": 1,
    "min_seconds": 1e-9,
    "min_repetitions": 1,
}


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    monkeypatch.setattr(measuring, "BLOCK_SECONDS", 0)


@pytest.mark.parametrize(
    ("percentile", "wanted"), [(50, 11), (90, 64), (95, 130), (99, 662)]
)
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
    for percentile in (50, 90, 95, 99):
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
    assert found["uncertain"] == ["p95", "p99"]
    assert found["quiet_p50_ms"] is None
    text = table([{"model": "a", "batch": 1, **found}])
    assert "1000.000?" in text and "p95 wants 130, p99 wants 662" in text
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
    monkeypatch.setattr(measuring, "_others_seconds", lambda ours: next(others))
    candidate = Candidate({"model": "a"}, 1, lambda: None)
    candidate.take_block()
    assert statistics(candidate.blocks, 1)["contended"] == contended


def test_samples_are_kept_by_round_with_what_was_contended():
    found = statistics([([0.1, 0.123456], False), ([0.3], True)], batch=1)
    assert found["samples_ms"] == [[100.0, 123.5], [300.0]]
    assert found["contended_rounds"] == [False, True]


def test_energy_is_of_the_quiet_rounds_and_an_image(monkeypatch):
    joules = iter([0, 6, 6, 18, 18, 1000])
    others = iter([0, 0, 0, 0, 0, 10**6])
    monkeypatch.setattr(measuring, "_others_seconds", lambda ours: next(others))
    candidate = Candidate({"model": "a"}, 2, lambda: None)
    for _ in range(3):
        candidate.take_block(lambda: next(joules))
    calls = [len(times) for times, _ in candidate.blocks]
    assert candidate.row()["contended"] == calls[2]
    expected = (6 + 12) / (2 * (calls[0] + calls[1]))
    assert candidate.row()["joules_per_image"] == pytest.approx(expected, abs=1e-6)


def test_a_machine_that_does_not_tell_its_energy():
    (row,) = measure([Candidate({"model": "a"}, 1, lambda: None)], **QUICK)
    assert row["joules_per_image"] is None


@pytest.fixture
def zone(tmp_path, monkeypatch):
    """A processor's counter as Linux shows it, with its part, its double, its whole."""
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    zones = {
        "intel-rapl:0": ("package-0", 100_000),
        "intel-rapl:0:0": ("core", 7),
        "intel-rapl:1": ("psys", 200_000),
        "intel-rapl-mmio:0": ("package-0", 100_000),
    }
    for place, (name, used) in zones.items():
        folder = tmp_path / place
        folder.mkdir()
        (folder / "name").write_text(f"{name}\n")
        (folder / "max_energy_range_uj").write_text("1000000\n")
        (folder / "energy_uj").write_text(f"{used}\n")
    return tmp_path / "intel-rapl:0" / "energy_uj"


def test_the_processors_counter_and_its_new_start(zone):
    meter = energy.Meter()
    assert [one for one in meter.sources if "rapl" in one] == ["intel-rapl:0 package-0"]
    before = meter.read()
    zone.write_text("900000\n")
    assert meter.read() - before == pytest.approx(0.8)
    zone.write_text("50000\n")  # past the range it starts anew
    assert meter.read() - before == pytest.approx(0.95)


@pytest.fixture
def gpus(tmp_path, monkeypatch):
    """NVIDIA's library as its documentation has it; millijoules of each GPU."""
    used = [5000, 7000]

    class NVMLError(Exception):
        pass

    def energy_of(i):
        if used[i] is None:
            raise NVMLError("Not Supported")
        return used[i]

    library = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: len(used),
        nvmlDeviceGetHandleByIndex=lambda i: i,
        nvmlDeviceGetName=lambda i: "H100",
        nvmlDeviceGetTotalEnergyConsumption=energy_of,
    )
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    return used


def test_the_gpus_counters(gpus):
    meter = energy.Meter()
    assert meter.sources == ["GPU 0 H100", "GPU 1 H100"]
    before = meter.read()
    gpus[1] += 1500
    assert meter.read() - before == pytest.approx(1.5)


def test_a_gpu_without_a_counter_is_said(gpus):
    gpus[1] = None
    meter = energy.Meter()
    assert meter.read() is None
    assert "no GPU's counter: Not Supported" in meter.missing


def test_no_counter_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    meter = energy.Meter()
    assert meter.read() is None
    assert "no processor's counter" in meter.missing[0]
    assert "nvidia-ml-py" in meter.missing[1]


def test_a_counter_that_cannot_be_read_is_said(zone):
    zone.unlink()
    zone.mkdir()
    assert any("cannot be read" in why for why in energy.Meter().missing)
