"""`export.runtime.load`: images in, numpy out, in threads, without Keras."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_files import write_model
from PIL import Image

from export.runtime import load
from export.runtime.predictor import normalize, resize_and_crop
from export.runtime.providers import why_not
from export.runtime.session import Session
from export.runtime.settings import Settings, read_settings, tuned_path, write_settings
from keras_resnet.common.errors import InputError
from keras_resnet.images.preprocessing import Preprocessing

RECORD = Preprocessing(
    (8, 8), 0.875, "bicubic", (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), "rgb"
)
UINT8 = TensorProto.UINT8
SIZES = ((31, 17), (9, 40), (8, 8), (64, 80), (5, 7))


def metadata(record=RECORD, preprocess="none", layout="nhwc", **more):
    entry = {"name": "images", "layout": layout}
    return {
        "input": entry,
        "labels": ["cat", "dog", "eel", "fox"],
        "preprocessing": record and record.to_json(),
        "preprocess": preprocess,
        **more,
    }


@pytest.fixture
def random_images():
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]


@pytest.fixture
def file(tmp_path):
    return write_model(tmp_path / "small.onnx", metadata=metadata())


def by_hand(path, random_images, record=RECORD):
    """What Keras's preprocessing and a bare session give."""
    return Session(path, "cpu").run(np.asarray(record(random_images)))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("crop", [0.8, 0.875, 1.0])
def test_pillow_and_keras_prepare_alike(interpolation, channels, crop):
    draw = np.random.default_rng(0)
    order = "bgr" if channels == 3 else "rgb"
    mean, std = (0.45,) * channels, (0.25,) * channels
    for target in ((32, 32), (33, 24)):
        record = Preprocessing(target, crop, interpolation, mean, std, order)
        for size in ((75, 100), (200, 80), (32, 32), (20, 25)):
            image = draw.integers(0, 256, (*size, channels), np.uint8)
            ours = normalize(resize_and_crop(image, record), record)
            keras = np.asarray(record(image))[0]
            levels = np.abs(ours - keras) * 255 * 0.25
            assert ours.dtype == keras.dtype
            assert levels.max() < 1.001  # one of 255, where float32 rounds a half
            assert np.mean(levels > 0.001) < 0.05


def test_one_image_a_batch_or_a_list(file, random_images):
    predictor = load(file)
    want = by_hand(file, random_images)
    np.testing.assert_allclose(predictor(random_images), want, atol=2e-2)
    np.testing.assert_allclose(predictor(random_images[0]), want[:1], atol=2e-2)
    alone = [predictor(image) for image in random_images]
    np.testing.assert_allclose(
        predictor(random_images), np.concatenate(alone), atol=1e-6
    )
    batch = np.stack([random_images[0]] * 3)
    np.testing.assert_allclose(predictor(batch), np.repeat(alone[0], 3, 0), atol=1e-6)
    pillow = Image.fromarray(random_images[0])
    np.testing.assert_array_equal(predictor(pillow), alone[0])
    assert predictor.labels == ("cat", "dog", "eel", "fox")


def test_many_images_go_in_several_calls(file, random_images):
    predictor = load(file, Settings(batch=4))
    sizes = [len(batch) for batch in predictor.batches(random_images * 2)]
    assert sizes == [4, 4, 2]
    want = np.concatenate([predictor(random_images)] * 2)
    np.testing.assert_allclose(predictor(random_images * 2), want, atol=1e-6)


def test_reversed_channels(tmp_path, random_images):
    record = replace(RECORD, channel_order="bgr")
    path = write_model(tmp_path / "bgr.onnx", metadata=metadata(record))
    actual = load(path)(random_images)
    np.testing.assert_allclose(actual, by_hand(path, random_images, record), atol=2e-2)
    assert not np.allclose(actual, by_hand(path, random_images), atol=2e-2)


def test_a_file_that_normalises(tmp_path, random_images):
    path = write_model(
        tmp_path / "u.onnx", metadata=metadata(preprocess="normalize"), dtype=UINT8
    )
    ready = np.stack([resize_and_crop(image, RECORD) for image in random_images])
    np.testing.assert_array_equal(load(path)(random_images), Session(path).run(ready))


def test_a_file_that_resizes(tmp_path, random_images):
    path = write_model(
        tmp_path / "full.onnx",
        ("batch", "height", "width", 3),
        metadata=metadata(preprocess="full"),
        dtype=UINT8,
    )
    predictor = load(path)
    images = [random_images[0], random_images[0], *random_images[1:]]
    assert [len(batch) for batch in predictor.batches(images)] == [2, 1, 1, 1, 1]
    want = [Session(path).run(image[None]) for image in images]
    np.testing.assert_allclose(predictor(images), np.concatenate(want), rtol=1e-5)


def test_a_fixed_batch_is_filled_up(tmp_path, random_images):
    path = write_model(tmp_path / "two.onnx", (2, 8, 8, 3), metadata=metadata())
    dynamic = write_model(tmp_path / "any.onnx", metadata=metadata())
    for count in (1, 2, 5):
        actual = load(path)(random_images[:count])
        np.testing.assert_allclose(
            actual, load(dynamic)(random_images[:count]), atol=1e-6
        )


