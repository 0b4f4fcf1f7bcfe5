"""Every mechanism of the table exports to ONNX, proved against the model."""

import onnx
import pytest
from conftest import randomize, tiny
from test_models import KINDS

from export.onnx import export_onnx
from keras_resnet import build

FAST = ("seresnext50_32x4d", "skresnet18", "resnetblur18")  # groups, splits, a blur


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
        for name in KINDS
    ],
)
def test_every_mechanism_exports(name, tmp_path):
    model = build(tiny(name))
    randomize(model)
    metadata = export_onnx(model, tmp_path / "model.onnx")
    assert metadata["parity"]["top1_agreement"] == 1
    assert metadata["architecture"]["name"] == f"tiny_{name}"
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    assert {node.domain for node in nodes} <= {""}
