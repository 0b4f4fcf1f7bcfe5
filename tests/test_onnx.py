"""ONNX export: structure, parity in onnxruntime, metadata, failed verification."""

import json
from collections import Counter
from dataclasses import replace

import keras
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from conftest import randomize, tiny
from keras import layers

import keras_resnet
from export.graph import passes
from export.model.signature import make_signature
from export.onnx import export_onnx, main
from export.parity.verify import verify
from export.runtime import Session
from keras_resnet.common.errors import InputError, ParityError
from keras_resnet.images.preprocessing import Preprocessing
from keras_resnet.saving import Card, attach

TOLERANCE = 1e-5  # of the outputs' spread; float32 rounding measures below 3e-6
NAMES = ("resnet8", "resnet8_b", "resnet8_v2", "plain8")
SHRUNK = ("resnet18_v2", "resnet50", "resnet50_v1", "resnet50_v2", "resnet164_v2")


def build(name, size=33, channels=3, activation=None):
    architecture = tiny(name) if name in SHRUNK else name
    model = keras_resnet.build(
        architecture,
        input_shape=(size, size + 2 if size else None, channels),
        classes=7,
        classifier_activation=activation,
    )
    randomize(model)
    return model


def export(model, folder, **options):
    """Exports quietly; returns the session and the graph."""
    path = folder / "model.onnx"
    export_onnx(model, path, verbose=False, force=True, **options)
    return Session(path, "cpu"), onnx.load(path).graph


def assert_equal(actual, expected, tolerance=TOLERANCE):
    expected = np.asarray(expected)
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= tolerance * np.ptp(expected)


def operators(graph):
    return Counter(node.op_type for node in graph.node)


@pytest.mark.parametrize("name", NAMES + SHRUNK)
def test_every_form_is_small_and_equal(name, tmp_path, random_images):
    model = build(name)
    images = random_images(33, 35, 3, batch=3)
    session, graph = export(model, tmp_path, output="logits")
    assert_equal(session.run(images), model(images, training=False))
    assert_equal(session.run(images[:1]), model(images[:1], training=False))
    count = operators(graph)
    assert count["Transpose"] == 1
    assert not count["Mul"]
    convolved = {n.output[0] for n in graph.node if n.op_type == "Conv"}
    for node in graph.node:
        if node.op_type == "BatchNormalization":  # that nothing could take in
            uses = sum(node.input[0] in other.input for other in graph.node)
            assert node.input[0] not in convolved or uses > 1
    if not name.endswith("v2"):
        assert not count["BatchNormalization"]
    assert count["Pad"] == (2 if name in ("resnet8", "resnet8_v2") else 0)


def test_input_output_and_metadata(tmp_path):
    preprocessing = Preprocessing((33, 35), 1.0, "bilinear", (0.4,) * 3, (0.2,) * 3)
    card = Card(tiny("resnet18"), tuple("abcdefg"), preprocessing)
    path = tmp_path / "model.onnx"
    metadata = export_onnx(build("resnet8"), path, card=card, verbose=False)
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    assert [(opset.domain, opset.version) for opset in proto.opset_import] == [("", 17)]
    (images,), (output,) = proto.graph.input, proto.graph.output
    axes = [d.dim_param or d.dim_value for d in images.type.tensor_type.shape.dim]
    assert (images.name, axes) == ("images", ["batch", 33, 35, 3])
    axes = [d.dim_param or d.dim_value for d in output.type.tensor_type.shape.dim]
    assert (output.name, axes) == ("probabilities", ["batch", 7])

    assert Session(path, "cpu").metadata == json.loads(json.dumps(metadata))
    assert metadata["architecture"] == "tiny_resnet18"
    shape = [None, 33, 35, 3]
    assert metadata["input"] == {
        "name": "images",
        "shape": shape,
        "dtype": "float32",
        "layout": "nhwc",
    }
    assert metadata["outputs"] == [{"name": "probabilities", "kind": "probabilities"}]
    assert metadata["labels"] == list("abcdefg")
    assert Preprocessing.from_json(metadata["preprocessing"]) == preprocessing
    assert metadata["preprocess"] == "none"
    assert (metadata["precision"], metadata["opset"]) == ("float32", 17)
    assert metadata["versions"]["onnx"] == onnx.__version__
    parity = metadata["parity"]
    assert parity["sets"]
    assert 0 <= parity["max_rel"] < TOLERANCE
    assert parity["top1_agreement"] == 1
    beside = json.loads((tmp_path / "model.onnx.parity.json").read_text())
    assert beside == json.loads(json.dumps(parity))


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_logits_and_probabilities_of_either_ending(activation, tmp_path, random_images):
    model = build("resnet8", activation=activation)
    images = random_images(33, 35, 3)
    logits, _ = export(model, tmp_path, output="logits")
    probabilities, _ = export(model, tmp_path, output="probabilities")
    expected = np.asarray(model(images, training=False))
    if activation is None:
        assert_equal(logits.run(images), expected)
        expected = np.asarray(keras.ops.softmax(expected))
    assert_equal(probabilities.run(images), expected)
    softmax = keras.ops.softmax(logits.run(images))
    assert_equal(np.asarray(softmax), expected)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("name", ["resnet8_b", "resnet50"])
