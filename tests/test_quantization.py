"""Lower precisions: what is written, what it costs, and what is refused."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import keras
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import tensorflow as tf
from conftest import randomize, tiny
from keras import layers
from onnx import TensorProto, numpy_helper

import keras_resnet
from export.graph.convert import convert
from export.model.signature import make_signature
from export.onnx import export_onnx, main
from export.quantization import exclude
from export.quantization.calibrate import Histogram, calibrate
from export.quantization.config import (
    CalibrationMethod,
    Precision,
    QuantizationConfig,
)
from export.quantization.exclude import fewest, rank
from export.quantization.images import Images, images_of
from export.quantization.measure import evaluate, session_of
from export.quantization.passes import PRECISIONS
from export.quantization.quantize import prepare
from export.quantization.quantize import quantize as quantize_model
from keras_resnet.common.command import run
from keras_resnet.common.errors import AccuracyError, InputError
from keras_resnet.saving import Card, attach, save_model
from keras_resnet.training.data import load

ROOT = Path(__file__).parent.parent
LOWER = get_args(Precision)[1:]
NONE = frozenset()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data_sets")


@pytest.fixture(scope="module")
def model(folder):
    """A small net that knows the digits, trained for seconds."""
    digits = load("digits", data_dir=folder)
    keras.utils.set_random_seed(0)
    architecture = keras_resnet.get_architecture("resnet8")
    model = keras_resnet.build(architecture, input_shape=(8, 8, 1), classes=10)
    random_images = digits.shuffled(tf.constant(0, tf.int64)).batch(2000)
    images, labels = random_images.get_single_element()
    images = digits.preprocessing.normalize(images)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(images, labels, batch_size=32, epochs=8, verbose=0)
    training = {"data": "digits"}
    attach(model, Card(architecture, digits.labels, digits.preprocessing, training))
    return model


@pytest.fixture(scope="module")
def signature(model):
    return make_signature(model)


@pytest.fixture(scope="module")
def exact(signature):
    return convert(signature, 17, "nhwc")


@pytest.fixture
def plan(folder):
    """`plan(precision=..., ...)`, which finds the digits."""
    return partial(QuantizationConfig, data_dir=folder)


def quantize(exact, signature, plan):
    return quantize_model(exact, plan, *images_of(plan, signature))


def calibration_images(plan, signature):
    return images_of(replace(plan, validate="none"), signature)[0]


def operators(proto):
    return Counter(node.op_type for node in proto.graph.node)


def constants(proto):
    return {
        tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer
    }


def optimized(proto, folder):
    """The operators that onnxruntime really runs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return operators(onnx.load(folder / "optimized.onnx"))


def noise(*shape, batch=8, seed=0):
    images = np.random.default_rng(seed).normal(size=(batch, *shape)).astype("float32")
    return Images("noise", batch, tf.data.Dataset.from_tensors((images, [0] * batch)))


def lowered(name, precision, **options):
    """A small net of random weights in a precision, made with noise; also float32."""
    architecture = tiny(name)
    net = keras_resnet.build(architecture, classes=7)
    randomize(net)
    exact = convert(make_signature(net, output="logits"), 17, "nhwc")
    random_images = noise(*net.input_shape[1:])
    config = QuantizationConfig(precision=precision, **options)
    candidates = prepare(exact, config, random_images)
    proto = ir.to_proto(candidates.build(NONE))
    return proto, ir.to_proto(exact), next(iter(random_images))[0]


def logits(proto, images):
    return session_of(ir.from_proto(proto), "nhwc").outputs(images)["logits"]


