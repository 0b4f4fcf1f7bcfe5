"""LiteRT files: verified, of LiteRT's own operators, read by its interpreter."""

import json
import warnings

import keras
import numpy as np
import pytest
from conftest import randomize, tiny

import keras_resnet
from export import ExportConfig, export
from export.litert import LiteRT, main
from keras_resnet.common.errors import InputError, ParityError
from keras_resnet.images.preprocessing import Preprocessing
from keras_resnet.saving import Card, save_model

SIZE = (33, 35)
FAMILIES = (  # one of each mechanism
    "resnet50_v2",
    "resnext50_32x4d",
    "seresnet18",
    "ecaresnet26t",
    "resnetblur18",
    "densenet121",
    "skresnet18",
    "resnest14d",
    "res2net50_26w_4s",
    "resnetv2_18",
)
PREPROCESSING = Preprocessing(SIZE, 0.9, "bilinear", (0.1, 0.4, 0.7), (0.2, 0.3, 0.4))


def build(name="resnet8"):
    model = keras_resnet.build(
        tiny(name), input_shape=(*SIZE, 3), classes=7, classifier_activation=None
    )
    randomize(model)
    return model


def card():
    return Card(tiny("resnet8"), tuple("abcdefg"), PREPROCESSING)


def interpret(path):
    """The signature's runner; and the names of the operators."""
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        interpreter = tf.lite.Interpreter(str(path))
    operators = {operator["op_name"] for operator in interpreter._get_ops_details()}
    return interpreter.get_signature_runner("serving_default"), operators


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    "name",
    [
        "resnet8",
        *(pytest.param(family, marks=pytest.mark.slow) for family in FAMILIES),
    ],
)
def test_every_family_is_verified(name, tmp_path, random_images):
    model = build(name)
    path = tmp_path / "model.tflite"
    config = ExportConfig(output="logits", verbose=False)
    metadata = export(model, path, config, card=card())
    beside = (tmp_path / "model.tflite.json").read_text()
    assert beside == json.dumps(metadata, indent=2) + "\n"
    assert metadata["parity"]["max_rel"] < 1e-5
    assert metadata["labels"] == list("abcdefg")
    serve, operators = interpret(path)
    assert not [operator for operator in operators if operator.startswith("Flex")]
    assert not operators & {"READ_VARIABLE", "VAR_HANDLE", "RSQRT"}  # all is folded
    for batch in (1, 3):
        images = random_images(*SIZE, 3, batch=batch)
        expected = np.asarray(model(images, training=False))
        answer = serve(images=images)["logits"]
        assert np.abs(answer - expected).max() < 1e-5 * np.ptp(expected)


def test_images_of_any_size_become_the_best_classes(tmp_path):
    model, path = build(), tmp_path / "model.tflite"
    config = ExportConfig(output="top_k", top=3, preprocess="full", verbose=False)
    export(model, path, config, card=card())
    serve, operators = interpret(path)
    assert not [operator for operator in operators if operator.startswith("Flex")]
    image = pixels(1, 50, 41, 3)
    actual = serve(images=image)
    expected = keras.ops.softmax(model(PREPROCESSING(image), training=False))
    expected = np.asarray(expected)[0]
    best = np.argsort(-expected)[:3]
    assert (actual["classes"][0] == best).all()
    assert actual["classes"].dtype == np.int64
    np.testing.assert_allclose(actual["scores"][0], expected[best], atol=1e-4)


def test_the_command(tmp_path, capsys):
    model = build()
    save_model(model, tmp_path / "best.keras", card())
    path = tmp_path / "out" / "net.tflite"
    words = [str(tmp_path / "best.keras"), "--out", str(path), "--no-verify"]
    main([*words, "--output", "embedding", "--batch", "2"])
    assert "not verified against the model" in capsys.readouterr().out
    serve, _ = interpret(path)
    images = np.zeros((2, *SIZE, 3), np.float32)
    assert list(serve(images=images)) == ["embedding"]
    with pytest.raises(InputError, match="exists already"):
        main(words)


def test_a_failed_verification_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "model.tflite"
    for file in (path, tmp_path / "model.tflite.json"):
        file.write_text("before")
    write = LiteRT.write

    def write_another(artifact, path, metadata):
        randomize(artifact.signature.model, seed=1)
        write(artifact, path, metadata)
        randomize(artifact.signature.model, seed=0)

    monkeypatch.setattr(LiteRT, "write", write_another)
    with pytest.raises(ParityError, match="differs from the model"):
        export(build(), path, ExportConfig(force=True, verbose=False))
    assert [file.read_text() for file in sorted(tmp_path.iterdir())] == ["before"] * 2


def test_what_litert_lacks_is_named_in_one_line(tmp_path):
    entry = keras.Input((8, 8, 3))
    inner = keras.layers.Flatten()(keras.ops.fft2((entry, entry))[0])
    model = keras.Model(entry, keras.layers.Dense(7)(inner))
    with pytest.raises(InputError, match="has no LiteRT form") as caught:
        export(model, tmp_path / "model.tflite", ExportConfig(verbose=False))
    assert len(str(caught.value)) < 500
    assert not list(tmp_path.iterdir())


def test_names_are_checked(tmp_path):
    with pytest.raises(InputError, match=r"ends in \.tflite"):
        main(["resnet8", "--out", str(tmp_path / "model.onnx")])
