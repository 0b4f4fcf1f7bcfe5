"""Every mechanism of the table has every precision, and stays what it was."""

from typing import get_args

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import tensorflow as tf
from conftest import randomize, tiny
from test_models import KINDS

from export.graph.convert import convert
from export.model.signature import make_signature
from export.quantization.config import Precision, QuantizationConfig
from export.quantization.images import Images
from export.quantization.measure import session_of
from export.quantization.quantize import prepare
from keras_resnet import build

# A group norm; attention by a softmax; concatenation, and norms of pre-activation.
FAST = ("resnet50_gn", "skresnet18", "densenet121")
LEAST = {"float16": 50, "int8": 20, "int8-tensorrt": 20, "int8-weights": 25}  # dB


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
        for name in KINDS
    ],
)
def test_every_mechanism_in_every_precision(name):
    model = build(tiny(name), classes=7)
    randomize(model)
    exact = convert(make_signature(model, output="logits"), 17, "nhwc")
    generator = np.random.default_rng(0)
    images = generator.normal(size=(16, *model.input_shape[1:])).astype("float32")
    batches = tf.data.Dataset.from_tensors((images, np.zeros(16, int)))
    expected = session_of(exact, "nhwc").outputs(images)["logits"]
    for precision in get_args(Precision)[1:]:
        plan = QuantizationConfig(precision=precision)
        candidates = prepare(exact, plan, Images("noise", 16, batches))
        for excluded in ((), candidates.layers[::2]):
            quantized = candidates.build(frozenset(excluded))
            onnx.checker.check_model(ir.to_proto(quantized), full_check=True)
            actual = session_of(quantized, "nhwc").outputs(images)["logits"]
            noise = np.square(actual - expected).sum() / np.square(expected).sum()
            assert -10 * np.log10(noise) > LEAST[precision], precision