@pytest.mark.parametrize("precision", LOWER)
def test_accuracy_holds_and_is_written_down(precision, exact, signature, plan):
    reduced = quantize(exact, signature, plan(precision=precision))
    proto = ir.to_proto(reduced.model)
    onnx.checker.check_model(proto, full_check=True)
    accuracy = reduced.accuracy
    assert accuracy["data"] == "digits" and accuracy["images"] == 355
    assert accuracy["float32"]["top1"] > 0.9
    lost = 100 * (accuracy["float32"]["top1"] - accuracy["exported"]["top1"])
    assert accuracy["drop_points"] == pytest.approx(lost, abs=1e-5)
    assert accuracy["drop_points"] <= accuracy["max_drop"] == 0.5
    assert not accuracy["chosen_on_these"]
    assert proto.ByteSize() < ir.to_proto(exact).ByteSize() * 0.7
    record = json.loads(json.dumps(reduced.calibration))
    calibrated = precision in ("int8", "int8-tensorrt")
    assert record["data"] == ("digits" if calibrated else None)
    assert record["images"] == (256 if calibrated else 0)
    assert record["method"] == ("percentile" if calibrated else None)
    ends = [*proto.graph.input, *proto.graph.output]
    assert [value.name for value in ends] == ["images", "probabilities"]
    assert {value.type.tensor_type.elem_type for value in ends} == {TensorProto.FLOAT}


@pytest.mark.parametrize("method", get_args(CalibrationMethod))
def test_every_method_calibrates(method, exact, signature, plan):
    reduced = quantize(
        exact, signature, plan(precision="int8", calibration_method=method)
    )
    assert reduced.accuracy["drop_points"] <= 0.5
    assert reduced.calibration["method"] == method


@pytest.mark.parametrize("name", ["resnet50", "resnet50_v2", "seresnext50_32x4d"])
def test_on_cpus_all_is_integer(name, tmp_path):
    """Nothing is left in float between the first and the last integer."""
    counts = optimized(lowered(name, "int8")[0], tmp_path)
    integer = {kind for kind in counts if kind.startswith(("QLinear", "Nhwc"))}
    rest = set(counts) - integer
    assert rest <= {"QuantizeLinear", "QGemm", "Transpose", "Reshape", "Squeeze"}
    assert counts["QuantizeLinear"] == counts["QGemm"] == 1


def test_weights_are_symmetric_by_channel_and_activations_bytes():
    proto, _, _ = lowered("resnet18", "int8")
    arrays = constants(proto)
    for name, array in arrays.items():
        if name.endswith("kernel.rounded.quantized"):
            assert array.dtype == np.int8
            assert np.abs(array.astype(int)).max() <= 127
        if name.endswith("kernel.rounded.zero_point"):
            assert array.size > 1 and not array.any()
        if name.endswith("bias.rounded.quantized"):
            assert array.dtype == np.int32
    pairs = [n for n in proto.graph.node if n.op_type == "QuantizeLinear"]
    assert {arrays[n.input[2]].dtype for n in pairs} == {np.dtype(np.uint8)}
    # Behind a ReLU the lowest integer is 0.
    after = [n for n in pairs if n.input[0].endswith("Relu:0.exact")]
    assert after and not any(arrays[n.input[2]].any() for n in after)


def test_for_tensorrt_shortcuts_are_rounded_and_fused_branches_not():
    proto, _, _ = lowered("resnet50", "int8-tensorrt")
    arrays = constants(proto)
    makers = {name: node for node in proto.graph.node for name in node.output}
    assert operators(proto)["Add"] == 4
    for node in proto.graph.node:
        if node.op_type == "Add":
            entering = sorted(makers[name].op_type for name in node.input)
            assert entering == ["Conv", "DequantizeLinear"]
        if node.op_type == "Conv":
            assert makers[node.input[0]].op_type == "DequantizeLinear"
            assert arrays[node.input[2]].dtype == np.float32
        if node.op_type == "QuantizeLinear":
            zero = arrays[node.input[2]]
            assert zero.dtype == np.int8 and not zero.any()


def test_float16_keeps_statistics_and_softmax_in_float32():
    proto, exact, images = lowered("resnet50_gn", "float16")
    inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True).graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in inferred.value_info}
    for node in proto.graph.node:
        if node.op_type in ("ReduceMean", "Sqrt", "InstanceNormalization"):
            assert kinds[node.output[0]] == TensorProto.FLOAT
        if node.op_type == "Conv":
            assert kinds[node.output[0]] == TensorProto.FLOAT16
    halves = [a for a in constants(proto).values() if a.dtype == np.float16]
    assert sum(a.nbytes for a in halves) > 0.9 * proto.ByteSize()
    expected, actual = logits(exact, images), logits(proto, images)
    assert np.abs(actual - expected).max() < 0.01 * np.ptp(expected)


