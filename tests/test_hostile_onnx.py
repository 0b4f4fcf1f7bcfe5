"""Damaged and hostile ONNX files: one clear line or an answer, in every tool.

`inspect`, `triton` and the runtime's Session read files that a stranger may have made.
"""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from mutation import damage
from onnx import TensorProto, helper, numpy_helper

from export.inspect import inspect, report
from export.runtime import Session
from export.triton import make_repository
from keras_resnet.common.errors import InputError

SEEDS = 150
# Runs the tools in a process of its own, where a crash can be told.
TOOLS = Path(__file__)


def write_network(path, **options):
    """A residual network of two convolutions."""
    rng = np.random.default_rng(0)
    arrays = {"a": rng.normal(size=(4, 3, 3, 3)), "b": rng.normal(size=(4, 4, 3, 3))}
    arrays |= {"fc": rng.normal(size=(4, 5))}
    tensors = [numpy_helper.from_array(v.astype("f4"), k) for k, v in arrays.items()]
    tensors.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
    nodes = [
        helper.make_node("Transpose", ["images"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["first", "a"], ["x"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Conv", ["y", "b"], ["z"], pads=[1] * 4),
        helper.make_node("Add", ["z", "y"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["mean"]),
        helper.make_node("Squeeze", ["mean", "axes"], ["vector"]),
        helper.make_node("MatMul", ["vector", "fc"], ["logits"]),
    ]
    images = ["batch", 8, 8, 3]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, images)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 5])],
        tensors,
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.save(model, path, **options)
    return path


def tools(path, folder):
    """What each tool does with a file, by its name."""

    def run():
        session = Session(path, "cpu")
        known = [side or 1 for side in session.input_shape]
        if np.prod(known, dtype=float) < 1e6:
            session.run(np.zeros(known, session.input_dtype))

    return {
        "inspect": lambda: report(path, inspect(path)),
        "triton": lambda: make_repository(path, folder, max_batch=2, force=True),
        "session": run,
    }


def outcome(call):
    """ "answer", or the message of an InputError; anything else is raised."""
    try:
        call()
    except InputError as error:
        message = str(error)
        assert message.isprintable() and 0 < len(message) < 2100, repr(message)
        return message
    return "answer"


def refused(path, *names):
    """The messages of the tools named, all of which must refuse the file."""
    calls = tools(path, path.parent / "models")
    messages = [outcome(calls[name]) for name in names or calls]
    assert "answer" not in messages
    assert not list(path.parent.glob("models/*"))
    return " ".join(messages)


def alter(proto, rng):  # noqa: C901
    """Changes one field of a graph to another value of its kind."""
    node, tensor = rng.choice(proto.graph.node), rng.choice(proto.graph.initializer)
    number = rng.choice((-1, 0, 1, 7, 2**31, 2**40, 2**63 - 1, -(2**63)))
    value = rng.choice((proto.graph.input[0], proto.graph.output[0])).type.tensor_type
    action = rng.randrange(10)
    if action == 0:
        node.op_type = rng.choice(("Loop", "If", "Resize", "Reshape", "Nothing", ""))
    elif action == 1 and node.attribute:
        attribute = rng.choice(node.attribute)
        if attribute.ints:
            attribute.ints[rng.randrange(len(attribute.ints))] = number
    elif action == 2 and node.attribute:
        rng.choice(node.attribute).type = rng.randrange(12)
    elif action == 3:
        other = rng.choice((node.output[0], "nothing", "", "logits"))  # circles, too
        node.input[rng.randrange(len(node.input))] = other
    elif action == 4:
        del node.input[rng.randrange(len(node.input))]
    elif action == 5:
        tensor.dims[rng.randrange(len(tensor.dims))] = number
    elif action == 6:
        tensor.raw_data = tensor.raw_data[: rng.choice((0, 1, 8))]
    elif action == 7:
        tensor.data_type = rng.randrange(30)
    elif action == 8:
        value.shape.dim[rng.randrange(len(value.shape.dim))].dim_value = number
    else:
        node.domain = rng.choice(("com.microsoft", "ai.onnx.ml", "elsewhere"))


