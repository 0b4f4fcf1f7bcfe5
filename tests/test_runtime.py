"""Sessions: what a file says of itself, providers that really load, bad files."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx_files import WEIGHTS, expected, write_failing, write_model

from export.runtime import Session, providers, session
from export.runtime.providers import openvino_device, why_not
from export.runtime.session import cannot_run
from keras_resnet.common.errors import InputError

CPU = "CPUExecutionProvider"

openvino = pytest.mark.skipif(
    bool(why_not("openvino")), reason="wants onnxruntime-ep-openvino"
)
no_gpu = pytest.mark.skipif(
    "CUDAExecutionProvider" not in ort.get_available_providers() or not why_not("cuda"),
    reason="wants the GPU build of onnxruntime on a machine without a GPU",
)


@pytest.fixture
def file(tmp_path):
    return write_model(tmp_path / "small.onnx", metadata={"labels": ["a", "b"]})


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype(np.float32)


def test_runs_and_describes_itself(file, images):
    session = Session(file, threads=1)
    np.testing.assert_allclose(session.run(images), expected(images), rtol=1e-5)
    np.testing.assert_allclose(session.run(images[:1]), expected(images[:1]), rtol=1e-5)
    assert session.metadata == {"labels": ["a", "b"]}
    assert (session.input_name, session.output_names) == ("images", ("logits",))
    assert session.input_shape == (None, 8, 8, 3)
    assert session.input_dtype == np.float32


def test_a_model_in_memory(file, images):
    session = Session(file.read_bytes(), "cpu")
    np.testing.assert_allclose(session.run(images), expected(images), rtol=1e-5)
    assert session.path is None
    with pytest.raises(InputError, match=r"the model \(5 bytes\) cannot be loaded"):
        Session(b"wrong", "cpu")


@pytest.mark.parametrize("count", [1, 4, 5])
def test_outputs_of_any_number_of_images(tmp_path, images, count):
    path = write_model(tmp_path / "fixed.onnx", shape=[2, 8, 8, 3])
    outputs = Session(path, "cpu").outputs(images[:count])
    np.testing.assert_allclose(
        outputs["logits"], expected(images[:count]), rtol=1e-5, atol=1e-5
    )


def test_no_images(file, images):
    with pytest.raises(InputError, match="one or more"):
        Session(file, "cpu").outputs(images[:0])


def test_uint8_images(tmp_path):
    path = write_model(tmp_path / "u.onnx", dtype=onnx.TensorProto.UINT8)
    random_images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    session = Session(path, "cpu")
    assert session.input_dtype == np.uint8
    np.testing.assert_allclose(
        session.run(random_images), expected(random_images), rtol=1e-4
    )


def test_bound_input_gives_the_same(file, images):
    run_bound = Session(file, "cpu").bind(images)
    for _ in range(2):
        np.testing.assert_allclose(run_bound().numpy(), expected(images), rtol=1e-5)


def test_bound_input_that_cannot_be_computed(tmp_path):
    session = Session(write_failing(tmp_path / "failing.onnx"), "cpu")
    bad = np.full((2, 1, 1, 1), 255, np.float32)
    for call in (session.bind(bad), lambda: session.run(bad)):
        with pytest.raises(InputError, match=r"failing\.onnx cannot compute") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_metadata_of_other_files_is_empty(tmp_path):
    assert Session(write_model(tmp_path / "other.onnx"), "cpu").metadata == {}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{labels", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "is not JSON"),
        ("9" * 10_000, "is not JSON"),
        ("[1, 2]", "no JSON object"),
        ("__import__('os').abort()", "is not JSON"),
        ('{"labels": "' + "x" * 2**24 + '"}', "characters"),
    ],
    ids=["cut", "deep list", "deep", "huge number", "list", "code", "huge"],
)
def test_hostile_metadata(tmp_path, text, complaint):
    path = write_model(tmp_path / "odd.onnx", metadata=text)
    with pytest.raises(InputError, match=complaint) as caught:
        Session(path, "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cpu", "CPU", CPU, ["cpu"]])
def test_names_of_the_cpu(file, name):
    assert Session(file, name).providers == [CPU]


@no_gpu
def test_auto_says_what_did_not_load_and_why(file, capfd):
    session = Session(file)
    assert session.providers == [CPU]
    assert set(session.missing) == {"tensorrt", "cuda"}
    for why in session.missing.values():
        assert "cannot open shared object file" in why or "CUDA" in why
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""


@no_gpu
@pytest.mark.parametrize("names", ["cuda", "tensorrt", ("cuda", "cpu")])
def test_a_named_provider_never_becomes_the_cpu(file, names):
    wanted = names if isinstance(names, str) else names[0]
    with pytest.raises(InputError, match=f"provider '{wanted}' did not load: ..."):
        Session(file, names)


@no_gpu
@pytest.mark.parametrize("names", ["cuda", "tensorrt", ("cuda", "cpu")])
def test_nor_where_only_the_file_is_refused(file, names, monkeypatch):
    # onnxruntime itself goes on without CUDA; the session is held against the wish.
    monkeypatch.setattr(session, "why_not", lambda name: "")
    with pytest.raises(InputError, match=r"small\.onnx"):
        Session(file, names)


def test_bad_files(file, tmp_path):
    whole = file.read_bytes()
    (tmp_path / "folder.onnx").mkdir()
    for name, content in {
        "truncated": whole[: len(whole) // 2],
        "text": b"not a model at all\n",
        "empty": b"",
    }.items():
        (tmp_path / f"{name}.onnx").write_bytes(content)
    for name in ("truncated", "text", "empty", "folder", "missing"):
        with pytest.raises(InputError, match=rf"{name}\.onnx") as caught:
            Session(tmp_path / f"{name}.onnx")
        assert "\n" not in str(caught.value)


def test_several_outputs_come_by_name(tmp_path, images):
    path = write_model(tmp_path / "two.onnx", outputs=2)
    session = Session(path, "cpu")
    assert session.output_names == ("logits", "probabilities")
    outputs = session.run(images)
    assert [*outputs] == ["logits", "probabilities"]
    np.testing.assert_allclose(outputs["logits"], expected(images), rtol=1e-5)
    np.testing.assert_allclose(outputs["probabilities"].sum(-1), 1, rtol=1e-5)
    bound = session.bind(images)()
    np.testing.assert_array_equal(bound["logits"].numpy(), outputs["logits"])


@pytest.mark.parametrize("threads", [0, -1, 10**4])
def test_bad_threads(file, threads):
    with pytest.raises(InputError, match=f"threads={threads}"):
        Session(file, "cpu", threads)


def test_images_that_do_not_fit(file, images):
    session = Session(file, "cpu")
    for bad in (images.astype(np.float64), images[..., :2], images[0]):
        with pytest.raises(InputError, match=r"accepts float32 of shape \(any, 8, 8,"):
            session.run(bad)
        with pytest.raises(InputError, match="accepts float32"):
            session.bind(bad)


def test_tensorrt_needs_a_size(tmp_path, monkeypatch):
    path = write_model(tmp_path / "any.onnx", ("batch", "height", "width", 3))
    monkeypatch.setattr(session, "why_not", lambda name: "")
    monkeypatch.setattr(providers, "_known", lambda: {"cpu": CPU, "tensorrt": "T"})
    with pytest.raises(InputError, match="TensorRT needs largest_input"):
        Session(path, "tensorrt", largest_input=(4, None, 8, None))
    with pytest.raises(InputError, match="the file takes 4 axes"):
        Session(path, "tensorrt", largest_input=(8, 8))


def with_external_data(path, location):
    """A file whose weights lie elsewhere; nothing is written there."""
    model = onnx.load(write_model(path))
    (weights,) = model.graph.initializer
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": "48"}.items():
        entry = weights.external_data.add()
        entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("provider", ["cpu", pytest.param("openvino", marks=openvino)])
@pytest.mark.parametrize(
    ("location", "complaint"),
    [
        ("absent.data", "is missing, it belongs beside it"),
        ("short.data", "is too short"),
        ("../outside.data", "outside its own folder"),
        ("/etc/passwd", "outside its own folder"),
    ],
)
def test_external_data_that_cannot_be_read(tmp_path, provider, location, complaint):
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "short.data").write_bytes(b"1234")
    (tmp_path / "outside.data").write_bytes(bytes(48))
    path = with_external_data(folder / "model.onnx", location)
    with pytest.raises(InputError, match=complaint) as caught:
        Session(path, provider)
    assert "\n" not in str(caught.value)


def test_external_data_beside_the_file(tmp_path, images):
    path = with_external_data(tmp_path / "model.onnx", "model.onnx.data")
    (tmp_path / "model.onnx.data").write_bytes(WEIGHTS.tobytes())
    actual = Session(path, "cpu").run(images)
    np.testing.assert_allclose(actual, expected(images), rtol=1e-5)


NO_MEMORY = """
import resource, sys
import numpy as np
from export.runtime.session import Session
from keras_resnet.common.command import run
session = Session(sys.argv[1], "cpu", threads=1)
images = np.zeros((2000, 64, 64, 3), np.uint8)
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + 2**26,) * 2)
run(lambda: session.run(images))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="wants Linux")
def test_out_of_memory_names_the_batch(tmp_path):
    path = write_model(
        tmp_path / "m.onnx", ("batch", 64, 64, 3), dtype=onnx.TensorProto.UINT8
    )
    command = [sys.executable, "-c", NO_MEMORY, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "out of memory with a batch of 2000 images of (64, 64, 3)" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("std::bad_alloc"),
        RuntimeError("CUDA failure 2: out of memory ; GPU=0"),
        RuntimeError("Check 'ptr' failed: Failed to allocate 24576 bytes of memory"),
    ],
)
def test_every_allocator_is_understood(error, images):
    complaint = str(cannot_run("m.onnx", images, error))
    assert "out of memory with a batch of 5 images" in complaint


def test_what_ran_is_read_back(tmp_path):
    path = write_model(tmp_path / "fixed.onnx", (2, 8, 8, 3))
    ran = Session(path, "cpu").ran
    assert (ran["provider"], ran["device"]) == ("cpu", "cpu")
    assert (ran["precision"], ran["precisions"]) == ("float32", {"float32": 1})
    assert ran["nodes"] == {"cpu": 2}


@openvino
@pytest.mark.parametrize("precision", [None, "float32", "bfloat16"])
def test_openvino_runs_in_the_precision_that_was_asked_for(file, images, precision):
    able = openvino_device().ep_metadata["OPTIMIZATION_CAPABILITIES"].split()
    if precision == "bfloat16" and "BF16" not in able:
        pytest.skip("this processor has no bfloat16")
    session = Session(file, "openvino", precision=precision, threads=1)
    np.testing.assert_allclose(session.run(images), expected(images), atol=2e-2)
    exact = np.allclose(session.run(images), expected(images), atol=1e-5)
    assert exact == (precision != "bfloat16")
    ran = session.ran
    assert (ran["provider"], ran["precision"]) == ("openvino", precision or "float32")
    assert set(ran["nodes"]) == {"openvino"}
    bound = session.bind(images)()
    np.testing.assert_array_equal(bound.numpy(), session.run(images))


@openvino
def test_sessions_of_different_precision_live_together(file, images):
    plain, low = (Session(file, "openvino", precision=p) for p in (None, "float16"))
    before = plain.run(images)
    low.run(images)
    np.testing.assert_array_equal(plain.run(images), before)


@openvino
def test_openvino_is_not_taken_unasked(file):
    assert "openvino" not in Session(file).ran["nodes"]


def test_precisions_that_cannot_be_had(file):
    with pytest.raises(InputError, match="precision='bf16': accepted are float32, "):
        Session(file, "cpu", precision="bf16")
    with pytest.raises(InputError, match="openvino has the choice"):
        Session(file, "cpu", precision="bfloat16")


@openvino
def test_openvino_goes_before_the_cpu(file):
    with pytest.raises(InputError, match="alone or before cpu"):
        Session(file, ("cpu", "openvino"))


@openvino
def test_what_openvino_cannot_do_goes_to_the_cpu_if_that_is_named(file, images):
    model = onnx.load(file)
    binarizer = onnx.helper.make_node(
        "Binarizer", ["logits"], ["signs"], domain="ai.onnx.ml", threshold=0.0
    )
    model.graph.node.append(binarizer)
    model.graph.output[0].name = "signs"
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 1))
    onnx.save(model, file)
    with pytest.raises(InputError, match="name the cpu, too"):
        Session(file, "openvino")
    session = Session(file, ("openvino", "cpu"))
    signs = (expected(images) > 0).astype(np.float32)
    np.testing.assert_array_equal(session.run(images), signs)
    assert session.ran["nodes"] == {"openvino": 2, "cpu": 1}


@pytest.mark.parametrize("spinning", [True, False])
def test_spinning_reaches_onnxruntime(file, spinning):
    options = Session(file, "cpu", spinning=spinning)._session.get_session_options()
    entry = options.get_session_config_entry("session.intra_op.allow_spinning")
    assert entry == str(int(spinning))
