"""Progress of long work: a bar on a terminal, a line now and then elsewhere."""

import io

import pytest

from keras_resnet.common import progress
from keras_resnet.common.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


FORMATS = [None, "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"]


def work(**options):
    """Three steps of which each could show something."""
    with Progress(total=3, desc="reading", mininterval=0, **options) as bar:
        for step in range(3):
            bar.set_postfix_str(f"file {step}")
            bar.update()


@pytest.mark.parametrize("form", FORMATS)
def test_a_bar_on_a_terminal(monkeypatch, form):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    work(bar_format=form)
    assert "\r" in terminal.getvalue()
    assert "reading" in terminal.getvalue()
    assert "100%|##" in terminal.getvalue()
    assert "file 2" in terminal.getvalue()


@pytest.mark.parametrize("form", FORMATS)
def test_lines_elsewhere(monkeypatch, capsys, form):
    monkeypatch.setattr(progress, "SECONDS", 0)
    work(bar_format=form)
    shown = capsys.readouterr().err
    assert not set("\r#|") & set(shown)
    assert shown.endswith("\n")
    lines = shown.splitlines()
    assert all(line.startswith("reading") for line in lines)
    assert "100%" in lines[-1]
    assert "file 2" in lines[-1]


def test_at_most_a_line_every_thirty_seconds(monkeypatch, capsys):
    now = 0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with Progress(range(91), desc="reading", mininterval=0) as bar:
        for _ in bar:
            now += 1
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == (
        ["reading"] * 3
    )


def test_messages_and_work_that_is_soon_done(capsys):
    with Progress(range(3), desc="reading", leave=True) as bar:
        for step in bar:
            bar.write(f"step {step}")
    captured = capsys.readouterr()
    assert captured.out == "step 0\nstep 1\nstep 2\n"
    assert captured.err == ""
