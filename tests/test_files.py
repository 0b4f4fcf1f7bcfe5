"""Files appear whole or not at all; commands answer bad input with one line."""

import os
import resource
import subprocess
import sys
from dataclasses import dataclass

import pytest

from keras_resnet.common.command import parse
from keras_resnet.common.errors import InputError, closest
from keras_resnet.common.files import write_beside


def test_file_and_folder_appear_when_written(tmp_path):
    with write_beside(tmp_path / "new" / "a.txt") as part:
        part.write_text("whole")
        assert not (tmp_path / "new" / "a.txt").exists()
    with write_beside(tmp_path / "folder") as part:
        part.mkdir()
        (part / "inside").touch()
    assert (tmp_path / "new" / "a.txt").read_text() == "whole"
    assert (tmp_path / "folder" / "inside").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"new", "folder"}


@pytest.mark.parametrize("old_is_folder", [False, True])
def test_existing_path_is_refused_or_replaced(old_is_folder, tmp_path):
    path = tmp_path / "a"
    path.mkdir() if old_is_folder else path.write_text("old")
    with pytest.raises(InputError, match="--force"), write_beside(path):
        raise AssertionError("the block must not run")
    with write_beside(path, force=True) as part:
        part.write_text("new")
    assert path.read_text() == "new"


def test_failure_leaves_what_was_there(tmp_path):
    (tmp_path / "a").write_text("old")
    with (
        pytest.raises(KeyError),
        write_beside(tmp_path / "a", force=True) as part,
    ):
        part.write_text("half")
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_unwritable_places_are_named(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "below", "/proc/nowhere/a"):
        with (
            pytest.raises(InputError, match=f"cannot write {path}"),
            write_beside(path),
        ):
            raise AssertionError("the block must not run")


def test_full_disk_leaves_nothing(tmp_path):
    """A limit on the size of files stands for a full disk: the write fails midway."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with (
            pytest.raises(InputError, match="cannot write"),
            write_beside(tmp_path / "a") as part,
        ):
            part.write_bytes(bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


@dataclass(frozen=True)
class Flags:
    """A command."""

    count: int = 1
    """How many."""
    kind: str = "a"
    """Which."""


def test_flags_come_from_the_dataclass():
    assert parse(Flags, ["--count", "3"]) == Flags(count=3)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--cuont", "3"], ["--cuont", "--count"]),
        (["--count", "many"], ["--count", "many"]),
        (["--count"], ["--count"]),
    ],
)
def test_wrong_flags_are_one_line(words, parts):
    with pytest.raises(InputError) as error:
        parse(Flags, words)
    message = str(error.value)
    assert "\n" not in message and "│" not in message
    assert all(part in message for part in parts)


@pytest.mark.parametrize(
    ("body", "status", "line"),
    [
        ("pass", 0, ""),
        ("raise InputError('x=1:\\n y is needed')", 2, "error: x=1: y is needed\n"),
        ("raise KeyboardInterrupt", 130, "interrupted\n"),
    ],
)
def test_exit_status(body, status, line):
    code = (
        "from keras_resnet.common.command import run\n"
        "from keras_resnet.common.errors import *\n"
        f"def main():\n    {body}\nrun(main)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (status, line)


def test_our_own_faults_keep_their_traceback():
    code = "from keras_resnet.common.command import run; run(lambda: 1 / 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


FAKE_TENSORFLOW = """
import os
os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called ...\\n")
os.write(2, b"I0 1 cudart_stub.cc:31] Could not find cuda drivers on your machine\\n")
os.write(2, b"libwanted.so is missing\\n")
{}
class config:
    def list_physical_devices():
        os.write(2, b"E0 1 cuda_platform.cc:52] failed call to cuInit: 303\\n")
"""


@pytest.mark.parametrize("fault", ["", "raise OSError('no libwanted.so')"])
@pytest.mark.parametrize("level", [None, "1"])
def test_tensorflow_starts_quietly(tmp_path, monkeypatch, level, fault):
    """Only its start-up lines are held back, and only where the user did not ask."""
    (tmp_path / "tensorflow.py").write_text(FAKE_TENSORFLOW.format(fault))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    if level:
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
    code = (
        "import os\nfrom keras_resnet.common.command import run\ndef main():\n"
        "    import tensorflow\n"
        "    os.write(2, os.environ['TF_CPP_MIN_LOG_LEVEL'].encode())\n"
        "run(main)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    lines = done.stderr.splitlines()
    assert "libwanted.so is missing" in lines
    assert any("cuda drivers" in line for line in lines) == bool(level)
    assert any(line.startswith("WARNING: All log") for line in lines) == bool(level)
    assert (lines[-1] == (level or "2")) == (not fault)
    assert ("OSError: no libwanted.so" in lines) == bool(fault)


def test_real_tensorflow_starts_without_a_line(monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    code = (
        "from keras_resnet.common.command import run\ndef main():\n"
        "    import tensorflow\n    print(tensorflow.constant(1) + 1)\nrun(main)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_closest():
    assert closest("restnet", ["resnet", "plain"]) == " Did you mean 'resnet'?"
    assert closest("xyz", ["resnet", "plain"]) == ""


def test_written_files_have_ordinary_permissions(tmp_path):
    with write_beside(tmp_path / "a") as part:
        part.touch()
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode
