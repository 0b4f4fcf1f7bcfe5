"""What `export.inspect` says: counts from the graph, metadata from the file."""

import json
import subprocess
import sys

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from conftest import randomize, tiny
from onnx import TensorProto, helper, numpy_helper
from onnx_files import write_model
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

import keras_resnet
from export.graph.convert import convert
from export.graph.counts import count
from export.inspect import inspect, main
from export.model.signature import make_signature
from keras_resnet.common.errors import InputError
from keras_resnet.complexity import count as arithmetic
from keras_resnet.images.preprocessing import Preprocessing
from keras_resnet.saving import Card

SIDE = 33
# Blurs and attention over channels are convolutions of the graph, and are none of the
# papers' tables, so that these two count more.
MORE = {"resnetblur18", "ecaresnet26t"}
FAST = ("resnet18", "resnext50_32x4d", "resnetblur18")
SLOW = ("resnet50_v2", "seresnet18", "skresnet18", "densenet121", "ecaresnet26t")


def graph_of(name, side=SIDE, **options):
    model = keras_resnet.build(
        tiny(name),
        input_shape=(side, side, 3),
        classes=7,
        classifier_activation=None,
    )
    randomize(model)
    return ir.to_proto(
        convert(make_signature(model, output="logits", **options), 17, "nhwc")
    )


@pytest.fixture(scope="module")
def plain():
    return graph_of("resnet18")