def test_preprocessing_is_baked_in(name, layout, order, tmp_path):
    """Another order of the channels costs no operator: it is in the first kernel."""
    mean, std = (0.1, 0.4, 0.7), (0.2, 0.3, 0.4)
    preprocessing = Preprocessing((33, 35), 1.0, "bilinear", mean, std, order)
    model = build(name)
    attach(model, replace(model.card, preprocessing=preprocessing))
    images = np.random.default_rng(0).integers(0, 256, (3, 33, 35, 3), dtype=np.uint8)
    session, graph = export(
        model,
        tmp_path,
        preprocess="normalize",
        layout=layout,
        output="logits",
        images=images,
    )
    assert session.input_dtype == np.uint8
    assert session.metadata["preprocess"] == "normalize"
    metadata = session.metadata["preprocessing"]
    assert Preprocessing.from_json(metadata) == preprocessing
    count = operators(graph)
    assert count["Transpose"] == (layout == "nhwc")
    assert not {"Slice", "Gather", "Split"} & count.keys()
    turned = images[..., ::-1] if order == "bgr" else images
    expected = model((turned / 255.0 - mean) / std, training=False)
    if layout == "nchw":
        images = images.transpose(0, 3, 1, 2).copy()
    assert_equal(session.run(images), expected)


@pytest.mark.parametrize("name", ["resnet8", "resnet18_v2"])
def test_channels_first_input_needs_no_transpose(name, tmp_path, random_images):
    model = build(name)
    session, graph = export(model, tmp_path, layout="nchw", output="logits")
    assert session.input_shape == (None, 3, 33, 35)
    assert not operators(graph)["Transpose"]
    images = random_images(33, 35, 3)
    turned = images.transpose(0, 3, 1, 2).copy()
    assert_equal(session.run(turned), model(images, training=False))


@pytest.mark.parametrize("name", ["resnet8", "resnet50", "resnet50_v2"])
def test_open_height_and_width(name, tmp_path, random_images):
    model = build(name, size=None)
    session, graph = export(model, tmp_path, output="logits")
    axes = graph.input[0].type.tensor_type.shape.dim
    assert [axis.dim_param for axis in axes[:3]] == ["batch", "height", "width"]
    for size in (32, 45), (65, 64):
        images = random_images(*size, 3)
        assert_equal(session.run(images), model(images, training=False))
    fixed, _ = export(model, tmp_path, input_size=(40, 33))
    assert fixed.input_shape == (None, 40, 33, 3)


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_any_number_of_channels(channels, tmp_path, random_images):
    model = build("resnet8", channels=channels)
    session, _ = export(model, tmp_path, output="logits")
    images = random_images(33, 35, channels)
    assert_equal(session.run(images), model(images, training=False))


@pytest.mark.parametrize("activation", ["gelu", "silu", "leaky_relu"])
def test_other_activations(activation, tmp_path):
    model = keras_resnet.build("resnet8", activation=activation)
    metadata = export_onnx(model, tmp_path / "model.onnx", verbose=False)
    assert metadata["parity"]["max_rel"] < 1e-5


@pytest.mark.parametrize("opset", [13, 15, 19, 23])
def test_other_opsets(opset, tmp_path, random_images):
    model = build("resnet50_v2")
    session, _ = export(model, tmp_path, opset=opset, output="logits")
    assert session.metadata["opset"] == opset
    images = random_images(33, 35, 3)
    assert_equal(session.run(images), model(images, training=False))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_mixed_precision_model_is_exported_in_float32(
    policy, tmp_path, random_images
):
    keras.config.set_dtype_policy(policy)
    try:
        mixed = build("resnet8")
    finally:
        keras.config.set_dtype_policy("float32")
    exact = build("resnet8")
    exact.set_weights(mixed.get_weights())
    session, _ = export(mixed, tmp_path, output="logits")
    images = random_images(33, 35, 3)
    assert session.metadata["precision"] == "float32"
    assert_equal(session.run(images), exact(images, training=False))
    # bfloat16 has 8 bits of mantissa, and eight layers of it add up.
    assert_equal(session.run(images), mixed(images, training=False), 0.05)


