"""Every mechanism of the table exports to ONNX, small and proven against the model."""

from collections import Counter
from dataclasses import replace

import keras
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from conftest import randomize, tiny
from keras import layers
from onnx import helper
from test_models import KINDS

from export.graph.convert import convert
from export.graph.files import read
from export.model.signature import make_signature
from export.onnx import OPSETS, export_onnx
from keras_resnet import build
from keras_resnet.common.errors import InputError
from keras_resnet.images.preprocessing import Preprocessing
from keras_resnet.layers import LowestPadding2D

FAST = ("seresnext50_32x4d", "resnetblur18", "resnet50_gn")
# Operators of the tiny net of a kind, beside Conv, Relu, Add and the last three.
COUNTS = {
    "seresnext50_32x4d": {"Sigmoid": 4, "Mul": 4, "GlobalAveragePool": 5, "Reshape": 1},
    "ecaresnet26t": {"Sigmoid": 4, "Mul": 4, "GlobalAveragePool": 5, "Reshape": 13},
    "resnetblur18": {"Pad": 4, "Reshape": 1},
    "resnet50_gn": {"InstanceNormalization": 17, "BatchNormalization": 17},
    "resnetv2_50x1_bit": {"InstanceNormalization": 13, "ReduceMean": 0},
    "resnest50d": {"AveragePool": 6, "Pad": 0, "Reshape": 9, "Softmax": 4},
    "skresnet18": {"Softmax": 4, "Reshape": 9},
    "densenet121": {"BatchNormalization": 8, "Mul": 0},
    "resnet18_v2": {"BatchNormalization": 5, "Mul": 0, "Pad": 0},
}


def tiny_net(name):
    model = build(tiny(name))
    randomize(model)
    return model


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
        for name in KINDS
    ],
)
def test_every_mechanism_exports(name, tmp_path):
    path = tmp_path / "model.onnx"
    metadata = export_onnx(tiny_net(name), path, output="logits", verbose=False)
    assert metadata["architecture"] == f"tiny_{name}"
    nodes = read(path, weights=True).graph.node
    assert {node.domain for node in nodes} == {""}
    count = Counter(node.op_type for node in nodes)
    splits = 4 if name == "resnest50d_4s2x40d" else 0  # of weights, (N, 2, 2, C)
    assert count["Transpose"] == 1 + splits
    assert not count["Shape"]
    for operator, number in COUNTS.get(name, {}).items():
        assert count[operator] == number, operator


def test_group_normalization_of_open_sizes(random_images):
    model = build(tiny("resnet50_gn"), input_shape=(None, None, 3))
    randomize(model)
    signature = make_signature(model, output="logits")
    proto = ir.to_proto(convert(signature, 17, "nhwc"))
    for size in (64, 97), (81, 67):
        images = random_images(*size, 3)
        expected = np.asarray(signature(images)["logits"])
        assert np.abs(run(proto, images) - expected).max() < 1e-5 * np.ptp(expected)


def test_resizing_turns_no_image(random_images):
    """Both products take the image channels first, as it lies after its entry."""
    model = build("resnet8", input_shape=(32, 40, 3))
    randomize(model)
    preprocessing = Preprocessing((32, 40), 0.9, "bicubic", (0.4,) * 3, (0.2,) * 3)
    card = replace(model.card, preprocessing=preprocessing)
    signature = make_signature(model, card=card, preprocess="full", output="logits")
    proto = ir.to_proto(convert(signature, 17, "nhwc"))
    assert [n.op_type for n in proto.graph.node].count("Transpose") == 1
    for size in (77, 50), (20, 41):
        levels = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
        expected = np.asarray(signature(levels)["logits"])
        assert np.abs(run(proto, levels) - expected).max() < 1e-5 * np.ptp(expected)


def run(proto, images, **options):
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"], **options
    )
    return session.run(None, {"images": images})[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*COUNTS, "resnetv2_50d_evos", "resnetv2_50d_frn"])
def test_every_opset(name, random_images):
    signature = make_signature(tiny_net(name), output="logits")
    images = random_images(*signature.shape[1:])
    expected = np.asarray(signature(images)["logits"])
    for opset in OPSETS:
        proto = ir.to_proto(convert(signature, opset, "nhwc"))
        assert [(opset.domain, opset.version) for opset in proto.opset_import] == [
            ("", opset)
        ]
        actual = run(proto, images)
        assert np.abs(actual - expected).max() < 1e-5 * np.ptp(expected)


def negative_before_pool(padding):
    """A v2 net's beginning: a convolution, no ReLU, a padded pool; all negative."""
    images = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, padding="same", use_bias=False)(images)
    x = layers.MaxPooling2D(3, 2)(padding(1)(x))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(images, layers.Dense(5)(x))
    randomize(model)
    model.layers[1].kernel.assign(np.abs(model.layers[1].kernel))
    return model


@pytest.mark.parametrize("padding", [layers.ZeroPadding2D, LowestPadding2D])
def test_padding_before_a_pool_of_negatives(padding, random_images):
    """onnxruntime's default level folds a Pad by zero into the pool, wrongly.

    Ours stays right; the graph that another exporter would write does not, or this
    test could not fail.
    """
    model = negative_before_pool(padding)
    images = -1 - np.abs(random_images(12, 12, 3))
    expected = np.asarray(model(images))
    proto = ir.to_proto(convert(make_signature(model, output="logits"), 17, "nhwc"))
    assert np.abs(run(proto, images) - expected).max() < 1e-5

    naive = onnx.ModelProto()
    naive.CopyFrom(proto)
    pool = next(node for node in naive.graph.node if node.op_type == "MaxPool")
    pads = [node for node in naive.graph.node if node.op_type == "Pad"]
    assert len(pads) == (padding is layers.ZeroPadding2D)
    if pads:  # plain zeros in place of minus zeros
        del pads[0].input[2:]
    else:  # zeros in place of minus infinity
        attributes = [
            attribute for attribute in pool.attribute if attribute.name != "pads"
        ]
        pool.ClearField("attribute")
        pool.attribute.extend(attributes)
        sides = onnx.numpy_helper.from_array(np.array([0, 0, 1, 1] * 2), "sides")
        naive.graph.initializer.append(sides)
        pad = helper.make_node("Pad", [pool.input[0], "sides"], ["padded"])
        pool.input[0] = "padded"
        place = list(naive.graph.node).index(pool)
        naive.graph.node.insert(place, pad)
    plain = onnxruntime.SessionOptions()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if pads:
        exact = run(naive, images, sess_options=plain)
        assert np.abs(exact - expected).max() < 1e-5
        assert np.abs(run(naive, images) - expected).max() > 0.01
    else:
        exact = run(naive, images, sess_options=plain)
        assert np.abs(exact - expected).max() > 0.01


class FromWeights(layers.Layer):
    """Multiplies by a function of a weight alone."""

    def build(self, shape):
        self.factor = self.add_weight(shape=(3,))

    def call(self, x):
        return x * keras.ops.erfinv(self.factor * 0.1)


def of_images(x):
    return keras.ops.erfinv(x * 0.1)


@pytest.mark.parametrize("first", [of_images, FromWeights()])
def test_an_operator_without_onnx_form_is_refused_by_name(first, tmp_path):
    images = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(first(images))
    model = keras.Model(images, layers.Dense(5)(x))
    with pytest.raises(InputError, match="uses Erfinv"):
        export_onnx(model, tmp_path / "model.onnx", verbose=False)
    assert not list(tmp_path.iterdir())
