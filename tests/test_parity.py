"""Logits, feature maps and a training step against the reference networks'.

Weights are seeded by their names; the scripts in golden/ wrote the answers, and no
torch is needed here. The fast tests take a representative of every mechanism.
"""

import keras
import numpy as np
import pytest
from golden import ours, seeded

from keras_resnet.architectures.records import ImageNetStem
from keras_resnet.layers import StandardizedConv2D
from keras_resnet.weights.assign import named_variables

CASES = ours.cases()
FEATURES = {row["model"]: row for row in ours.read("features.json")}
TRAINING = {row["model"]: row for row in ours.read("training.json")}
FAST = {
    "resnet8",
    "resnet8_b",
    "resnet8_v2",
    "plain8",
    "resnet29",
    "resnet29_v2",
    "plain18",
    "resnet18",
    "resnet50",
    "resnet10t",
    "resnet26d",
    "test_resnet",
    "seresnet18",
    "ecaresnet26t",
    "seresnext26d_32x4d",
    "ecaresnet50d_pruned",
    "resnetblur18",
    "resnetaa34d",
    "resnetrs50",
    "resnetv2_18",
    "resnetv2_18d",
    "resnetv2_50x1_bit",
    "densenet121",
    "resnest14d",
    "skresnet18",
    "res2net50_26w_4s",
    "resnet18_vd",
    "resnet50_keras",
    "resnet50v2_keras",
    "resnet18 output_stride=8",
    "resnetblur18 output_stride=8",
    "resnetv2_18d output_stride=8",
    "resnet18 antialias=average",
    "resnet18 activation=silu",
    "seresnet18 activation=silu",
    "resnet18 norm=frozen",
    "resnet18 norm=group",
    "resnetv2_18 norm=evonorm",
    "resnetv2_18 norm=frn",
}
FAST_FEATURES = {"resnet18", "resnetv2_50x1_bit", "densenet121", "resnet50v2_keras"}


def _all(names, fast):
    assert fast <= set(names)
    return [
        pytest.param(name, marks=() if name in fast else pytest.mark.slow)
        for name in names
    ]


def _differences(model, name):
    """From the golden answers of `name`, one for each size of image."""
    return [ours.difference(model, case) for case in CASES[name]]


@pytest.mark.parametrize("name", _all(CASES, FAST))
def test_logits_equal_the_reference(name):
    model = ours.model_of(CASES[name][0])
    assert max(_differences(model, name)) < ours.TOLERANCE


@pytest.mark.parametrize("name", _all(FEATURES, FAST_FEATURES))
def test_feature_maps_equal_the_reference(name):
    model = ours.seeded_model(ours.architecture(name), seeded.gain(name))
    differences = ours.feature_differences(model, FEATURES[name])
    assert list(differences) == ["C1", "C2", "C3", "C4", "C5"]
    assert max(differences.values()) < ours.TOLERANCE


@pytest.mark.parametrize("name", _all(TRAINING, {"resnet18"}))
def test_a_training_step_equals_the_reference(name):
    golden = TRAINING[name]
    model = ours.seeded_model(ours.architecture(name), seeded.gain(name))
    for key, variable in named_variables(model).items():
        variable.assign(variable * seeded.training_factor(name, key))
    start = _statistics(model, golden)
    model.compile(
        keras.optimizers.SGD(golden["rate"]),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    images = seeded.images(tuple(golden["size"]), golden["batch"])
    labels = seeded.labels(golden["batch"], ours.CLASSES)
    before = model.train_on_batch(images, labels)
    for layer, elements in golden["elements"].items():
        _check_statistics(model, golden, layer, elements, start)
    after = model.train_on_batch(images, labels)
    assert [before, after] == pytest.approx(golden["losses"], rel=1e-4)


def _statistics(model, golden):
    variables = named_variables(model)
    return {
        name: keras.ops.convert_to_numpy(variables[name])
        for name in golden["statistics"]
    }


def _check_statistics(model, golden, layer, elements, start):
    """What the first batch added to the moving statistics.

    torch moves the running variance towards the batch's unbiased variance, Keras
    towards the biased one; they differ by elements / (elements - 1).
    """
    now = _statistics(model, golden)
    for kind, factor in (
        ("moving_mean", 1.0),
        ("moving_variance", elements / (elements - 1)),
    ):
        name = f"{layer}/{kind}"
        places = seeded.positions(f"{golden['model']} {name}", 12, now[name].size)
        old = start[name][places].astype("float64")
        batch = (now[name][places] - 0.9 * old) * factor
        expected = np.array(golden["statistics"][name]) - 0.9 * old
        assert batch == pytest.approx(expected, rel=1e-4, abs=1e-6)


# The comparison must be able to fail, and clearly: each of these is a mistake that
# somebody has made.
def _fails(net, name):
    model = ours.seeded_model(net, seeded.gain(name))
    return min(_differences(model, name)) > 10 * ours.TOLERANCE


@pytest.mark.parametrize(
    "change", ["kernel", "channels", "statistics", "variance", "class"]
)
def test_a_wrong_tensor_fails(change):
    model = ours.model_of(CASES["resnet20"][0])
    variables = named_variables(model)
    kernel = variables["layer2.0.conv2/kernel"]
    mean = variables["layer2.0.bn1/moving_mean"]
    variance = variables["layer2.0.bn1/moving_variance"]
    if change == "kernel":  # height and width permuted
        kernel.assign(np.swapaxes(kernel.numpy(), 0, 1))
    elif change == "channels":  # BGR for RGB
        stem = variables["conv1/kernel"]
        stem.assign(stem.numpy()[:, :, ::-1])
    elif change == "statistics":  # swapped; a variance stays positive
        swapped = variance.numpy(), np.abs(mean.numpy())
        mean.assign(swapped[0])
        variance.assign(swapped[1])
    elif change == "variance":  # of one channel, wrong by a tenth
        one = np.where(np.arange(variance.shape[0]) == 5, 1.1, 1)
        variance.assign(variance.numpy() * one)
    else:
        bias = variables["fc/bias"]
        bias.assign(bias.numpy() + 0.01 * np.eye(10, dtype="float32")[7])
    assert min(_differences(model, "resnet20")) > ours.TOLERANCE


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("resnet20", {"epsilon": 1e-3}),  # Keras's default
        ("resnet26", {"stride_conv": 1}),
        # v2 has no ReLU before the pool
        ("resnetv2_18", {"stem": ImageNetStem(pool="zero_max")}),
        ("resnetv2_50x1_bit", {"stem": ImageNetStem(pool="max")}),  # BiT pads zeros
        ("resnetv2_50x1_bit", {"standardized": False}),
        ("resnet26d", {"shortcut": "B"}),
        ("resnetblur18", {"antialias": "average"}),
        ("resnet18 output_stride=8", {"output_stride": 16}),
        ("resnet50v2_keras", {"stride_block": "first"}),
        ("resnet18 activation=silu", {"activation": "relu"}),
    ],
    ids=str,
)
def test_a_wrong_architecture_fails(name, change):
    case = CASES[name][0]
    settings = case["settings"] | change
    assert _fails(ours.architecture(case["model"]).derive(**settings), name)


def test_a_wrong_standardization_fails(monkeypatch):
    monkeypatch.setattr(StandardizedConv2D, "epsilon", 1e-5)
    net = ours.architecture("resnetv2_50x1_bit")
    assert _fails(net, "resnetv2_50x1_bit")