def test_float16_cuts_what_it_cannot_hold():
    proto, exact, _ = lowered("resnet18", "float16")
    bias = next(
        tensor for tensor in exact.graph.initializer if tensor.name.endswith(".bias")
    )
    values = numpy_helper.to_array(bias).copy()
    values[:3] = 1e6, -1e6, 1e-9
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    config = QuantizationConfig(precision="float16")
    proto = ir.to_proto(prepare(ir.from_proto(exact), config, None).build(NONE))
    assert constants(proto)[f"{bias.name}.half"][:3].tolist() == [65504, -65504, 0]


def test_int8_weights_are_widened_when_the_file_is_loaded(tmp_path):
    proto, exact, images = lowered("resnet50", "int8-weights")
    assert proto.ByteSize() < 0.4 * exact.ByteSize()
    assert not optimized(proto, tmp_path).keys() & {"Cast", "Mul", "DequantizeLinear"}
    expected, actual = logits(exact, images), logits(proto, images)
    assert np.abs(actual - expected).max() < 0.05 * np.ptp(expected)


@pytest.fixture(scope="module")
def fragile_net(model):
    """The net with one channel a thousand times as large, and made up for: the same
    function, whose other channels drown in one scale for all."""
    net = keras.models.clone_model(model)
    net.set_weights(model.get_weights())
    attach(net, model.card)
    norm = next(layer for layer in net.layers if layer.name.endswith("layer1-0-bn1"))
    after = next(layer for layer in net.layers if layer.name.endswith("layer1-0-conv2"))
    factor = np.ones(norm.gamma.shape[0], "float32")
    factor[0] = 3000
    norm.gamma.assign(norm.gamma * factor)
    norm.beta.assign(norm.beta * factor)
    after.kernel.assign(after.kernel / factor[:, None])
    return net


@pytest.fixture(scope="module")
def fragile(fragile_net):
    signature = make_signature(fragile_net)
    return convert(signature, 17, "nhwc"), signature


def test_sensitive_layers_are_found_and_kept_in_float(fragile, plan):
    reduced = quantize(*fragile, plan(precision="int8"))
    assert reduced.accuracy["drop_points"] <= 0.5
    kept = reduced.calibration["kept_in_float"]
    assert reduced.accuracy["chosen_on_these"]
    assert 1 <= len(kept) <= 3
    assert all("layer1" in name for name in kept)
    nodes = {node.name: node for node in ir.to_proto(reduced.model).graph.node}
    makers = {name: node for node in nodes.values() for name in node.output}
    for name in kept:
        if nodes[name].op_type == "Conv":
            assert nodes[name].input[1] not in makers  # its kernel is as it was


def test_too_great_a_loss_is_refused(fragile, plan, monkeypatch):
    monkeypatch.setattr(exclude, "MAX_EXCLUDED_SHARE", 0)
    with pytest.raises(AccuracyError, match="int8 loses"):
        quantize(*fragile, plan(precision="int8"))


