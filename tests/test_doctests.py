"""The `>>>` examples in docstrings give the answers that stand below them."""

import dataclasses
import doctest
from importlib import import_module

import keras
import numpy as np
import pytest

import keras_resnet
from export import ExportConfig, export

MODULES = [
    "export.api",
    "export.runtime.predictor",
    "keras_resnet.architectures",
    "keras_resnet.common.numbers",
    "keras_resnet.complexity",
    "keras_resnet.images.labels",
    "keras_resnet.images.preprocessing",
    "keras_resnet.model",
    "keras_resnet.saving",
    "keras_resnet.weights.load",
    "keras_resnet.weights.registry",
]
NAMES = {
    "dataclasses": dataclasses,
    "keras": keras,
    "keras_resnet": keras_resnet,
    "np": np,
    "export": export,
    "ExportConfig": ExportConfig,
}


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # an example may write files
    flags = doctest.NORMALIZE_WHITESPACE
    result = doctest.testmod(import_module(name), extraglobs=NAMES, optionflags=flags)
    assert result.attempted
    assert not result.failed
