"""Recipes, the command line that changes them, and the optimizer made from them."""

import re
from dataclasses import replace

import keras
import pytest

from keras_resnet.common.errors import InputError
from keras_resnet.training.__main__ import read
from keras_resnet.training.compile import make_optimizer, make_schedule
from keras_resnet.training.recipes import Recipe, default_recipe, get_recipe

# Recipes and the command line


def test_the_recipe_follows_the_data_the_model_and_the_batch_size():
    words = ["--model", "resnet20", "--data"]
    assert read([*words, "digits"])["recipe"] == get_recipe("digits")
    assert read([*words, "cifar10"])["recipe"] == get_recipe("cifar")
    assert read([*words, "folder:photos"])["recipe"] == get_recipe("photos")
    assert read(["--model", "resnet50", "--data", "imagenet2012"])["recipe"] == (
        get_recipe("imagenet")
    )
    doubled = read([*words, "cifar10", "--batch-size", "256"])["recipe"]
    assert doubled == replace(get_recipe("cifar"), batch_size=256, learning_rate=0.2)
    chosen = read([*words, "digits", "--recipe", "cifar"])["recipe"]
    assert chosen == get_recipe("cifar")


def test_flags_change_every_kind_of_value():
    changes = (
        "--epochs 3 --learning-rate 2e-1 --nesterov True --drops 0.25 0.5 "
        "--schedule step --image-size 16 --flip=False"
    )
    words = ["--model", "resnet20", "--data", "digits"]
    changed = read([*words, *changes.split()])["recipe"]
    assert changed == replace(
        get_recipe("digits"),
        epochs=3,
        learning_rate=0.2,
        nesterov=True,
        drops=(0.25, 0.5),
        schedule="step",
        image_size=16,
        flip=False,
    )


def test_none_is_a_value_of_two_keys():
    words = ["--model", "resnet20", "--data", "digits", "--augmentation", "none"]
    changed = read([*words, "--image-size", "None"])["recipe"]
    assert (changed.augmentation, changed.image_size) == ("none", None)


def test_the_version_of_a_data_set_does_not_change_the_recipe():
    for data in ("digits:1.0.0", "Digits"):
        read_recipe = read(["--model", "resnet20", "--data", data])["recipe"]
        assert read_recipe == get_recipe("digits")


@pytest.mark.parametrize(
    "change",
    [
        {"schedule": "Step"},
        {"augmentation": "noen"},
        {"epochs": 1.5},
        {"flip": "no"},
        {"nesterov": [1]},
        {"learning_rate": True},
        {"drops": (0.5, 1.0)},
        {"padding": -1},
        {"drop_factor": 0.0},
        {"image_size": 0},
    ],
)
def test_a_recipe_made_in_python_is_checked_too(change):
    with pytest.raises(InputError, match=next(iter(change))):
        replace(get_recipe("digits"), **change)


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ("--seed 5000000000", "[0, 4294967295]"),
        ("--learning-rate inf", "a number in (0, inf)"),
        ("--epoch 3", "Perhaps you meant: --epochs INT"),
        ("--epochs", "Missing value for argument '--epochs'"),
        ("--epochs three", "'three'"),
        ("--epochs 0", "epochs=0: a whole number from 1"),
        ("--batch-size 0", "batch_size=0: a whole number from 1"),
        ("--momentum 1", "momentum=1.0: a number in [0, 1)"),
        ("--learning-rate=-1", "learning_rate=-1.0: a number in (0, inf)"),
        ("--drops 0.7 0.5", "rising shares"),
        ("--schedule linear", "'cosine', 'step'"),
        ("--nesterov maybe", "'True', 'False'"),
    ],
)
def test_a_wrong_value_is_one_clear_line(flags, wanted):
    with pytest.raises(InputError) as caught:
        read(["--model", "resnet20", "--data", "digits", *flags.split()])
    assert wanted in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_recipe_or_model_is_refused():
    with pytest.raises(InputError, match="'cifar'"):
        read(["--model", "resnet20", "--data", "digits", "--recipe", "cifr"])
    with pytest.raises(InputError, match="Did you mean"):
        default_recipe("resnet21", "digits")


