"""Tuning: the candidates, the fastest, the accuracy floor, the file that load reads."""

import itertools
import json

import numpy as np
import pytest
from onnx_files import write_model
from PIL import Image

from export.benchmark import search
from export.benchmark.search import (
    SettingsCandidate,
    accuracy_of,
    kinds,
    load_candidates,
    rank,
    variants,
)
from export.runtime import load
from export.runtime.providers import why_not
from export.runtime.settings import Settings, read_settings, tuned_path
from export.tune import TuningConfig, main, tune
from keras_resnet.common.errors import InputError
from keras_resnet.images.files import read_images
from keras_resnet.images.preprocessing import Preprocessing

RECORD = Preprocessing((8, 8), 0.9, "bilinear", (0.5,) * 3, (0.25,) * 3)
METADATA = {"preprocess": "none", "preprocessing": RECORD.to_json()}


@pytest.fixture
def file(tmp_path):
    return write_model(tmp_path / "small.onnx", metadata=METADATA)


@pytest.fixture
def quick(monkeypatch):
    """Rounds of a hundredth of a second, and the CPU's kinds alone."""
    monkeypatch.setattr(search, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr("export.benchmark.measure.BLOCK_SECONDS", 0.01)
    monkeypatch.setattr(search, "KINDS", search.KINDS[:1])


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)


def test_the_settings_are_written_and_loaded(file, quick, capsys):
    settings = tune(file, TuningConfig(batch_size=2))
    assert settings.providers == ("cpu",)
    assert settings.batch == 2
    assert read_settings(tuned_path(file), file) == settings
    said = capsys.readouterr().out
    assert "measured on noise" in said
    assert "ran on cpu in float32" in said
    measured = json.loads(tuned_path(file).read_text())["measured"]
    assert measured["p50_ms"] > 0
    assert measured["ran"]["nodes"] == {"cpu": 2}
    assert measured["accuracy"]["agreement"] == 1
    predictor = load(file)
    random_images = np.zeros((3, 20, 20, 3), np.uint8)
    assert predictor(random_images).shape == (3, 4)
    assert [len(one) for one in predictor.batches(random_images)] == [2, 1]
    options = predictor.session._session.get_session_options()
    assert options.intra_op_num_threads == settings.threads > 0
    entry = options.get_session_config_entry("session.intra_op.allow_spinning")
    assert entry == str(int(settings.spinning))
    with pytest.raises(InputError, match="exists already"):
        tune(file)


@pytest.mark.parametrize("others", [0, 10**6])
def test_a_busy_machine_is_said(file, quick, monkeypatch, capsys, others):
    clock = itertools.count(0, others)
    monkeypatch.setattr(
        "export.benchmark.measure._others_seconds", lambda ours: next(clock)
    )
    tune(file)
    measured = json.loads(tuned_path(file).read_text())["measured"]
    assert measured["contended"] == (measured["n"] if others else 0)
    assert ("on a quiet machine" in capsys.readouterr().out) == bool(others)


def test_the_command(file, quick, tmp_path, capsys):
    random_images = np.random.default_rng(0).integers(0, 256, (6, 12, 9, 3), np.uint8)
    np.savez(tmp_path / "real.npz", images=random_images, labels=np.zeros(6, int))
    main([str(file), "--images", str(tmp_path / "real.npz"), "--most-images", "5"])
    measured = json.loads(tuned_path(file).read_text())["measured"]
    assert measured["accuracy"]["images"] == 5
    assert measured["accuracy"]["drop_points"] == 0
    main([str(file), "--force"])
    assert "noise" in capsys.readouterr().out


def test_the_fastest_candidate_wins(file, images, monkeypatch):
    times = {1: 60, 2: 50, 3: 1, 4: 70, 5: 15, 6: None}  # medians by threads
    rounds = []

    def measure(candidates, *, min_seconds, **_):
        names = [one.labels["settings"] for one in candidates]
        rounds.append((min_seconds, len(names)))
        found = [times[int(name.split()[1])] for name in names]
        return [{"quiet_p50_ms": one, "p50_ms": one or 90} for one in found]

    monkeypatch.setattr(search, "measure", measure)
    candidates = load_candidates(file, [Settings(threads=n) for n in times], images)
    found = rank(candidates)
    assert [one.settings.threads for one in found] == [3, 5]
    assert [one.milliseconds for one in found] == [1, 15]
    # Half of them go each time, and the rest run twice as long.
    assert rounds == [(0.5, 6), (1, 3), (2, 2)]
    assert rank([]) == []


