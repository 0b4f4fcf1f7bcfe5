"""The JAX and PyTorch backends: the same logits, losses and files as TensorFlow's."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from backend_check import MODELS, train
from golden import ours, seeded

from keras_resnet import load_model

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


def _available(backend):
    missing = importlib.util.find_spec(backend) is None
    skip = pytest.mark.skipif(missing, reason=f"{backend} is not installed")
    return pytest.param(backend, marks=skip)


@pytest.fixture(scope="module", params=[_available("jax"), _available("torch")])
def report(request, tmp_path_factory):
    """What backend_check.py says in a process of the backend, and its folder."""
    folder = tmp_path_factory.mktemp(request.param)
    result = subprocess.run(
        [sys.executable, HERE / "backend_check.py", folder],
        env=os.environ | {"KERAS_BACKEND": request.param},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    said = json.loads(result.stdout.splitlines()[-1])
    assert said["backend"] == request.param
    return said["models"], folder


@pytest.mark.parametrize("name", MODELS)
def test_logits_equal_the_reference(name, report):
    models, _ = report
    assert models[name]["difference"] < ours.TOLERANCE
    assert models[name]["loaded"] < ours.TOLERANCE


@pytest.mark.parametrize("name", MODELS)
def test_training_goes_as_on_tensorflow(name, report):
    models, _ = report
    network = ours.seeded_model(ours.architecture(name), seeded.gain(name))
    expected, losses = train(network), models[name]["losses"]
    assert losses[0] == pytest.approx(expected[0], rel=1e-5)
    assert losses[1] < losses[0]
    if name.startswith("resnet8"):
        # not in deeper ones: normalised over two images, their gradients magnify
        # rounding, and float32 differs from float64 by percents on one backend too
        assert losses[1] == pytest.approx(expected[1], rel=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_its_file_is_read_by_tensorflow(name, report):
    _, folder = report
    loaded = load_model(folder / f"{name}.keras")
    assert ours.difference(loaded, ours.cases()[name][0]) < ours.TOLERANCE