def complaint_of(words, capsys):
    """What a command prints on standard error when it refuses."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run(lambda: main([str(word) for word in words]))
    complaint = capsys.readouterr().err
    assert ended.value.code == 2
    assert complaint.startswith("error: ") and complaint.count("\n") == 1
    return complaint


def test_a_command_that_loses_too_much_is_one_line(
    fragile_net, folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(exclude, "MAX_EXCLUDED_SHARE", 0)
    save_model(fragile_net, tmp_path / "net.keras")
    path = tmp_path / "out" / "net.onnx"
    path.parent.mkdir()
    path.write_text("earlier")
    words = [tmp_path / "net.keras", "--out", path, "--force", "--data-dir", folder]
    complaint = complaint_of([*words, "--precision", "int8"], capsys)
    assert "int8 loses" in complaint and "max_drop=0.5" in complaint
    assert path.read_text() == "earlier"
    assert list(path.parent.iterdir()) == [path]
    # Where any drop is allowed, the proof still holds the file to its gate.
    words += ["--precision", "int8", "--max-drop", "100"]
    assert "the tolerance for int8 is 15 dB" in complaint_of(words, capsys)
    assert path.read_text() == "earlier"


def test_the_fewest_are_spared():
    names = [str(i) for i in range(20)]
    asked = []

    def holds(kept):
        asked.append(kept)
        return len(kept) >= needed

    for needed in range(1, 11):
        assert fewest(names, 10, holds) == frozenset(names[:needed])
    assert len(asked) <= 8 * 10
    assert fewest(names, 10, lambda kept: len(kept) > 10) is None


def test_without_classes_accuracy_is_left_out(model, plan):
    signature = make_signature(model, output="embedding")
    exact = convert(signature, 17, "nhwc")
    assert quantize(exact, signature, plan(precision="int8")).accuracy is None
    with pytest.raises(InputError, match="names no classes"):
        quantize(exact, signature, plan(precision="int8", validate="digits"))


def test_accuracy_is_not_measured_on_request(exact, signature, plan):
    reduced = quantize(exact, signature, plan(precision="float16", validate="none"))
    assert reduced.accuracy is None


def test_top_k_is_judged_by_its_classes(model, plan):
    signature = make_signature(model, output="top_k", top=3)
    exact = convert(signature, 17, "nhwc")
    accuracy = quantize(exact, signature, plan(precision="int8")).accuracy
    assert accuracy["float32"]["top1"] > 0.9
    assert accuracy["float32"]["top5"] is None


def test_nchw_and_a_fixed_batch(model, plan):
    signature = make_signature(model, batch=4)
    exact = convert(signature, 17, "nchw")
    reduced = quantize(exact, signature, plan(precision="int8", layout="nchw"))
    assert reduced.accuracy["images"] == 355
    assert reduced.accuracy["drop_points"] <= 0.5


@pytest.mark.parametrize("preprocess", ["none", "normalize", "full"])
def test_images_enter_as_the_file_wants_them(preprocess, model, plan, folder):
    signature = make_signature(model, preprocess=preprocess)
    digits = load("digits", data_dir=folder)
    random_images = calibration_images(plan(precision="int8"), signature)
    images, labels = next(iter(random_images))
    assert random_images.count == 256 and len(images) == len(labels)
    raw, expected = next(iter(digits.shuffled(tf.constant(0, tf.int64))))
    assert labels[0] == expected
    if preprocess == "none":
        raw = digits.preprocessing.normalize(raw)
    assert images.dtype == signature.dtype
    np.testing.assert_array_equal(images[0], raw)
    again, _ = next(iter(random_images))
    np.testing.assert_array_equal(images, again)


def test_images_of_any_size(tmp_path, model, photos):
    """Resized and cropped as the card says; whole ones where the file does it."""
    record = replace(model.card.preprocessing, size=(20, 24), crop=0.875)
    record = replace(record, mean=(0.5,) * 3, std=(0.25,) * 3)
    net = keras_resnet.build("resnet8", input_shape=(20, 24, 3), classes=2)
    attach(net, Card(model.card.architecture, ("cats", "dogs"), record))
    plan = QuantizationConfig(precision="int8", calibrate=f"folder:{photos}")
    images, _ = next(iter(calibration_images(plan, make_signature(net))))
    assert images.shape[1:] == (20, 24, 3)
    whole = calibration_images(plan, make_signature(net, preprocess="full"))
    first, _ = next(iter(whole))
    assert first.dtype == np.uint8 and len(first) == 1
    np.testing.assert_allclose(images[0], record(first)[0], atol=1e-5)


def test_a_card_starts_no_download_and_names_no_path(model, photos, exact, plan):
    for recorded in (f"folder:{photos}", "imagenet2012", "../../etc", 7):
        card = replace(model.card, training={"data": recorded})
        signature = make_signature(model, card=card)
        with pytest.raises(InputError, match="name one with --calibrate"):
            calibration_images(plan(precision="int8"), signature)
        with pytest.raises(InputError, match="name one with --validate"):
            quantize(exact, signature, plan(precision="float16"))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"precision": "int4"}, "precision='int4': accepted are"),
        ({"calibration_method": "mse"}, "calibration_method='mse': accepted are"),
        ({"calibration_images": 1}, "calibration_images=1: 8 or more"),
        ({"validation_images": 0}, "validation_images=0: 1 or more"),
        ({"max_drop": -1.0}, "max_drop=-1.0: points of top-1"),
        ({"max_drop": float("nan")}, "max_drop=nan: points of top-1"),
        (
            {"precision": "float16", "calibrate": "digits"},
            "calibrate='digits' has no effect with precision='float16'",
        ),
        (
            {"precision": "int8-weights", "calibration_method": "minmax"},
            "calibration_method='minmax' has no effect",
        ),
        (
            {"precision": "float32", "max_drop": 0.1},
            "max_drop=0.1 has no effect with precision='float32'",
        ),
        (
            {"validate": "none", "validation_images": 9},
            "validation_images=9 has no effect with .* and validate='none'",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(options, complaint):
    with pytest.raises(InputError, match=complaint):
        QuantizationConfig(**{"precision": "int8"} | options)


def test_images_that_do_not_fit_are_refused(model, exact, signature, photos, plan):
    with pytest.raises(InputError, match="images of 3 channels, the model takes 1"):
        calibration_images(
            plan(precision="int8", calibrate=f"folder:{photos}"), signature
        )
    with pytest.raises(InputError, match="neither folder:PATH nor a data set"):
        calibration_images(plan(precision="int8", calibrate="digit"), signature)
    net = keras_resnet.build("resnet8", input_shape=(8, 8, 1), classes=11)
    with pytest.raises(InputError, match="has 10 classes, the model 11"):
        quantize(exact, make_signature(net), plan(precision="int8", calibrate="digits"))
    net = keras_resnet.build("resnet8", input_shape=(16, 16, 1), classes=10)
    with pytest.raises(InputError, match="8x8, the model takes 16x16"):
        quantize(exact, make_signature(net), plan(precision="int8", calibrate="digits"))
    reordered = replace(model.card, labels=model.card.labels[::-1])
    with pytest.raises(InputError, match="classes in another order"):
        quantize(exact, make_signature(model, card=reordered), plan(precision="int8"))


def write_images(root, count, value=None):
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        for index in range(count):
            image = np.full((9, 9, 3), value or 20 * index, "uint8")
            keras.utils.save_img(root / label / f"{index}.png", image, scale=False)


def test_too_few_or_constant_images_are_refused(tmp_path):
    net = keras_resnet.build("resnet8", input_shape=(16, 16, 3), classes=2)
    signature = make_signature(net)
    write_images(tmp_path / "few", 2)
    write_images(tmp_path / "grey", 8, value=127)
    for name, complaint in (
        ("few", "has 2 training images: 8"),
        ("grey", "one value"),
    ):
        plan = QuantizationConfig(
            precision="int8", calibrate=f"folder:{tmp_path / name}"
        )
        with pytest.raises(InputError, match=complaint):
            calibration_images(plan, signature)


def test_a_command_refuses_images_to_calibrate_with(tmp_path, capsys):
    net = keras_resnet.build("resnet8", input_shape=(16, 16, 1), classes=2)
    save_model(net, tmp_path / "net.keras")
    write_images(tmp_path / "coloured", 9)
    write_images(tmp_path / "one", 1)
    (tmp_path / "one" / "b" / "0.png").unlink()
    (tmp_path / "one" / "b").rmdir()
    out = tmp_path / "out"
    for spec, complaint in (
        ("digits", "8x8, the model takes 16x16"),
        (f"folder:{tmp_path / 'coloured'}", "3 channels, the model takes 1"),
        (f"folder:{tmp_path / 'one'}", "there is only 'a'"),
        (f"folder:{tmp_path / 'one' / 'a'}", "no readable image"),  # no labels
        (f"folder:{tmp_path / 'none'}", "no such folder"),
    ):
        words = [tmp_path / "net.keras", "--out", out / "net.onnx", "--calibrate", spec]
        printed = complaint_of([*words, "--precision", "int8"], capsys)
        assert complaint in printed
        assert not out.exists()


def network_of_ones_own(dtype="float32"):
    """As Keras's users write them: no card, and kinds of layers that no ResNet has."""
    images = keras.Input((16, 16, 3), dtype=dtype)
    x = layers.Rescaling(1 / 255)(images) if dtype == "uint8" else images
    x = layers.Conv2D(32, 3, padding="same", activation="swish")(x)
    x = layers.SeparableConv2D(64, 3, strides=2, padding="same")(x)
    x = layers.LeakyReLU()(layers.BatchNormalization()(x))
    x = layers.Concatenate()([x, layers.Conv2D(16, 1, activation="relu6")(x)])
    x = layers.Flatten()(layers.AveragePooling2D(2)(x))
    x = layers.Dense(64, activation="elu")(layers.Dropout(0.5)(x))
    model = keras.Model(images, layers.Dense(2, activation="softmax")(x))
    randomize(model)
    return model


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [*((precision, "float32") for precision in LOWER), ("int8", "uint8")],
)
def test_a_network_of_ones_own(precision, dtype, photos, tmp_path, capsys):
    """Nothing says how its images are normalized: those of data are as training
    does it, and raw ones prove nothing where ranges are of such."""
    spec, path = f"folder:{photos}", tmp_path / "net.onnx"
    calibrated = precision.startswith("int8") and precision != "int8-weights"
    options = {"precision": precision, "validate": spec, "max_drop": 100}
    options |= {"calibrate": spec} if calibrated else {}
    raw = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
    net = network_of_ones_own(dtype)
    metadata = export_onnx(net, path, images=raw, **options)
    printed = capsys.readouterr().out
    assumes = dtype == "float32"
    assert ("nothing says how images are normalized" in printed) == assumes
    assert ("not used to verify" in printed) == (assumes and calibrated)
    assert metadata["preprocessing"] is None
    assert metadata["accuracy"]["images"] == 4
    proven = metadata["parity"]["sets"]["real"]["images"]
    assert proven == (4 if assumes and calibrated else 9)
    if calibrated:
        mean = (0.485, 0.456, 0.406)
        assumed = metadata["calibration"]["assumed"]
        assert assumed == (
            {"mean": mean, "std": (0.229, 0.224, 0.225)} if assumes else None
        )
        images, _ = next(
            iter(images_of(QuantizationConfig(**options), make_signature(net))[0])
        )
        assert (images.max() > 10) != assumes


