"""A run that was interrupted anywhere ends as if it had not been."""

import io
import json
import random
import resource
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager
from dataclasses import replace

import h5py
import numpy as np
import pytest
from conftest import tiny

from keras_resnet import saving
from keras_resnet.common.errors import InputError
from keras_resnet.saving import read_card, read_member
from keras_resnet.training.__main__ import main, read
from keras_resnet.training.data import load
from keras_resnet.training.fit import train
from keras_resnet.training.pipeline import Data
from keras_resnet.training.recipes import get_recipe

NET = tiny("resnet8")
QUICK = replace(get_recipe("digits", 128), epochs=3)
EPOCHS = 5  # of the run that is killed


@pytest.fixture(scope="module")
def tfds(tmp_path_factory):
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(scope="module")
def data(tfds) -> Data:
    return load("digits", data_dir=tfds)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The folder of a run that nobody interrupted."""
    return train(NET, data, QUICK, tmp_path_factory.mktemp("whole") / "run")


def variables(path):
    """Every number in a `.keras` file, the optimizer's too, by its place."""
    values = {}

    def keep(name, node):
        if isinstance(node, h5py.Dataset):
            values[name] = node[()]

    with zipfile.ZipFile(path) as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(content) as file:
        file.visititems(keep)
    return values


def assert_same_run(one, other):
    """Weights, optimizer, best checkpoint and log are equal to the last bit."""
    for name in ("best.keras", "last.keras"):
        left, right = variables(one / name), variables(other / name)
        assert left.keys() == right.keys()
        for key, value in left.items():
            np.testing.assert_array_equal(value, right[key], err_msg=f"{name} {key}")
    assert read_card(one / "best.keras") == read_card(other / "best.keras")
    assert (one / "log.csv").read_bytes() == (other / "log.csv").read_bytes()
    histories = [
        read_member(run / "last.keras", "state")["history"] for run in (one, other)
    ]
    assert histories[0] == histories[1]


