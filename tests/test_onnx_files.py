"""ONNX files: weights inside or beside, memory, and what no file may do to a reader."""

import threading
import time
from dataclasses import replace

import numpy as np
import onnx
import psutil
import pytest
from conftest import randomize
from onnx_files import write_model

from export.graph.convert import convert
from export.graph.files import read, save, weights_beside
from export.model.signature import make_signature
from export.runtime import Session
from keras_resnet import build, get_architecture
from keras_resnet.common.errors import InputError


@pytest.fixture(scope="module")
def signature():
    model = build("resnet8")
    randomize(model)
    return make_signature(model, output="logits")


@pytest.fixture(scope="module")
def converted(signature):
    return convert(signature, 17, "nhwc")


def test_weights_beside_the_file(signature, converted, tmp_path, random_images):
    inside, beside = tmp_path / "inside.onnx", tmp_path / "beside.onnx"
    assert save(converted, {"name": "one"}, inside) is None
    data = save(converted, {"name": "two"}, beside, size_threshold=1)
    assert beside.stat().st_size < data.stat().st_size
    assert weights_beside(beside) == [data]
    assert weights_beside(inside) == []
    onnx.checker.check_model(str(beside), full_check=True)
    images = random_images(*signature.shape[1:])
    expected = np.asarray(signature(images)["logits"])
    for path in (inside, beside):
        actual = Session(path, "cpu").run(images)
        assert np.abs(actual - expected).max() < 1e-5 * np.ptp(expected)
    assert Session(beside, "cpu").metadata == {"name": "two"}
    split, whole = read(beside, weights=True).graph, read(inside, weights=True).graph
    assert list(split.node) == list(whole.node)
    for mine, its in zip(split.initializer, whole.initializer, strict=True):
        assert (mine.name, mine.raw_data) == (its.name, its.raw_data)
    light = read(beside)
    external = [tensor for tensor in light.graph.initializer if tensor.external_data]
    assert external
    for tensor in external:
        place = {entry.key: entry.value for entry in tensor.external_data}
        assert place["location"] == data.name
        assert int(place["offset"]) % 4096 == 0


def damaged(kind, path):
    """Writes a file that cannot be read; returns a word of the complaint."""
    good = path.with_name("good.onnx")
    write_model(good)
    content = good.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "text": b"not an ONNX file at all\n",
            "truncated": content[: len(content) // 2],
            "archive": b"PK\x03\x04" + bytes(64),
            "flipped": bytes(255 - byte for byte in content),
        }[kind]
    )


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "archive", "flipped"])
def test_files_that_are_none(kind, tmp_path):
    path = tmp_path / "model.onnx"
    damaged(kind, path)
    with pytest.raises(InputError, match=r"model\.onnx cannot be read as ONNX: it"):
        read(path, weights=True)


def test_files_that_are_not_there(tmp_path):
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(InputError, match=f"cannot read {path}"):
            read(path, weights=True)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"location": "other.data"}, "missing: there is no"),
        ({"location": "../model.onnx.data"}, "own folder is needed"),
        ({"location": "/etc/passwd"}, "own folder is needed"),
        ({"location": "C:\\model.data"}, "own folder is needed"),
        ({"location": ""}, "own folder is needed"),
        ({"location": "link.data"}, "link that leaves"),
        ({"offset": "100000000"}, "not all in"),
        ({"offset": "-1"}, "not all in"),
        ({"length": "many"}, "not all in"),
    ],
)
def test_weights_that_cannot_be_had(changes, complaint, converted, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "model.onnx"
    save(converted, {}, path, external_data=True)
    (tmp_path / "elsewhere.data").write_bytes(bytes(10**6))
    (folder / "link.data").symlink_to(tmp_path / "elsewhere.data")
    light = read(path)
    tensor = next(tensor for tensor in light.graph.initializer if tensor.external_data)
    for entry in tensor.external_data:
        entry.value = changes.get(entry.key, entry.value)
    path.write_bytes(light.SerializeToString())
    for weights in (True, False):
        with pytest.raises(InputError, match=complaint):
            read(path, weights)


def test_conversion_takes_little_memory(tmp_path):
    """Below three times the weights; of a wide net, beside which Python's is small."""
    widths = (128, 256, 512, 1024)
    row = replace(get_architecture("resnet18"), name="wide18", widths=widths)
    model = build(row, input_shape=(64, 64, 3))
    signature = make_signature(model)
    weights = sum(4 * int(np.prod(weight.shape)) for weight in model.weights)
    small = make_signature(build("resnet8"))
    convert(small, 17, "nhwc")  # imports the libraries
    process = psutil.Process()
    before, peak, done = process.memory_info().rss, 0, threading.Event()

    def watch():
        nonlocal peak
        while not done.is_set():
            peak = max(peak, process.memory_info().rss - before)
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        save(convert(signature, 17, "nhwc"), {}, tmp_path / "wide.onnx")
    finally:
        done.set()
        watcher.join()
    assert 0.5 * weights < peak < 3 * weights
