"""Parameters and multiply-adds against the reference networks' and the papers'."""

import json
import re
import subprocess
import sys
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from math import prod
from pathlib import Path

import pytest

from keras_resnet import build, get_architecture, list_models

_FILE = Path(__file__).parent / "golden" / "counts.json"
MODELS = json.loads(_FILE.read_text())["models"]
PUBLISHED = json.loads(_FILE.read_text())["published"]

_COUNT_ALL = """
import json, sys
from keras_resnet import get_architecture
from keras_resnet.arithmetic import count

models = {}
for name, golden in json.load(open(sys.argv[1]))["models"].items():
    counts = [count(get_architecture(name), int(size))
              for size in golden["multiply_adds"]]
    models[name] = {
        "parameters": counts[0].trainable,
        "statistics": counts[0].statistics,
        "multiply_adds": [one.multiply_adds for one in counts],
    }
loaded = {"keras", "tensorflow", "numpy"} & sys.modules.keys()
print(json.dumps({"models": models, "loaded": sorted(loaded)}))
"""


@pytest.fixture(scope="module")
def counted():
    """`keras_resnet.arithmetic` over the whole table, in a process of its own."""
    command = [sys.executable, "-c", _COUNT_ALL, str(_FILE)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def test_the_golden_table_is_the_whole_table():
    assert set(MODELS) == set(list_models())


def test_counting_imports_no_keras(counted):
    assert counted["loaded"] == []


@pytest.mark.parametrize("name", MODELS)
def test_arithmetic_equals_the_reference(name, counted):
    golden, ours = MODELS[name], counted["models"][name]
    assert ours["parameters"] == golden["parameters"]
    assert ours["statistics"] == golden["statistics"]
    assert ours["multiply_adds"] == list(golden["multiply_adds"].values())


@pytest.mark.parametrize(
    "row", PUBLISHED, ids=lambda row: f"{row['model']}-{row['what']}"
)
def test_published_figures(row, counted):
    ours = counted["models"][row["model"]]
    exact = {
        "parameters": ours["parameters"],
        # normalisation trains as many values as it keeps statistics
        "parameters without normalization": ours["parameters"] - ours["statistics"],
        "multiply_adds": ours["multiply_adds"][0],
    }[row["what"]]
    published = Decimal(row["figure"])
    rounding = {"rounded": ROUND_HALF_UP, "cut off": ROUND_DOWN}[row["digits"]]
    assert Decimal(exact).quantize(published, rounding) == published


def _slow_when_deep(name):
    deep = int(re.search(r"\d+", name)[0]) > 56
    return pytest.param(name, marks=pytest.mark.slow if deep else ())


@pytest.mark.parametrize("name", [_slow_when_deep(name) for name in MODELS])
def test_keras_counts_the_same(name):
    golden = MODELS[name]
    size, multiply_adds = list(golden["multiply_adds"].items())[1]  # the odd size
    model = build(get_architecture(name), input_shape=(int(size), int(size), 3))
    assert model.count_params() == golden["parameters"] + golden["statistics"]
    trained = sum(prod(variable.shape) for variable in model.trainable_variables)
    assert trained == golden["parameters"]
    assert _multiply_adds(model) == multiply_adds


def _multiply_adds(model):
    """From the built layers' own kernels and outputs."""
    total = 0
    for layer in model.layers:
        if (kernel := getattr(layer, "kernel", None)) is not None:
            _, *positions, _ = layer.output.shape
            total += prod(positions) * prod(kernel.shape)
    return total
