"""Triton's model repository: its configuration, its copy, what it spares."""

import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
)
from onnx import TensorProto
from onnx_files import expected, write_model

from export.triton import main, make_repository
from keras_resnet.common.errors import InputError

LABELS = ["tench", 'a "quoted" name', "two\nlines", "Ente"]
METADATA = {
    "input": {"name": "images", "layout": "nhwc"},
    "outputs": [{"name": "logits", "kind": "logits"}],
    "labels": LABELS,
    "precision": "float16",
}
# The part of Triton's model_config.proto (proto3, package inference) that is written:
# by message, the number, type and multiplicity of each field. Parsed by protobuf, a
# misspelt field, a wrong type or a name that is no enumerator is an error.
ENUMERATORS = {
    "DataType": {"TYPE_UINT8": 2, "TYPE_INT64": 9, "TYPE_FP16": 10, "TYPE_FP32": 11},
    "Format": {"FORMAT_NONE": 0, "FORMAT_NHWC": 1, "FORMAT_NCHW": 2},
    "Kind": {"KIND_AUTO": 0, "KIND_GPU": 1, "KIND_CPU": 2, "KIND_MODEL": 3},
}
MESSAGES = {
    "ModelConfig": {
        "name": (1, "string"),
        "max_batch_size": (4, "int32"),
        "input": (5, "Input*"),
        "output": (6, "Output*"),
        "instance_group": (7, "Group*"),
        "default_model_filename": (8, "string"),
        "dynamic_batching": (11, "Batching"),
        "optimization": (12, "Optimization"),
        "model_warmup": (16, "Warmup*"),
        "backend": (17, "string"),
    },
    "Input": {
        "name": (1, "string"),
        "data_type": (2, "DataType"),
        "format": (3, "Format"),
        "dims": (4, "int64*"),
    },
    "Output": {
        "name": (1, "string"),
        "data_type": (2, "DataType"),
        "dims": (3, "int64*"),
        "label_filename": (4, "string"),
    },
    "Group": {"count": (2, "int32"), "kind": (4, "Kind")},
    "Batching": {
        "preferred_batch_size": (1, "int32*"),
        "max_queue_delay_microseconds": (2, "uint64"),
    },
    "Optimization": {"execution_accelerators": (4, "Accelerators")},
    "Accelerators": {
        "gpu_execution_accelerator": (1, "Accelerator*"),
        "cpu_execution_accelerator": (2, "Accelerator*"),
    },
    "Accelerator": {"name": (1, "string"), "parameters": (2, "Parameter*")},
    "Parameter": {"key": (1, "string"), "value": (2, "string")},
    "Warmup": {
        "name": (1, "string"),
        "batch_size": (2, "uint32"),
        "inputs": (3, "Given*"),
    },
    "Given": {"key": (1, "string"), "value": (2, "Sample")},
    "Sample": {
        "data_type": (1, "DataType"),
        "dims": (2, "int64*"),
        "zero_data": (3, "bool"),
    },
}