def test_damaged_files_never_crash_hang_or_leave_traces(tmp_path):
    """Half of them are damaged in their bytes, half in their fields."""
    command = [sys.executable, str(TOOLS), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout[-500:] + result.stderr[-2000:]
    outcomes = json.loads(result.stdout.splitlines()[-1])
    assert set(outcomes) == {"inspect", "triton", "session"}
    for counted in outcomes.values():  # neither all refused nor all harmless
        assert min(counted["answer"], counted["refused"]) > SEEDS // 10


def main(folder):
    """The trials of the test above, in a process of their own."""
    whole = write_network(folder / "whole.onnx")
    assert [outcome(call) for call in tools(whole, folder / "x").values()] == [
        "answer"
    ] * 3
    content, path = whole.read_bytes(), folder / "damaged.onnx"
    counted = {}
    for seed in range(SEEDS):
        rng = random.Random(seed)
        if seed % 2:
            path.write_bytes(damage(content, rng))
        else:
            proto = onnx.ModelProto.FromString(content)
            alter(proto, rng)
            path.write_bytes(proto.SerializeToString())
        print(seed, flush=True)  # the last one is at fault
        for name, call in tools(path, folder / "models").items():
            kind = "answer" if outcome(call) == "answer" else "refused"
            counted.setdefault(name, {"answer": 0, "refused": 0})[kind] += 1
    print(json.dumps(counted))


def test_no_model_at_all(tmp_path):
    for name, content in {"text": b"import os", "zip": b"PK\3\4" + bytes(99)}.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        assert "cannot be" in refused(path)
    (tmp_path / "empty.onnx").write_bytes(b"")
    assert "it has no graph" in refused(tmp_path / "empty.onnx", "inspect", "triton")
    assert "o such file" in refused(tmp_path / "missing.onnx")
    (tmp_path / "folder.onnx").mkdir()
    assert "is a folder" in refused(tmp_path / "folder.onnx").lower()


def test_a_file_that_was_cut_off(tmp_path):
    content = write_network(tmp_path / "whole.onnx").read_bytes()
    for share in (0.2, 0.5, 0.99):
        path = tmp_path / "cut.onnx"
        path.write_bytes(content[: int(len(content) * share)])
        assert "cannot be" in refused(path)


@pytest.fixture
def split(tmp_path):
    """A network with its weights in a file beside it."""
    folder = tmp_path / "split"
    folder.mkdir()
    options = {"save_as_external_data": True, "location": "net.data"}
    return write_network(folder / "net.onnx", size_threshold=0, **options)


def relocate(path, **changes):
    """Changes what a file says of where its weights are."""
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            entry.value = changes.get(entry.key, entry.value)
    onnx.save(proto, path)


def test_data_that_is_missing_or_short(split):
    data = split.with_name("net.data")
    content = data.read_bytes()
    data.write_bytes(content[:-4])
    assert "not all in" in refused(split)
    data.unlink()
    assert "are missing" in refused(split)


@pytest.mark.parametrize("location", ["../secret", "", ".", "../split/net.data", "\0"])
def test_data_elsewhere_is_never_read(split, location):
    (split.parent.parent / "secret").write_bytes(bytes(10**4))
    relocate(split, location=location)
    assert "the weights of" in refused(split, "inspect", "triton")
    assert refused(split, "session")


def test_data_behind_an_absolute_path_or_a_link_is_never_read(split):
    secret = split.parent.parent / "secret"
    secret.write_bytes(bytes(10**4))
    relocate(split, location=str(secret))
    assert "in the model's own folder is needed" in refused(split, "inspect", "triton")
    relocate(split, location="net.data")
    split.with_name("net.data").unlink()
    split.with_name("net.data").symlink_to(secret)
    assert "a link that leaves its folder" in refused(split, "inspect", "triton")


@pytest.mark.parametrize("place", [{"offset": "-8"}, {"length": "9" * 30}])
def test_data_at_no_place(split, place):
    relocate(split, **place)
    assert refused(split)


@pytest.mark.parametrize(
    "text",
    ["{", "[1, 2]", "null", '"text"', "[" * 10**5, "9" * 10**4, "{" * 10**5],
    ids=["cut", "list", "null", "text", "deep", "number", "braces"],
)
def test_metadata_that_is_no_json_object(tmp_path, text):
    path = write_network(tmp_path / "net.onnx")
    proto = onnx.load(path)
    helper.set_model_props(proto, {"keras_resnet": text})
    onnx.save(proto, path)
    assert "metadata 'keras_resnet'" in refused(path)


@pytest.mark.parametrize("wrong", [None, 7, "\x1b[2J", [[]], [1, {}], {"a": {}}, 1e308])
def test_metadata_of_wrong_types_is_only_shown(tmp_path, wrong):
    names = ("architecture", "origin", "input", "outputs", "labels", "preprocessing")
    names += ("preprocess", "precision", "calibration", "accuracy", "parity", "opset")
    path = write_network(tmp_path / "net.onnx")
    proto = onnx.load(path)
    record = json.dumps(dict.fromkeys(names, wrong))
    helper.set_model_props(proto, {"keras_resnet": record})
    onnx.save(proto, path)
    text = report(path, inspect(path))
    assert text.replace("\n", "").isprintable()
    for name in ("triton", "session"):
        assert outcome(tools(path, tmp_path / "models")[name]) == "answer"


def test_huge_metadata_is_cut_short(tmp_path):
    path = write_network(tmp_path / "net.onnx")
    proto = onnx.load(path)
    record = {"labels": ["x" * 10**4] * 10**3, "x" * 10**5: ["y"] * 10**5}
    helper.set_model_props(proto, {"keras_resnet": json.dumps(record)})
    onnx.save(proto, path)
    assert len(report(path, inspect(path))) < 10**4


if __name__ == "__main__":
    main(Path(sys.argv[1]))