def test_what_is_not_accurate_enough_cannot_win(file, quick, monkeypatch, capsys):
    fast, exact = Settings(spinning=False), Settings(threads=1)
    monkeypatch.setattr(search, "KINDS", (fast, exact))
    real = SettingsCandidate.__init__

    def noisy(self, path, settings, images):
        real(self, path, settings, images)
        if not settings.spinning:
            plain = self.session.run
            self.session.run = lambda x: plain(x) + np.arange(4) / 100

    monkeypatch.setattr(SettingsCandidate, "__init__", noisy)
    settings = tune(file, TuningConfig(floor=120))
    assert settings.spinning
    said = capsys.readouterr().out
    assert "not accurate enough: cpu no spinning" in said


def test_what_cannot_run_is_left_out(file, images, capsys):
    bad = Settings(options={"session.disable_prepacking": 1})
    assert [
        one.settings for one in load_candidates(file, [bad, Settings()], images)
    ] == [Settings()]
    assert (
        "without cpu session.disable_prepacking=1: options" in capsys.readouterr().out
    )


def test_kinds_that_load_here(capsys):
    found, said = kinds(64), capsys.readouterr().out
    assert found[0] == Settings(batch=64)
    missing = [name for name in ("cuda", "tensorrt", "openvino") if why_not(name)]
    for name in missing:
        assert not [one for one in found if name in one.providers]
        assert f"without {name}" in said


def test_variants_of_the_cpu():
    found = variants(Settings(batch=2))
    assert {one.spinning for one in found} == {True, False}
    assert {one.threads for one in found} >= {1}
    assert len({str(one) for one in found}) == len(found)
    assert {one.batch for one in found} == {2}


def test_accuracy():
    draw = np.random.default_rng(0)
    plain = draw.normal(size=(100, 10))
    found = accuracy_of(
        {"logits": plain + 7}, {"logits": plain}
    )  # softmax sees no shift
    assert found.snr_db > 250
    assert found.agreement == 1
    noise = draw.normal(size=plain.shape)
    noise *= np.sqrt(np.square(plain).sum() / np.square(noise).sum()) / 100
    found = accuracy_of({"C2": plain + noise}, {"C2": plain})
    assert found.snr_db == pytest.approx(40, abs=0.01)
    assert (found.agreement, found.drop_points) == (None, None)
    labels = plain.argmax(-1)
    other = plain.copy()
    other[:4] = np.roll(other[:4], 1, axis=-1)
    found = accuracy_of({"logits": other}, {"logits": plain}, labels)
    assert found.drop_points == pytest.approx(4)
    assert found.agreement == pytest.approx(0.96)
    overflown = accuracy_of({"logits": plain * np.nan}, {"logits": plain})
    assert overflown.snr_db == -np.inf
    assert accuracy_of({"logits": plain}, {"logits": plain}).snr_db == np.inf


def test_accuracy_of_shares_goes_by_their_logarithms():
    plain = np.array([[0.9, 0.1 - 1e-6, 1e-6]])
    other = np.array([[0.9, 0.1 - 2e-6, 2e-6]])
    shares = accuracy_of({"probabilities": other}, {"probabilities": plain})
    values = accuracy_of({"embedding": other}, {"embedding": plain})
    assert shares.snr_db < 30 < values.snr_db
    classes = {"scores": plain, "classes": np.array([[0, 1, 2]])}
    turned = {"scores": plain, "classes": np.array([[1, 0, 2]])}
    assert accuracy_of(turned, classes).agreement == 0


def test_images_from_a_folder(tmp_path):
    draw = np.random.default_rng(0)
    for name, size in (("a", (5, 6)), ("b", (7, 8)), ("c", (9, 9))):
        image = draw.integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    random_images, labels = read_images(tmp_path, 2, 3)
    assert [one.shape for one in random_images] == [(5, 6, 3), (7, 8, 3)]
    assert labels is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"most_images": 0}, "most_images=0"),
        ({"floor": float("nan")}, "floor=nan"),
        ({"max_drop": -1.0}, "max_drop=-1"),
        ({"images": "absent.npz"}, "absent.npz"),
        ({"images": "text.npz"}, "text.npz cannot be read"),
        ({"images": "labels.npz"}, "a whole number for each of 2 images"),
    ],
)
def test_bad_input(file, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.npz").write_text("no arrays")
    random_images = np.zeros((2, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "labels.npz", images=random_images, labels=np.zeros(3))
    with pytest.raises(InputError, match=said):
        tune(file, TuningConfig(**arguments))
    assert not tuned_path(file).exists()


def test_a_fixed_batch(tmp_path, quick):
    path = write_model(tmp_path / "two.onnx", (2, 8, 8, 3), metadata=METADATA)
    with pytest.raises(InputError, match="batches of 2 alone"):
        tune(path, TuningConfig(batch_size=3))
    assert tune(path, TuningConfig(batch_size=2)).batch == 2
