"""OpenVINO IRs: verified, read back by OpenVINO's own runtime with their metadata."""

import json

import keras
import numpy as np
import pytest
from conftest import randomize, tiny

import keras_resnet
from export import ExportConfig, export
from export.openvino import OpenVINO, main
from export.parity.verify import TOLERANCES
from keras_resnet.common.errors import InputError, MissingPackageError, ParityError
from keras_resnet.images.preprocessing import Preprocessing
from keras_resnet.saving import Card, save_model

openvino = pytest.importorskip("openvino")

SIZE = (33, 35)
PREPROCESSING = Preprocessing(SIZE, 0.9, "bilinear", (0.1, 0.4, 0.7), (0.2, 0.3, 0.4))
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


def build(name="resnet8"):
    model = keras_resnet.build(
        tiny(name), input_shape=(*SIZE, 3), classes=7, classifier_activation=None
    )
    randomize(model)
    return model


def card():
    return Card(tiny("resnet8"), tuple("abcdefg"), PREPROCESSING)


def read(path):
    """The model that the files hold, and what compiles of it in float32."""
    core = openvino.Core()
    model = core.read_model(path)
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    return model, core.compile_model(model, "CPU", hint)


@pytest.mark.parametrize(
    "name",
    ["resnet8", *(pytest.param(family, marks=pytest.mark.slow) for family in FAMILIES)],
)
def test_every_family_is_verified(name, tmp_path, random_images):
    model, path = build(name), tmp_path / "model.xml"
    config = ExportConfig(output="logits", verbose=False)
    metadata = export(model, path, config, card=card())
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "model.bin",
        "model.xml",
    ]
    assert metadata["parity"]["max_rel"] < 1e-5
    read_back, compiled = read(path)
    record = read_back.get_rt_info(["keras_resnet"]).astype(str)
    assert record == json.dumps(metadata)
    for batch in (1, 3):
        images = random_images(*SIZE, 3, batch=batch)
        expected = np.asarray(model(images, training=False))
        answer = compiled({"images": images})["logits"]
        assert np.abs(answer - expected).max() < 1e-5 * np.ptp(expected)


def test_images_of_any_size_become_the_best_classes(tmp_path):
    model, path = build(), tmp_path / "model.xml"
    config = ExportConfig(output="top_k", top=3, preprocess="full", verbose=False)
    export(model, path, config, card=card())
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (1, 50, 41, 3), dtype=np.uint8)
    actual = read(path)[1]({"images": image})
    expected = keras.ops.softmax(model(PREPROCESSING(image), training=False))
    expected = np.asarray(expected)[0]
    best = np.argsort(-expected)[:3]
    assert (actual["classes"][0] == best).all()
    assert actual["classes"].dtype == np.int64
    np.testing.assert_allclose(actual["scores"][0], expected[best], atol=1e-3)


def test_half_weights_take_half_the_space(tmp_path, capsys):
    save_model(build(), tmp_path / "best.keras", card())
    for name, words in {"whole": ["--no-verify"], "half": ["--half-weights"]}.items():
        out = str(tmp_path / f"{name}.xml")
        main([str(tmp_path / "best.keras"), "--out", out, *words])
    text = capsys.readouterr().out
    assert "not verified against the model" in text
    assert str(TOLERANCES["float16"]) in text
    sizes = [(tmp_path / f"{name}.bin").stat().st_size for name in ("whole", "half")]
    assert 0.4 < sizes[1] / sizes[0] < 0.6
    model = read(tmp_path / "half.xml")[0]
    record = model.get_rt_info(["keras_resnet"]).astype(str)
    assert json.loads(record)["precision"] == "float16"
    kinds = {node.get_type_name() for node in model.get_ops()}
    assert not kinds & {"BatchNormInference", "ShapeOf", "Broadcast"}  # all is folded


def test_a_failed_verification_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "model.xml"
    for file in (path, tmp_path / "model.bin"):
        file.write_text("before")
    convert = OpenVINO.convert

    def convert_another(artifact):
        randomize(artifact.signature.model, seed=1)
        metadata = convert(artifact)
        randomize(artifact.signature.model, seed=0)
        return metadata

    monkeypatch.setattr(OpenVINO, "convert", convert_another)
    with pytest.raises(ParityError, match="differs from the model"):
        export(build(), path, ExportConfig(force=True, verbose=False))
    assert [file.read_text() for file in sorted(tmp_path.iterdir())] == ["before"] * 2


def test_what_stands_there_is_refused_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "model.bin").write_text("weights of another")
    with pytest.raises(InputError, match=r"model\.bin exists already"):
        export(None, tmp_path / "model.xml")
    with pytest.raises(InputError, match=r"ends in \.xml"):
        main(["resnet8", "--out", str(tmp_path / "model.onnx")])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="openvino is not installed"):
        export(None, tmp_path / "other.xml")