def test_a_learning_rate_that_is_given_does_not_follow_the_batch_size():
    words = "--model resnet20 --data cifar10 --batch-size 64 --learning-rate 0.1"
    assert read(words.split())["recipe"] == replace(get_recipe("cifar"), batch_size=64)


def test_help_shows_every_key_with_each_recipe_s_value_and_source(capsys):
    with pytest.raises(SystemExit) as stop:
        read(["--help"])
    shown = " ".join(re.sub("[│\n]", " ", capsys.readouterr().out).split())
    assert stop.value.code == 0
    for key in Recipe.__dataclass_fields__:
        assert f"--{key.replace('_', '-')} " in shown
    assert "imagenet, photos: 90 (Goyal2017, section 5.1)" in shown


# Optimizer


def test_the_step_schedule_is_the_papers():
    recipe = replace(get_recipe("cifar"), warmup=0.0)
    schedule = make_schedule(recipe, 64_000)
    known = {0: 0.1, 31_999: 0.1, 32_000: 0.01, 47_999: 0.01, 48_000: 0.001}
    for step, rate in known.items():
        assert float(schedule(step)) == pytest.approx(rate)


def test_both_schedules_warm_up_from_zero_to_the_peak():
    for schedule in ("step", "cosine"):
        recipe = replace(get_recipe("cifar"), schedule=schedule, warmup=0.1)
        rate = make_schedule(recipe, 1000)
        assert [float(rate(step)) for step in (0, 50, 100)] == pytest.approx(
            [0, 0.05, 0.1]
        )
    assert float(rate(550)) == pytest.approx(0.05)  # half the cosine
    assert float(rate(1000)) == pytest.approx(0, abs=1e-9)


def test_the_schedule_survives_serialisation():
    rate = make_schedule(get_recipe("imagenet"), 900)
    schedules = keras.optimizers.schedules
    again = schedules.deserialize(schedules.serialize(rate))
    for step in (10, 49, 299, 300, 600, 899):
        assert float(again(step)) == float(rate(step))


def after_two_steps(**changes):
    """A kernel and a bias of ones after two steps along constant gradients of 2."""
    recipe = replace(
        get_recipe("cifar"),
        schedule="step",
        drops=(),
        warmup=0.0,
        learning_rate=0.1,
        weight_decay=0.5,
        **changes,
    )
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    for variable in model.variables:
        variable.assign(keras.ops.ones_like(variable))
    optimizer = make_optimizer(recipe, model, steps_per_epoch=1)
    for _ in range(2):
        gradients = [
            keras.ops.full(variable.shape, 2.0) for variable in model.variables
        ]
        optimizer.apply(gradients, model.trainable_variables)
    return [float(variable.numpy().item()) for variable in model.variables]


def reference(l2=0.0, decoupled=0.0):
    """The same by hand: PyTorch's SGD (L2), and w -= lr * decay * w (decoupled)."""
    weight, velocity = 1.0, 0.0
    for _ in range(2):
        gradient = 2.0 + l2 * weight
        weight -= 0.1 * decoupled * weight
        velocity = 0.9 * velocity + gradient
        weight -= 0.1 * velocity
    return weight


def test_weight_decay_is_l2_or_decoupled_and_spares_vectors_where_asked():
    both, l2, decoupled = reference(), reference(l2=0.5), reference(decoupled=0.5)
    for flag, decayed in ((False, l2), (True, decoupled)):
        assert after_two_steps(decoupled=flag, decay_norms=True) == pytest.approx(
            [decayed, decayed]
        )
        assert after_two_steps(decoupled=flag, decay_norms=False) == pytest.approx(
            [decayed, both]
        )
    assert len({round(value, 4) for value in (both, l2, decoupled)}) == 3
