"""More than 10,000 damaged files: each is refused in a line, or loaded whole."""

import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

FUZZING = Path(__file__).with_name("fuzzing.py")
FILES = {"safetensors": 5000, "h5": 1500, "weights.h5": 1200, "keras": 1200}
FILES |= {"preset": 1200}
PROCESSES = 2
pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="its limits and its look at open files are Linux's"
)
# at least this share of the files of each kind
REFUSED, LOADED = 0.6, 0.05


@pytest.mark.parametrize(
    "first", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (10**5, 10**6))]
)
def test_damaged_files(first, tmp_path, capsys):
    with ThreadPoolExecutor(PROCESSES) as pool:
        work = [(tmp_path / str(n), first + n) for n in range(PROCESSES)]
        lines = [line for lines in pool.map(_run, work) for line in lines]
    outcomes = {kind: Counter() for kind in FILES}
    for kind, _, outcome in lines:
        outcomes[kind][outcome] += 1
    with capsys.disabled():
        for kind, counts in outcomes.items():
            parts = [f"{number} {outcome}" for outcome, number in counts.most_common()]
            print(f"\n{kind}: {', '.join(parts)}", end="")
    assert {kind: counts.total() for kind, counts in outcomes.items()} == FILES
    for kind, counts in outcomes.items():
        assert counts["loaded"] > LOADED * FILES[kind], outcomes
        assert counts["InputError"] > REFUSED * FILES[kind], outcomes


def _run(work: tuple[Path, int]) -> list[list[str]]:
    """Kind, seed and outcome of a process's files."""
    folder, first = work
    folder.mkdir()
    parts = [
        f"{kind}:{first}:{first - first % PROCESSES + number}:{PROCESSES}"
        for kind, number in FILES.items()
    ]
    command = [sys.executable, str(FUZZING), str(folder), *parts]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    if done.returncode:
        reason = "\n".join(done.stderr.splitlines()[-30:])
        pytest.fail(f"{lines[-1:]} ends with {done.returncode}: {reason}")
    return [line.split(maxsplit=2) for line in lines]
