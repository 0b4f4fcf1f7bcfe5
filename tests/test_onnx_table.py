"""Every architecture of the table, at its own depth and width, as a proven file.

The shallow ones come first. Images are of two strides a side, which every mechanism
of a net sees as it does larger ones.
"""

import gc

import keras
import onnx
import pytest

from export.graph.files import read
from export.model.source import randomize_normalization
from export.onnx import export_onnx
from keras_resnet import build, get_architecture, list_models
from keras_resnet.architectures.records import SplitAttention

pytestmark = pytest.mark.slow


def depth(name):
    return sum(get_architecture(name).depths)


@pytest.mark.parametrize("name", sorted(list_models(), key=depth))
def test_every_architecture_exports(name, tmp_path):
    keras.backend.clear_session()  # or memory grows from net to net
    gc.collect()
    row = get_architecture(name)
    model = build(name, input_shape=(row.total_stride * 2, row.total_stride * 2, 3))
    randomize_normalization(model)  # wider draws make the deepest nets chaotic
    path = tmp_path / "model.onnx"
    metadata = export_onnx(model, path, output="logits", verbose=False)
    assert metadata["architecture"] == name
    assert metadata["parity"]["top1_agreement"] == 1
    nodes = read(path, weights=True).graph.node
    assert all(not node.domain and onnx.defs.has(node.op_type) for node in nodes)
    # the images', and the weights' of ResNeSt's splits where groups attend apart
    turned = [node for node in nodes if node.op_type == "Transpose"]
    block = row.blocks[0]
    splits = isinstance(block, SplitAttention) and block.radix > 1
    assert len(turned) == 1 or (splits and block.groups > 1)