def odd_model():
    """What the builders never make: biases, shared layers, branches, zero padding."""
    images = keras.Input((21, 18, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same")(images)
    branch = layers.BatchNormalization()(x)  # x has two readers: it cannot be folded
    x = layers.Add()([x, branch])
    shared = layers.Conv2D(4, 3, padding="same")
    x = layers.BatchNormalization()(shared(shared(x)))
    x = layers.ZeroPadding2D(1)(x)  # zeros win against the negative ones
    x = layers.MaxPooling2D(3, 2)(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(5)(x)
    model = keras.Model(images, layers.Softmax()(x))
    randomize(model)
    return model


@pytest.mark.parametrize("axes", [[1], [2], [3], [2, 3]])
@pytest.mark.parametrize("groups", [1, 3])
def test_reversals_of_ones_own(axes, groups, tmp_path, random_images):
    """Those of channels go into an ungrouped kernel, others stay."""
    images = keras.Input((9, 8, 3))
    turn = tuple(slice(None, None, -1 if i in axes else None) for i in range(4))
    x = layers.Conv2D(6, 3, groups=groups)(layers.ZeroPadding2D(1)(images[turn] * 0.5))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(images, layers.Dense(5)(x))
    randomize(model)
    session, graph = export(model, tmp_path, output="logits")
    images = random_images(9, 8, 3)
    assert_equal(session.run(images), model(images, training=False))
    assert operators(graph)["Slice"] == (axes != [3] or groups != 1)


def test_a_graph_that_folding_must_leave_alone(tmp_path, random_images):
    model = odd_model()
    session, graph = export(model, tmp_path)
    images = random_images(21, 18, 3) - 1
    assert_equal(session.run(images), model(images, training=False))
    assert operators(graph)["Pad"] == 1


def test_padding_with_minus_infinity_goes_into_the_pool(tmp_path, random_images):
    model = build("resnet50_v2", size=64)
    before = keras.Model(model.input, model.layers[1].output)
    session, graph = export(model, tmp_path, output="logits")
    (pool,) = (node for node in graph.node if node.op_type == "MaxPool")
    assert onnx.helper.get_node_attr_value(pool, "pads") == [1, 1, 1, 1]
    images = random_images(64, 66, 3) - 2
    assert np.asarray(before(images)).min() < 0
    assert_equal(session.run(images), model(images, training=False))


def break_kernel(graph):
    """Turns the first 3x3 kernel by half, as a wrong transposition would."""
    for tensor in graph.initializer:
        kernel = onnx.numpy_helper.to_array(tensor)
        if kernel.shape[2:] == (3, 3):
            turned = np.ascontiguousarray(kernel[:, :, ::-1, ::-1])
            tensor.CopyFrom(onnx.numpy_helper.from_array(turned, tensor.name))
            return


@pytest.mark.parametrize("output", ["logits", "probabilities"])
def test_a_flipped_kernel_fails_the_verification(output, tmp_path):
    model = build("resnet8")
    signature = make_signature(model, output=output)
    path = tmp_path / "model.onnx"
    export_onnx(model, path, output=output, verbose=False)
    verify(signature, Session(path, "cpu").outputs)
    proto = onnx.load(path)
    break_kernel(proto.graph)
    onnx.save(proto, path)
    with pytest.raises(ParityError, match="differs from the model"):
        verify(signature, Session(path, "cpu").outputs)


def test_a_failed_verification_leaves_nothing_and_harms_nothing(tmp_path, monkeypatch):
    def reverse_a_kernel(model):
        conv = next(node for node in model.graph if node.op_type == "Conv")
        kernel = conv.inputs[1].const_value
        conv.inputs[1].const_value = ir.Tensor(kernel.numpy()[:, :, ::-1, ::-1])

    path = tmp_path / "model.onnx"
    monkeypatch.setattr(passes, "PASSES", (*passes.PASSES, reverse_a_kernel))
    with pytest.raises(ParityError):
        export_onnx(build("resnet8"), path, verbose=False)
    assert not list(tmp_path.iterdir())
    path.write_text("earlier")
    with pytest.raises(ParityError):
        export_onnx(build("resnet8"), path, force=True, verbose=False)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    assert path.read_text() == "earlier"


def test_a_tolerance_below_rounding_fails(tmp_path):
    with pytest.raises(ParityError, match="1e-12"):
        export(build("resnet8"), tmp_path, tolerance=1e-12)


def test_without_verification(tmp_path):
    session, _ = export(build("resnet8"), tmp_path, verify=False)
    assert session.metadata["parity"] is None
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_bad_arguments(tmp_path):
    model = build("resnet8")
    for options, message in (
        ({"opset": 12}, "opset=12: 13 to 23.*other inputs"),
        ({"opset": 24}, "opset=24: 13 to 23.*not proven"),
        ({"layout": "chw"}, "layout='chw'.*nchw"),
        ({"output": "labels"}, "output='labels'.*logits"),
        ({"input_size": (64, 64)}, "input_size=64x64.*33x35"),
        ({"preprocess": "normalize"}, "preprocess"),
        ({"images": np.zeros((2, 8, 8, 3), "uint8")}, "uint8 of"),
    ):
        with pytest.raises(InputError, match=message):
            export(model, tmp_path, **options)
    with pytest.raises(InputError, match=r"ends in \.onnx"):
        export_onnx(model, tmp_path / "model.pb")
    assert not list(tmp_path.iterdir())


def test_sizes_that_an_open_model_cannot_take(tmp_path):
    images = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(3, 5)(images))
    model = keras.Model(images, layers.Dense(2)(x))
    for size in (4, 8), (0, 8):
        with pytest.raises(InputError, match=rf"input_size={size[0]}x8"):
            export(model, tmp_path, input_size=size)


def test_outputs_that_overflow(tmp_path):
    model = build("resnet8")
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D):
            layer.kernel.assign(layer.kernel * 1e20)
    with pytest.raises(InputError, match="NaN or infinite outputs"):
        export(model, tmp_path)


def test_the_command_line(tmp_path, capsys):
    path = tmp_path / "deep" / "model.onnx"
    words = ["resnet8", "--out", str(path), "--input-size", "16", "18"]
    main(words)
    printed = capsys.readouterr().out
    for step in (
        "loading",
        "converting",
        "folding",
        "checking",
        "writing",
        "verifying",
    ):
        assert step in printed
    assert "SNR" in printed
    assert Session(path, "cpu").input_shape == (None, 16, 18, 3)
    with pytest.raises(InputError, match="exists already"):
        main(words)
    main([*words, "--force", "--no-verify", "--layout", "nchw", "--opset", "15"])
    assert Session(path, "cpu").input_shape == (None, 3, 16, 18)
    # The replaced file's parity would be taken for that of the new file.
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]