def test_channels_first(tmp_path, random_images):
    nhwc = write_model(tmp_path / "nhwc.onnx", metadata=metadata())
    model = onnx.load(nhwc)
    model.graph.input[0].CopyFrom(
        helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 8, 8])
    )
    (mean,) = [node for node in model.graph.node if node.op_type == "ReduceMean"]
    mean.attribute[0].CopyFrom(helper.make_attribute("axes", [2, 3]))
    helper.set_model_props(model, {"keras_resnet": json.dumps(metadata(layout="nchw"))})
    path = tmp_path / "nchw.onnx"
    onnx.save(model, path)
    first, last = load(path), load(nhwc)
    np.testing.assert_allclose(first(random_images), last(random_images), atol=1e-6)
    (transposed,), (plain,) = first.batches(random_images), last.batches(random_images)
    np.testing.assert_array_equal(transposed, plain.transpose(0, 3, 1, 2))


def test_several_outputs(tmp_path, random_images):
    path = write_model(tmp_path / "two.onnx", outputs=2, metadata=metadata())
    outputs = load(path, Settings(batch=2))(random_images)
    assert {name: values.shape for name, values in outputs.items()} == {
        "logits": (5, 4),
        "probabilities": (5, 4),
    }
    with pytest.raises(InputError, match="top needs"):
        load(path).top(random_images)


def test_top(file, random_images):
    predictor = load(file)
    ranked = predictor.top(random_images, 2)
    assert len(ranked) == 5
    with pytest.raises(InputError, match="k=0"):
        predictor.top(random_images, 0)
    logits = predictor(random_images)
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    for pairs, row in zip(ranked, shares, strict=True):
        assert [name for name, _ in pairs] == [
            predictor.labels[i] for i in np.argsort(-row)[:2]
        ]
        np.testing.assert_allclose([p for _, p in pairs], np.sort(row)[:-3:-1], 1e-5)


def test_top_without_labels_and_of_a_file_with_top_k(tmp_path, random_images):
    path = write_model(tmp_path / "k.onnx", outputs=2, metadata=metadata(labels=[]))
    model = onnx.load(path)
    del model.graph.output[:]
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(np.array([3], np.int64), "k")
    )
    model.graph.node.append(
        helper.make_node("TopK", ["probabilities", "k"], ["scores", "classes"])
    )
    for name, kind in (("scores", TensorProto.FLOAT), ("classes", TensorProto.INT64)):
        model.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    onnx.save(model, path)
    predictor = load(path)
    assert predictor(random_images)["classes"].shape == (5, 3)
    first = predictor.top(random_images[0], 2)[0]
    assert len(first) == 2
    assert [int(name) for name, _ in first] == [
        *predictor(random_images[0])["classes"][0, :2]
    ]


def test_maps_of_different_sizes_do_not_fit_into_one_array(tmp_path):
    model = onnx.load(write_model(tmp_path / "maps.onnx", ("n", "h", "w", 3)))
    del model.graph.node[1:]
    model.graph.output[0].name = "cast"
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, tmp_path / "maps.onnx")
    predictor = load(tmp_path / "maps.onnx")
    small, large = (np.zeros((side, 8, 3), np.float32) for side in (4, 8))
    assert predictor([small, small]).shape == (2, 4, 8, 3)
    with pytest.raises(InputError, match="one size at a time"):
        predictor([small, large])


def test_a_file_that_records_nothing(tmp_path):
    path = write_model(tmp_path / "other.onnx")
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype(np.float32)
    predictor = load(path)
    np.testing.assert_array_equal(predictor(images), Session(path, "cpu").run(images))
    assert predictor(images[0]).shape == (1, 4)
    with pytest.raises(InputError, match="float32 images"):
        predictor(np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        ([], "one image or more"),
        (np.zeros((8, 8, 3), np.float32), "uint8 images"),
        (np.zeros((8, 8), np.uint8), "uint8 images"),
        (np.zeros((0, 8, 8, 3), np.uint8), "uint8 images"),
        (np.zeros((8, 8, 4), np.uint8), "4 channels"),
        ("photo.jpg", "uint8 images"),
        ([np.zeros((8, 8, 3), np.uint8), None], "uint8 images"),
    ],
)
def test_images_that_cannot_be_used(file, images, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        load(file)(images)
    assert "\n" not in str(caught.value)


RECORDED = RECORD.to_json()


@pytest.mark.parametrize(
    "damage",
    [
        {"labels": "cat"},
        {"labels": [1, 2]},
        {"labels": {"0": "cat"}},
        {"input": "images"},
        {"preprocess": "eval"},
        {"preprocess": ["none"]},
        {"preprocessing": "open('/etc/passwd')"},
        {"preprocessing": {}},
        {"preprocessing": RECORDED | {"path": "/etc/passwd"}},
        {"preprocessing": RECORDED | {"mean": 3}},
        {"preprocessing": RECORDED | {"mean": [10**400, 0, 0]}},
        {"preprocessing": RECORDED | {"std": [0, 1, 1]}},
        {"preprocessing": RECORDED | {"size": "ab"}},
        {"preprocessing": RECORDED | {"size": [[], []]}},
        {"preprocessing": RECORDED | {"interpolation": "__import__('os')"}},
    ],
)
def test_metadata_of_other_types(tmp_path, damage):
    path = write_model(tmp_path / "odd.onnx", metadata=metadata(**damage))
    with pytest.raises(InputError, match=r"odd\.onnx") as caught:
        load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [[10**5, 10**5], [10**9, 10**9], [10**30, 10**30]])
