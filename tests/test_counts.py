"""Parameters and multiply-adds against the reference networks' and the papers'."""

import json
import subprocess
import sys
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from math import prod
from pathlib import Path

import keras
import pytest
from golden import ours

from keras_resnet import build, get_architecture, list_models

MODELS = {row["model"]: row for row in ours.read("counts.json")}
PUBLISHED = ours.read("published.json")
FAST = {  # a small representative of every mechanism
    "resnet8",
    "resnet8_b",
    "resnet8_v2",
    "plain8",
    "resnet18",
    "resnet10t",
    "resnet26d",
    "test_resnet",
    "seresnet18",
    "ecaresnet26t",
    "resnetblur18",
    "seresnext26d_32x4d",
    "ecaresnet50d_pruned",
    "resnetv2_18",
    "resnetv2_18d",
    "densenet121",
    "resnest14d",
    "skresnet18",
    "res2net50_26w_4s",
    "resnet18_vd",
    "resnet50_keras",
    "resnet50v2_keras",
}

_COUNT_ALL = """
import json, sys
from keras_resnet import get_architecture
from keras_resnet.complexity import count

models = {}
for golden in json.load(open(sys.argv[1])):
    name = golden["model"]
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
    """`keras_resnet.complexity` over the whole table, in a process of its own."""
    file = Path(__file__).parent / "golden" / "counts.json"
    command = [sys.executable, "-c", _COUNT_ALL, str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def test_the_golden_table_is_the_whole_table():
    assert set(MODELS) == set(list_models())
    assert set(MODELS) >= FAST


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
        "parameters and statistics": ours["parameters"] + ours["statistics"],
        # normalisation trains as many values as it keeps statistics
        "parameters without normalization": ours["parameters"] - ours["statistics"],
        "multiply_adds": ours["multiply_adds"][0],
    }[row["what"]]
    published = Decimal(row["figure"])
    rounding = {"rounded": ROUND_HALF_UP, "cut off": ROUND_DOWN}[row["digits"]]
    assert Decimal(exact).quantize(published, rounding) == published


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
        for name in MODELS
    ],
)
def test_keras_counts_the_same(name):
    golden = MODELS[name]
    size, multiply_adds = list(golden["multiply_adds"].items())[1]  # the odd size
    model = build(get_architecture(name), input_shape=(int(size), int(size), 3))
    assert model.count_params() == golden["parameters"] + golden["statistics"]
    trained = sum(prod(variable.shape) for variable in model.trainable_variables)
    assert trained == golden["parameters"]
    assert _multiply_adds(model) == multiply_adds
    keras.backend.clear_session()


def _multiply_adds(model):
    """From the built layers' own kernels and outputs; of 2-D convolutions and Dense."""
    return sum(
        prod(layer.output.shape[1:-1]) * prod(layer.kernel.shape)
        for layer in model.layers
        if hasattr(layer, "kernel") and not isinstance(layer, keras.layers.Conv1D)
    )
