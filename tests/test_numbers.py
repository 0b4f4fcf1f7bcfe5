"""One check of whole numbers, numbers and choices for the whole package."""

import doctest
import math

import numpy as np
import pytest

from keras_resnet.common import numbers
from keras_resnet.common.errors import InputError
from keras_resnet.common.numbers import check_choice, check_number, check_whole


def test_the_examples_run():
    assert doctest.testmod(numbers).failed == 0


@pytest.mark.parametrize("value", [1, 7, np.int64(3), np.uint8(1), 10**400])
def test_whole_numbers_pass(value):
    check_whole("top", value)


@pytest.mark.parametrize("value", [0, -1, True, 1.0, "1", None, math.nan, [1]])
def test_anything_else_is_no_whole_number(value):
    with pytest.raises(InputError) as error:
        check_whole("top", value)
    assert str(error.value) == f"top={value!r}: a whole number from 1 is needed."


def test_bounds_of_whole_numbers():
    check_whole("seed", 0, 0, 9)
    check_whole("seed", 9, 0, 9)
    for value in (-1, 10):
        with pytest.raises(InputError, match=rf"seed={value}: .* in \[0, 9\]"):
            check_whole("seed", value, 0, 9)


@pytest.mark.parametrize(
    "value, bounds",
    [
        (0, {"minimum": 0}),
        (1, {"maximum": 1}),
        (0.5, {"above": 0, "below": 1}),
        (np.float32(0.5), {"minimum": 0, "maximum": 1}),
        (-5, {}),
    ],
)
def test_numbers_pass(value, bounds):
    check_number("rate", value, **bounds)


@pytest.mark.parametrize(
    "value, bounds, interval",
    [
        (-0.1, {"minimum": 0}, "[0, inf)"),
        (1.1, {"maximum": 1}, "(-inf, 1]"),
        (0, {"above": 0, "maximum": 1}, "(0, 1]"),
        (1, {"minimum": 0, "below": 1}, "[0, 1)"),
        (math.nan, {"minimum": 0, "maximum": 1}, "[0, 1]"),
        (math.inf, {}, "(-inf, inf)"),
        (True, {}, "(-inf, inf)"),
        (10**400, {"minimum": 0}, "[0, inf)"),  # no float is as large
        ("1", {}, "(-inf, inf)"),
        (None, {}, "(-inf, inf)"),
    ],
)
def test_other_numbers_are_refused(value, bounds, interval):
    with pytest.raises(InputError) as error:
        check_number("rate", value, **bounds)
    assert str(error.value) == f"rate={value!r}: a number in {interval} is needed."


def test_choices():
    check_choice("pooling", None, (None, "avg", "max"))
    with pytest.raises(InputError) as error:
        check_choice("pooling", "agv", (None, "avg", "max"))
    assert str(error.value) == (
        "pooling='agv': accepted are None, 'avg', 'max'. Did you mean 'avg'?"
    )
    with pytest.raises(InputError, match="stride=3: accepted are 1, 2"):
        check_choice("stride", 3, (1, 2))
