"""Logits against torchvision's and timm's, under weights seeded by their names.

golden/make_parity.py wrote the golden answers; no torch is needed here.
"""

import dataclasses
import re

import numpy as np
import pytest
from golden import ours, seeded
from keras import layers

from keras_resnet import blocks, model
from keras_resnet.weights.matching import named_variables

CASES = ours.cases()


def _slow_when_deep(name):
    deep = int(re.search(r"\d+", name)[0]) > 50
    return pytest.param(name, marks=pytest.mark.slow if deep else ())


def _differences(net, name):
    """From the golden answers of `name`, one for each size of picture."""
    cases = CASES[name]
    network = ours.seeded_model(net, seeded.gain(name), classes=cases[0]["classes"])
    return [ours.difference(network, case) for case in cases]


@pytest.mark.parametrize("name", [_slow_when_deep(name) for name in CASES])
def test_logits_equal_the_reference(name):
    assert max(_differences(ours.architecture(name), name)) < ours.TOLERANCE


# The comparison must be able to fail, and clearly: each of these is a mistake that
# somebody has made.
def _fails(net, name):
    return min(_differences(net, name)) > 10 * ours.TOLERANCE


@pytest.mark.parametrize("change", ["kernel", "statistics", "class"])
def test_a_wrong_tensor_fails(change):
    network = ours.seeded_model(
        ours.architecture("resnet20"), seeded.gain("resnet20"), classes=10
    )
    variables = named_variables(network)
    kernel = variables["layer2.0.conv2/kernel"]
    mean = variables["layer2.0.bn1/moving_mean"]
    variance = variables["layer2.0.bn1/moving_variance"]
    if change == "kernel":  # height and width permuted
        kernel.assign(np.swapaxes(kernel.numpy(), 0, 1))
    elif change == "statistics":  # swapped; a variance stays positive
        swapped = variance.numpy(), np.abs(mean.numpy())
        mean.assign(swapped[0])
        variance.assign(swapped[1])
    else:  # of the classes whose logits are not stored
        bias = variables["fc/bias"]
        bias.assign(bias.numpy() + np.eye(10, dtype="float32")[7])
    for case in CASES["resnet20"]:
        assert ours.difference(network, case) > 10 * ours.TOLERANCE


def test_a_wrong_epsilon_fails(monkeypatch):
    monkeypatch.setattr(blocks, "EPSILON", 1e-3)  # Keras's default
    assert _fails(ours.architecture("resnet20"), "resnet20")


def test_a_wrong_stride_position_fails():
    net = ours.architecture("resnet50")
    assert _fails(dataclasses.replace(net, stride_conv=1), "resnet50")


def test_zeros_before_the_pool_of_v2_fail(monkeypatch):
    monkeypatch.setattr(model, "LowestPadding2D", layers.ZeroPadding2D)
    assert _fails(ours.architecture("resnet18_v2"), "resnet18_v2")