@pytest.fixture(scope="module")
def parse():
    """A parser of config.pbtxt."""
    file = descriptor_pb2.FileDescriptorProto(name="config.proto", syntax="proto3")
    for name, values in ENUMERATORS.items():
        kind = file.enum_type.add(name=name)
        if 0 not in values.values():
            kind.value.add(name=f"{name}_INVALID", number=0)
        for enumerator, number in values.items():
            kind.value.add(name=enumerator, number=number)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            entry = message.field.add(name=field, number=number)
            entry.label = 3 if kind.endswith("*") else 1
            kind = kind.removesuffix("*")
            if kind in MESSAGES or kind in ENUMERATORS:
                entry.type, entry.type_name = 11 if kind in MESSAGES else 14, kind
            else:
                entry.type = getattr(entry, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    config = message_factory.GetMessageClass(pool.FindMessageTypeByName("ModelConfig"))

    def parse_file(folder):
        return text_format.Parse((folder / "config.pbtxt").read_text(), config())

    return parse_file


def random_images(batch):
    shape = (batch, 8, 8, 3)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_a_repository_that_serves_the_file(tmp_path, parse):
    path = write_model(tmp_path / "small.onnx", metadata=METADATA)
    main([str(path), "--out", str(tmp_path / "models"), "--max-batch", "4"])
    folder = tmp_path / "models" / "small"
    config = parse(folder)
    assert (config.name, config.backend) == ("small", "onnxruntime")
    assert config.max_batch_size == 4
    (entry,), (output,) = config.input, config.output
    assert (entry.name, list(entry.dims)) == ("images", [8, 8, 3])
    assert (entry.data_type, entry.format) == (11, 1)  # float32, NHWC
    assert (output.name, list(output.dims), output.data_type) == ("logits", [4], 11)
    assert output.label_filename == "labels.txt"
    assert (folder / "labels.txt").read_text().splitlines() == [
        "tench",
        'a "quoted" name',
        "two lines",
        "Ente",
    ]
    assert config.dynamic_batching.max_queue_delay_microseconds == 100
    assert [warmup.batch_size for warmup in config.model_warmup] == [1, 4]
    assert list(config.model_warmup[0].inputs[0].value.dims) == [8, 8, 3]

    copy = folder / "1" / config.default_model_filename
    assert copy.read_bytes() == path.read_bytes()
    session = ort.InferenceSession(copy, providers=["CPUExecutionProvider"])
    for batch in (1, 3, config.max_batch_size):
        images = random_images(batch)
        (answer,) = session.run([output.name], {entry.name: images})
        np.testing.assert_allclose(answer, expected(images), rtol=1e-5)


def test_a_fixed_batch_is_served_as_it_is(tmp_path, parse):
    path = write_model(tmp_path / "two.onnx", shape=(2, 8, 8, 3), metadata=METADATA)
    config = parse(make_repository(path, tmp_path / "models"))
    assert config.max_batch_size == 0
    assert list(config.input[0].dims) == [2, 8, 8, 3]
    assert list(config.output[0].dims) == [2, 4]
    assert config.input[0].format == 0  # Triton has formats for three axes alone
    assert not config.HasField("dynamic_batching")
    (warmup,) = config.model_warmup
    assert warmup.batch_size == 1
    assert list(warmup.inputs[0].value.dims) == [2, 8, 8, 3]
    with pytest.raises(InputError, match=r"max_batch=8: .* takes batches of 2 alone"):
        make_repository(path, tmp_path / "others", max_batch=8)
    assert not (tmp_path / "others" / "two").exists()


def test_options(tmp_path, parse):
    path = write_model(tmp_path / "small.onnx", metadata=METADATA)
    words = "--name other --instances 2 --device gpu --accelerator tensorrt"
    words += " --preferred-batch-sizes 4 16 --queue-delay 500 --max-batch 16"
    main([str(path), "--out", str(tmp_path), *words.split()])
    config = parse(tmp_path / "other")
    (group,) = config.instance_group
    assert (config.name, group.count, group.kind) == ("other", 2, 1)
    assert list(config.dynamic_batching.preferred_batch_size) == [4, 16]
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    accelerators = config.optimization.execution_accelerators
    (tensorrt,) = accelerators.gpu_execution_accelerator
    assert {parameter.key: parameter.value for parameter in tensorrt.parameters} == {
        "precision_mode": "FP16",  # of the metadata
        "trt_profile_min_shapes": "images:1x8x8x3",
        "trt_profile_opt_shapes": "images:16x8x8x3",
        "trt_profile_max_shapes": "images:16x8x8x3",
    }
    make_repository(path, tmp_path, accelerator="openvino", device="cpu")
    accelerators = parse(tmp_path / "small").optimization.execution_accelerators
    assert [o.name for o in accelerators.cpu_execution_accelerator] == ["openvino"]


def test_images_of_any_size(tmp_path, parse):
    shape = ("batch", "height", "width", 3)
    path = write_model(tmp_path / "any.onnx", shape=shape, dtype=TensorProto.UINT8)
    config = parse(make_repository(path, tmp_path / "models"))
    assert list(config.input[0].dims) == [-1, -1, 3]
    assert config.input[0].data_type == 2
    assert not config.model_warmup
    with pytest.raises(InputError, match=r"accelerator=tensorrt: .* any size"):
        make_repository(path, tmp_path / "more", accelerator="tensorrt")
    known = METADATA | {"preprocessing": {"size": [20, 30]}}
    write_model(tmp_path / "known.onnx", shape, known, dtype=TensorProto.UINT8)
    config = parse(make_repository(tmp_path / "known.onnx", tmp_path / "models"))
    assert list(config.model_warmup[0].inputs[0].value.dims) == [20, 30, 3]


def test_data_beside_the_file_comes_along(tmp_path):
    proto = onnx.load(write_model(tmp_path / "small.onnx"))
    path = tmp_path / "big.onnx"
    options = {"save_as_external_data": True, "location": "big.onnx.data"}
    onnx.save(proto, path, size_threshold=0, **options)
    folder = make_repository(path, tmp_path / "models")
    for name, copy in (("big.onnx", "model.onnx"), ("big.onnx.data",) * 2):
        assert (folder / "1" / copy).read_bytes() == (tmp_path / name).read_bytes()


def test_what_stands_there_is_spared(tmp_path):
    path = write_model(tmp_path / "small.onnx", metadata=METADATA)
    folder = make_repository(path, tmp_path / "models")
    before = (folder / "config.pbtxt").read_text()
    with pytest.raises(InputError, match="exists already"):
        make_repository(path, tmp_path / "models", max_batch=2)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match="cannot be read as ONNX"):
        make_repository(
            tmp_path / "broken.onnx", tmp_path / "models", name="small", force=True
        )
    assert (folder / "config.pbtxt").read_text() == before
    make_repository(path, tmp_path / "models", max_batch=2, force=True)
    assert (folder / "config.pbtxt").read_text() != before
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds notes\.txt"):
        make_repository(path, tmp_path / "models", force=True)
    assert (folder / "notes.txt").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "../other"}, "name='../other'"),
        ({"name": ""}, "name=''"),
        ({"max_batch": 0}, "max_batch=0"),
        ({"instances": 0}, "instances=0"),
        ({"queue_delay": -1}, "queue_delay=-1"),
        ({"preferred_batch_sizes": (8, 64)}, "preferred_batch_sizes=64"),
    ],
)
def test_numbers_and_names_are_checked(tmp_path, options, message):
    path = write_model(tmp_path / "small.onnx")
    with pytest.raises(InputError, match=message):
        make_repository(path, tmp_path / "models", **options)
    assert not (tmp_path / "models").exists()


def test_labels_that_do_not_fit_are_left_out(tmp_path, parse):
    for labels in (["a", "b"], "abcd", [], {"a": 1}, None):
        metadata = json.loads(json.dumps(METADATA | {"labels": labels}))
        path = write_model(tmp_path / "small.onnx", metadata=metadata)
        folder = make_repository(path, tmp_path / "models", force=True)
        assert not parse(folder).output[0].label_filename
        assert not (folder / "labels.txt").exists()