def test_keras_applications(tmp_path, random_images):
    model = keras.applications.ResNet50(
        weights=None, input_shape=(32, 32, 3), classes=7
    )
    randomize(model)
    session, graph = export(model, tmp_path)
    images = random_images(32, 32, 3)
    assert_equal(session.run(images), model(images, training=False), 1e-4)
    assert operators(graph)["Conv"] == 53
    assert not operators(graph)["Mul"]


def ending(kind):
    """A small classifier of one's own, and whether it can be exported."""
    images = keras.Input((8, 8, 3))
    x = layers.Flatten()(layers.Conv2D(4, 3, padding="same")(images))
    softmax = layers.Softmax()
    y = {
        "dropout": lambda: layers.Dense(5)(layers.Dropout(0.5)(x)),
        "normalization": lambda: layers.Dense(5)(
            layers.Flatten()(layers.Normalization(mean=0.4, variance=0.3)(images))
        ),
        "called twice": lambda: softmax(layers.Dense(5)(softmax(layers.Dense(6)(x)))),
        "function": lambda: keras.ops.softmax(layers.Dense(5)(x)),
        "arithmetic": lambda: layers.Dense(5)(x) * 2.0 + 1.0,
    }[kind]()
    return keras.Model(images, y)


@pytest.mark.parametrize("kind", ["dropout", "normalization", "called twice"])
def test_models_of_ones_own_equal_the_model_itself(kind, tmp_path, random_images):
    model = ending(kind)
    output = "probabilities" if kind == "called twice" else "logits"
    session, _ = export(model, tmp_path, output=output)
    images = random_images(8, 8, 3)
    assert_equal(session.run(images), model(images, training=False))


@pytest.mark.parametrize("kind", ["function", "arithmetic"])
def test_endings_that_cannot_be_told_are_refused(kind, tmp_path):
    with pytest.raises(InputError, match="cannot be told"):
        export(ending(kind), tmp_path)


@pytest.mark.parametrize("tolerance", [0, -1, float("nan"), float("inf")])
def test_a_tolerance_that_is_no_positive_number_is_refused(tolerance, tmp_path):
    with pytest.raises(InputError, match="tolerance"):
        export(build("resnet8"), tmp_path, tolerance=tolerance)
    assert not list(tmp_path.iterdir())