def test_a_size_that_no_memory_holds(tmp_path, random_images, size):
    record = RECORDED | {"size": size}
    odd = metadata(preprocessing=record)
    path = write_model(tmp_path / "odd.onnx", ("n", "h", "w", 3), metadata=odd)
    with pytest.raises(InputError, match="would be resized"):
        load(path)(random_images)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(threads=2),
        pytest.param(
            Settings(providers=("openvino",), precision="float32"),
            marks=pytest.mark.skipif(bool(why_not("openvino")), reason="no plugin"),
        ),
    ],
)
def test_eight_threads_get_equal_answers(file, random_images, settings):
    predictor = load(file, settings)
    want = [predictor(image) for image in random_images]

    def call(number):
        return number, predictor(random_images[number % len(random_images)])

    with ThreadPoolExecutor(8) as pool:
        for number, actual in pool.map(call, range(200)):
            np.testing.assert_array_equal(actual, want[number % len(random_images)])


BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras", "tf2onnx", "onnx", "jax"):
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, Blocker())
import numpy as np
from export.runtime import load
import export.tune
found = load(sys.argv[1])(np.full((20, 30, 3), 7, np.uint8))
print(found.tolist())
"""


def test_neither_keras_nor_onnx_is_needed(file):
    command = [sys.executable, "-c", BLOCKED, str(file)]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    want = load(file)(np.full((20, 30, 3), 7, np.uint8))
    np.testing.assert_allclose(json.loads(done.stdout), want, rtol=1e-5)


TUNED = Settings(threads=1, spinning=False, batch=2)


def test_settings_beside_the_file_are_taken(file, random_images, caplog):
    write_settings(TUNED, file, tuned_path(file), {})
    assert tuned_path(file).name == "small.tuned.json"
    assert read_settings(tuned_path(file), file) == TUNED
    predictor = load(file)
    assert [len(batch) for batch in predictor.batches(random_images)] == [2, 2, 1]
    options = predictor.session._session.get_session_options()
    assert options.intra_op_num_threads == 1
    entry = options.get_session_config_entry("session.intra_op.allow_spinning")
    assert entry == "0"
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("where", "name", "value", "complaint"),
    [
        ("conditions", "file", "0" * 64, "was made for file 0"),
        ("conditions", "cpu", "i486", "was made for cpu i486"),
        ("conditions", "onnxruntime", "1.0", "was made for onnxruntime 1.0"),
        ("settings", "threads", "2", "threads='2'"),
        ("settings", "threads", True, "threads=True"),
        ("settings", "threads", -1, "threads=-1"),
        ("settings", "threads", 10**6, "threads=1000000"),
        ("settings", "batch", 10**9, "batch="),
        ("settings", "providers", [], "providers="),
        ("settings", "providers", ["azure"], "providers="),
        ("settings", "providers", [["cpu"]], "providers="),
        ("settings", "precision", {"a": 1}, "precision="),
        ("settings", "options", {"CACHE_DIR": "/tmp"}, "options="),  # a place
        ("settings", "options", {"session.disable_prepacking": 1}, "options="),
        ("settings", "path", "/etc/passwd", "exactly"),
        ("settings", "options", {"NUM_STREAMS": "1"}, "no option 'NUM_STREAMS'"),
        ("settings", "options", {"session.disable_prepacking": "1" * 9999}, "up to"),
    ],
)
def test_settings_that_do_not_fit(
    file, random_images, caplog, where, name, value, complaint
):
    tuned = tuned_path(file)
    write_settings(TUNED, file, tuned, {})
    record = json.loads(tuned.read_text())
    record[where][name] = value
    tuned.write_text(json.dumps(record))
    with pytest.raises(InputError, match=complaint):  # named: an error
        load(file, tuned)
    predictor = load(file)  # beside the file: a warning
    assert complaint in caplog.text
    assert [len(batch) for batch in predictor.batches(random_images)] == [5]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000, b" " * (2**20 + 1)]
)
def test_settings_that_are_none(file, content, caplog):
    tuned_path(file).write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as settings"):
        load(file, tuned_path(file))
    load(file)
    assert "settings not used" in caplog.text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="wants POSIX")
def test_settings_that_never_end(file, tmp_path, caplog):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/zero")):
        tuned_path(file).unlink(missing_ok=True)
        tuned_path(file).symlink_to(place)
        load(file)
        assert "there is no such file" in caplog.text
        caplog.clear()