@pytest.mark.parametrize("opset", [13, 15, 23])
def test_every_opset(opset):
    """Of a net in which normalisation is left, and whose pool is padded."""
    net = keras_resnet.build(tiny("resnet50_v2"), classes=7)
    randomize(net)
    exact = convert(make_signature(net, output="logits"), opset, "nhwc")
    random_images = noise(*net.input_shape[1:])
    images = next(iter(random_images))[0]
    expected = session_of(exact, "nhwc").outputs(images)["logits"]
    for precision in LOWER:
        config = QuantizationConfig(precision=precision)
        proto = ir.to_proto(prepare(exact, config, random_images).build(NONE))
        assert proto.opset_import[0].version == opset
        onnx.checker.check_model(proto, full_check=True)
        actual = logits(proto, images)
        assert np.abs(actual - expected).max() < 0.1 * np.ptp(expected), precision


# Lowers net.onnx in every precision, and prints a digest of what comes out.
AGAIN = """
import hashlib
from typing import get_args
import numpy as np
import onnx_ir as ir
from export.quantization.quantize import prepare
from export.quantization.config import Precision, QuantizationConfig
class Noise:
    name, count, assumed = "noise", 8, None
    def watched(self, name, verbose):
        yield np.load("images.npy"), None
digest, exact = hashlib.sha256(), ir.load("net.onnx")
for precision in get_args(Precision)[1:]:
    candidates = prepare(exact, QuantizationConfig(precision=precision), Noise())
    model = candidates.build(frozenset(candidates.layers[::2]))
    digest.update(ir.to_proto(model).SerializeToString())
print(digest.hexdigest())
"""