@pytest.mark.parametrize(
    "name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_multiply_adds_are_the_papers(name):
    counts = count(graph_of(name))
    expected = arithmetic(tiny(name), SIDE, 3, 7)
    if name in MORE:
        assert counts["multiply_adds"] > expected.multiply_adds
    else:
        assert counts["multiply_adds"] == expected.multiply_adds
    # a folded normalisation leaves one of its two vectors
    assert 0.9 * expected.trainable < counts["parameters"] < 1.1 * expected.trainable
    assert (counts["foldable"], counts["foreign"]) == (0, [])


def test_a_fixed_batch_counts_for_one_image(plain):
    fixed = count(graph_of("resnet18", batch=4))
    assert fixed["multiply_adds"] == count(plain)["multiply_adds"]


def test_an_open_size_is_settled_by_the_caller(plain, tmp_path, capsys):
    proto = graph_of("resnet18", side=None)
    assert count(proto)["multiply_adds"] is None
    assert count(proto, (SIDE, SIDE))["multiply_adds"] == count(plain)["multiply_adds"]
    path = tmp_path / "open.onnx"
    onnx.save(proto, path)
    main([str(path)])
    assert "--input-size may settle them" in capsys.readouterr().out
    main([str(path), "--input-size", str(SIDE), str(SIDE)])
    total = count(plain)["multiply_adds"]
    assert f"{total:,} an image of 33x33" in capsys.readouterr().out


def test_preprocessing_inside_adds_nothing(plain):
    preprocessing = Preprocessing((SIDE,) * 2, 0.9, "bilinear", (0.4,) * 3, (0.2,) * 3)
    card = Card(tiny("resnet18"), preprocessing=preprocessing)
    total = count(plain)["multiply_adds"]
    for preprocess in ("normalize", "full"):
        counts = count(graph_of("resnet18", card=card, preprocess=preprocess))
        assert counts["multiply_adds"] == total


def test_unfolded_normalisation_is_seen():
    """A file as torch writes it in training mode: NCHW, BatchNormalization kept."""
    rng = np.random.default_rng(0)
    arrays = {
        "kernel": rng.normal(size=(4, 3, 3, 3)),
        "matrix": rng.normal(size=(5, 4)),
    }
    arrays |= {name: np.ones(4) for name in ("gamma", "beta", "mean", "variance")}
    norm = ["gamma", "beta", "mean", "variance"]
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["a"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("BatchNormalization", ["a", *norm], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("BatchNormalization", ["c", *norm], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "matrix"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(v.astype("f4"), k) for k, v in arrays.items()],
    )
    counts = count(helper.make_model(graph))
    assert (counts["batch_norm"], counts["foldable"]) == (2, 1)
    assert counts["multiply_adds"] == 4 * 3 * 9 * 4 * 4 + 4 * 5
    assert counts["parameters"] == 108 + 20 + 16  # the four vectors are used twice


class Noise(CalibrationDataReader):
    def __init__(self):
        images = np.random.default_rng(0).normal(size=(2, SIDE, SIDE, 3))
        self.batches = iter([{"images": images.astype(np.float32)}])

    def get_next(self):
        return next(self.batches, None)


@pytest.mark.parametrize("form", (QuantFormat.QDQ, QuantFormat.QOperator))
def test_quantised_files_count_the_same(form, plain, tmp_path):
    onnx.save(plain, tmp_path / "float.onnx")
    quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "int8.onnx",
        Noise(),
        quant_format=form,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    expected, counts = count(plain), inspect(tmp_path / "int8.onnx")["graph"]
    assert counts["multiply_adds"] == expected["multiply_adds"]
    assert counts["multiply_adds_in_8_bits"] == expected["multiply_adds"]
    assert 0.99 < counts["parameters"] / expected["parameters"] <= 1
    assert counts["parameters_in_8_bits"] > 0.98 * counts["parameters"]
    assert expected["multiply_adds_in_8_bits"] == expected["parameters_in_8_bits"] == 0


def test_operators_that_onnx_lacks_are_named(plain):
    proto = onnx.ModelProto()
    proto.CopyFrom(plain)
    proto.graph.node[0].op_type = "StatefulPartitionedCall"
    proto.graph.node[1].domain = "com.example"
    names = ["StatefulPartitionedCall", f"com.example.{proto.graph.node[1].op_type}"]
    assert count(proto)["foreign"] == sorted(names)


def test_the_report_tells_what_the_file_says(tmp_path, capsys):
    metadata = {
        "architecture": "resnet20",
        "labels": [f"class {i}" for i in range(1000)],
        "preprocess": "none",
        "accuracy": None,
        "parity": {"max_rel": 1e-6},
    }
    path = write_model(tmp_path / "small.onnx", metadata=metadata)
    main([str(path)])
    text = capsys.readouterr().out
    assert "resnet20" in text and "class 0, class 1," in text and "(1000)" in text
    assert "class 999" not in text
    assert "Softmax" not in text and "MatMul 1" in text
    main([str(path), "--json"])
    content = json.loads(capsys.readouterr().out)
    assert content["metadata"] == metadata
    assert content["graph"]["inputs"] == [
        {"name": "images", "dtype": "float", "shape": [None, 8, 8, 3]}
    ]
    assert content["graph"]["opsets"] == {"": 17}
    assert content["bytes"] == path.stat().st_size


def test_data_beside_the_file_counts(plain, tmp_path):
    onnx.save(plain, tmp_path / "one.onnx")
    onnx.save(
        plain, tmp_path / "two.onnx", save_as_external_data=True, location="two.data"
    )
    whole, split = inspect(tmp_path / "one.onnx"), inspect(tmp_path / "two.onnx")
    assert (
        split["bytes"] > (tmp_path / "two.data").stat().st_size > 0.9 * whole["bytes"]
    )
    for name in ("nodes", "parameters", "multiply_adds"):
        assert whole["graph"][name] == split["graph"][name]


def test_other_artifacts_say_what_stands_beside_them(tmp_path, capsys):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "keras_resnet.json").write_text('{"architecture": "resnet8"}')
    main([str(folder)])
    assert "resnet8" in capsys.readouterr().out
    file = tmp_path / "model.tflite"
    file.write_bytes(b"12345678")
    (tmp_path / "model.tflite.json").write_text('{"architecture": "resnet9"}')
    assert inspect(file) == {"bytes": 8, "metadata": {"architecture": "resnet9"}}


def test_a_size_that_is_not_open_is_refused(tmp_path):
    path = write_model(tmp_path / "small.onnx")
    with pytest.raises(InputError, match=r"input_size: the size of .* is not open"):
        inspect(path, (16, 16))
    file = tmp_path / "model.tflite"
    file.write_bytes(b"12345678")
    (tmp_path / "model.tflite.json").write_text("{}")
    with pytest.raises(InputError, match="input_size is for ONNX files"):
        inspect(file, (16, 16))
    shape = ("batch", "height", "width", 3)
    path = write_model(tmp_path / "open.onnx", shape)
    with pytest.raises(InputError, match="numbers from 1"):
        inspect(path, (16, 0))


def test_neither_tensorflow_nor_keras_is_loaded(tmp_path):
    path = write_model(tmp_path / "small.onnx", metadata={"architecture": "x"})
    program = (
        "import sys; from export.inspect import main; main(sys.argv[1:]);"
        "print(sorted({'tensorflow', 'keras'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", program, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
