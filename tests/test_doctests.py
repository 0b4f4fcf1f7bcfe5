"""The `>>>` examples in docstrings give the answers that stand below them."""

import doctest
from importlib import import_module

import pytest

MODULES = [
    "keras_resnet.architectures",
    "keras_resnet.common.numbers",
    "keras_resnet.complexity",
    "keras_resnet.weights.registry",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    result = doctest.testmod(import_module(name))
    assert result.attempted
    assert not result.failed