def test_the_same_bytes_in_every_process(tmp_path):
    """Whatever order Python keeps its sets in."""
    _, exact, images = lowered("resnet50_v2", "float16")
    onnx.save(exact, tmp_path / "net.onnx")
    np.save(tmp_path / "images.npy", images)
    digests = set()
    for seed in ("1", "2", "3"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", AGAIN]
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, check=True
        )
        digests.add(ended.stdout)
    assert len(digests) == 1


def test_ranges_over_images_that_grow():
    generator = np.random.default_rng(0)
    values = [generator.normal(0, 2.0**k, 100_000).astype("float32") for k in range(4)]
    histogram = Histogram()
    for batch in values:
        histogram.add(batch)
    joined = np.concatenate(values)
    assert histogram.counts.sum() == joined.size
    assert histogram.minmax() == (joined.min(), joined.max())
    width = histogram.limit / 4096
    expected = np.percentile(joined, [0.0005, 99.9995])
    np.testing.assert_allclose(histogram.percentile(), expected, atol=2 * width)


def test_entropy_leaves_outliers_out_and_keeps_zero_exact():
    values = np.maximum(np.random.default_rng(0).normal(size=200_000), 0)
    values[0] = 100
    histogram = Histogram()
    histogram.add(values.astype("float32"))
    low, high = histogram.entropy()
    assert low == 0
    assert 3 < high < 20