@contextmanager
def interrupted_at(monkeypatch, name, count):
    """Raises KeyboardInterrupt in place of the count-th write of a file `name`."""
    write, seen = saving.write_beside, []

    def stop(path, *args, **kwargs):
        seen.append(path.name)
        if seen.count(name) == count:
            raise KeyboardInterrupt
        return write(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(saving, "write_beside", stop)
        with pytest.raises(KeyboardInterrupt):
            yield


@pytest.mark.parametrize(
    ("name", "count", "finished"),
    [
        ("best.keras", 1, None),  # before anything was kept
        ("last.keras", 2, 1),  # best is one epoch ahead of last
    ],
)
def test_between_any_two_files(
    name, count, finished, whole, data, tmp_path, monkeypatch
):
    out = tmp_path / "run"
    with interrupted_at(monkeypatch, name, count):
        train(NET, data, QUICK, out)
    if finished:
        assert read_member(out / "last.keras", "state")["epoch"] == finished
    train(NET, data, QUICK, out, resume=True)
    assert_same_run(whole, out)


def test_after_the_last_epoch_but_before_the_report(whole, data, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("keras_resnet.training.run_folder.draw_curves", _fail)
        with pytest.raises(KeyboardInterrupt):
            train(NET, data, QUICK, out)
    train(NET, data, QUICK, out, resume=True)
    assert_same_run(whole, out)
    report = json.loads((out / "report.json").read_text())
    assert report["results"]["epochs"] == QUICK.epochs


def _fail(*_):
    raise KeyboardInterrupt


def test_the_loss_scale_is_restored(data, tmp_path, monkeypatch):
    options = {"precision": "mixed_float16"}
    recipe = replace(QUICK, epochs=2)
    whole = train(NET, data, recipe, tmp_path / "whole", **options)
    with interrupted_at(monkeypatch, "last.keras", 2):
        train(NET, data, recipe, tmp_path / "run", **options)
    train(NET, data, recipe, tmp_path / "run", resume=True, **options)
    assert_same_run(whole, tmp_path / "run")


# kill -9


@pytest.fixture(scope="module")
def words(tfds):
    """The command line of the run that is killed, without its folder."""
    words = ["--model", "resnet8", "--data", "digits", "--data-dir", str(tfds)]
    return [*words, "--epochs", str(EPOCHS), "--batch-size", "128"]


@pytest.fixture(scope="module")
def whole_command(words, tmp_path_factory):
    """The folder of the same run, not killed."""
    out = tmp_path_factory.mktemp("command") / "run"
    main([*words, "--out", str(out)])
    return out


def kill_after_an_epoch(words, seconds):
    """Starts a process, and kills it some time after it told the end of an epoch."""
    command = [sys.executable, "-m", "keras_resnet.training", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("epoch "):
                break
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)


def test_a_killed_process_goes_on_to_the_same_end(whole_command, words, tmp_path):
    out = tmp_path / "run"
    kill_after_an_epoch([*words, "--out", str(out)], 0.3)
    assert not (out / "report.json").exists()
    main(["--resume", "--out", str(out)])
    assert_same_run(whole_command, out)


@pytest.mark.slow
def test_killed_again_and_again_at_random_moments(whole_command, words, tmp_path):
    out = tmp_path / "run"
    for _ in range(4):
        delay = random.uniform(0, 0.4)
        kill_after_an_epoch([*words, "--resume", "--out", str(out)], delay)
    main([*words, "--resume", "--out", str(out)])
    assert_same_run(whole_command, out)


# What --resume does besides


def test_a_finished_run_is_left_alone(whole, data, capsys):
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    train(NET, data, QUICK, whole, resume=True)
    assert "nothing to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_a_run_that_never_began_begins(data, tmp_path, capsys):
    out = train(NET, data, replace(QUICK, epochs=1), tmp_path / "run", resume=True)
    assert "nothing to resume" in capsys.readouterr().out
    assert (out / "report.json").exists()


def test_the_command_line_takes_the_settings_of_the_run(whole):
    settings = read(["--resume", "--out", str(whole)])
    expected = {"model": NET.name, "data": "digits", "recipe": QUICK, "out": whole}
    assert settings | expected == settings


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (["--batch-size", "64"], "batch_size is 128, not 64"),
        (["--model", "resnet20"], "not 'resnet20'"),
        (["--xla", "on"], "xla is 'auto', not 'on'"),
        (["--recipe", "cifar"], "epochs is 5, not 164"),
    ],
)
def test_other_settings_are_refused_with_both_values(changes, wanted, whole_command):
    with pytest.raises(InputError, match=wanted):
        main(["--resume", "--out", str(whole_command), *changes])


def test_another_architecture_of_the_same_name_is_refused(whole, data):
    with pytest.raises(InputError, match="architecture"):
        train(NET.derive(shortcut="B"), data, QUICK, whole, resume=True)


def test_what_a_killed_save_left_is_removed(data, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with interrupted_at(monkeypatch, "last.keras", 1):
        train(NET, data, QUICK, out)
    (out / ".last.keras.abc").mkdir()
    train(NET, data, QUICK, out, resume=True)
    assert not list(out.glob(".*"))


def test_other_images_are_refused(whole, data, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with interrupted_at(monkeypatch, "last.keras", 1):
        train(NET, data, QUICK, out)
    fewer = replace(data, train_examples=1400)
    with pytest.raises(InputError, match="train_examples is 1442, not 1400"):
        train(NET, fewer, QUICK, out, resume=True)


def test_a_full_disk_is_one_line_and_the_last_epoch_stays(data, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with interrupted_at(monkeypatch, "last.keras", 2):
        train(NET, data, QUICK, out)
    kept = variables(out / "last.keras")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(InputError, match="cannot write"):
            train(NET, data, QUICK, out, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    for key, value in variables(out / "last.keras").items():
        np.testing.assert_array_equal(value, kept[key])
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_a_damaged_run_is_one_clear_line(whole, data, tmp_path):
    for name, wanted in (("last.keras", "truncated"), ("recipe.json", "JSON")):
        out = tmp_path / name
        out.mkdir()
        for file in ("recipe.json", "last.keras"):
            content = (whole / file).read_bytes()
            if file == name:
                content = content[: len(content) // 2]
            (out / file).write_bytes(content)
        with pytest.raises(InputError, match=wanted):
            train(NET, data, QUICK, out, resume=True)