def test_a_tensor_of_zeros_has_a_range():
    histogram = Histogram()
    histogram.add(np.zeros(10, "float32"))
    for method in get_args(CalibrationMethod):
        assert getattr(histogram, method)() == (0, 0)


def test_values_without_a_range_are_refused(exact):
    values = np.full((8, 8, 8, 1), np.nan, "float32")
    images = Images("nan", 8, tf.data.Dataset.from_tensors((values, [0] * 8)))
    config = QuantizationConfig(precision="int8", calibration_method="minmax")
    with pytest.raises(InputError, match="'images' is NaN or infinite"):
        calibrate(exact, config, ["images"], images)


def test_accuracy_of_outputs():
    logits = np.eye(8, dtype="float32")[[0, 1, 2, 3]] + np.arange(8) / 100
    random_images = [(logits, np.array([0, 1, 7, 0]))]
    accuracy = evaluate(lambda images: {"logits": images}, random_images)
    assert accuracy == {"top1": 0.5, "top5": 0.75, "images": 4}
    with pytest.raises(InputError, match="NaN"):
        evaluate(lambda images: {"logits": images * np.nan}, random_images)
    with pytest.raises(InputError, match="no images"):
        evaluate(lambda images: {"logits": images}, [])


def test_the_noisiest_node_comes_first(fragile, plan):
    exact, signature = fragile
    random_images = calibration_images(plan(precision="int8"), signature)
    candidates = prepare(exact, plan(precision="int8"), random_images)
    images = [next(iter(random_images))[0]]
    ranked = rank(candidates.build, candidates.layers, "nhwc", images, False)
    assert sorted(ranked) == sorted(candidates.layers)
    assert "layer1-0-conv" in ranked[0]


def test_every_candidate_is_built_once_and_the_float32_model_stays(
    fragile, plan, monkeypatch
):
    exact, signature = fragile
    before = ir.to_proto(exact).SerializeToString()
    config = plan(precision="int8")
    built, passes = [], PRECISIONS["int8"]

    def lower(model, layers, ranges):
        built.append(tuple(layers))
        passes.lower(model, layers, ranges)

    monkeypatch.setitem(PRECISIONS, "int8", replace(passes, lower=lower))
    kept = quantize(exact, signature, config).calibration["kept_in_float"]
    assert kept and len(built) == len(set(built))
    assert ir.to_proto(exact).SerializeToString() == before


def test_the_accuracy_of_float32_is_measured_where_data_is_named(model, tmp_path):
    path = tmp_path / "model.onnx"
    options = {"validate": "digits", "validation_images": 100, "verbose": False}
    accuracy = export_onnx(model, path, **options)["accuracy"]
    assert accuracy["data"] == "digits" and accuracy["images"] == 100
    assert accuracy["exported"] == accuracy["float32"] and accuracy["drop_points"] == 0
