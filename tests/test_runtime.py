"""Sessions: what a file says of itself, providers that really load, bad files."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx_files import expected, write_model

from export import providers, runtime
from export.providers import cuda_options, provider_names, tensorrt_options, why_not
from export.runtime import Session
from keras_resnet.errors import InputError

CPU = "CPUExecutionProvider"

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
    assert (session.input_name, session.output_name) == ("images", "logits")
    assert session.input_shape == (None, 8, 8, 3)
    assert session.input_dtype == np.float32


def test_uint8_pictures(tmp_path):
    path = write_model(tmp_path / "u.onnx", dtype=onnx.TensorProto.UINT8)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    session = Session(path, "cpu")
    assert session.input_dtype == np.uint8
    np.testing.assert_allclose(session.run(pictures), expected(pictures), rtol=1e-4)


def test_bound_input_gives_the_same(file, images):
    run_bound = Session(file, "cpu").bind(images)
    for _ in range(2):
        np.testing.assert_allclose(run_bound().numpy(), expected(images), rtol=1e-5)


def test_metadata_of_other_files_is_empty(tmp_path):
    assert Session(write_model(tmp_path / "other.onnx"), "cpu").metadata == {}


def test_metadata_that_is_not_json(tmp_path):
    path = write_model(tmp_path / "odd.onnx", metadata="{labels")
    with pytest.raises(InputError, match="is not JSON"):
        Session(path, "cpu")


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
    said = capfd.readouterr()
    assert said.out == said.err == ""


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
    monkeypatch.setattr(runtime, "why_not", lambda name: "")
    with pytest.raises(InputError, match=r"small\.onnx"):
        Session(file, names)


def test_the_probe_is_a_valid_model():
    onnx.checker.check_model(onnx.load_from_string(providers.PROBE), full_check=True)
    assert why_not("cpu") == ""


def test_unknown_provider_gets_the_closest_name():
    with pytest.raises(InputError, match=r"'cdua'\. Did you mean 'cuda'\?"):
        provider_names("cdua")
    with pytest.raises(InputError, match=r"This onnxruntime has: .*cpu"):
        provider_names([])


def test_a_provider_of_another_build(file):
    absent = set(ort.get_all_providers()) - set(ort.get_available_providers())
    with pytest.raises(InputError, match="this build of onnxruntime does not have it"):
        Session(file, min(absent))


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


def test_more_than_one_output(tmp_path):
    path = write_model(tmp_path / "two.onnx", outputs=2)
    with pytest.raises(InputError, match="2 outputs"):
        Session(path, "cpu")


@pytest.mark.parametrize("threads", [0, -1])
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


def test_tensorrt_has_one_engine_for_all_batches(file, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    options = tensorrt_options(file, "images", (16, 8, 8, 3))
    assert options["trt_profile_min_shapes"] == "images:1x8x8x3"
    assert options["trt_profile_opt_shapes"] == "images:16x8x8x3"
    assert options["trt_profile_max_shapes"] == "images:16x8x8x3"
    assert options["trt_engine_cache_path"].startswith(str(tmp_path))
    other = write_model(tmp_path / "other.onnx", metadata={"labels": []})
    cache = tensorrt_options(other, "images", (16, 8, 8, 3))["trt_engine_cache_path"]
    assert cache != options["trt_engine_cache_path"]


def test_tensorrt_needs_a_size(tmp_path, monkeypatch):
    path = write_model(tmp_path / "any.onnx", ("batch", "height", "width", 3))
    monkeypatch.setattr(runtime, "why_not", lambda name: "")
    monkeypatch.setattr(providers, "_known", lambda: {"cpu": CPU, "tensorrt": "T"})
    with pytest.raises(InputError, match="TensorRT needs largest_input"):
        Session(path, "tensorrt")


def test_tf32_is_off_unless_asked_for():
    assert cuda_options()["use_tf32"] == "0"
    assert cuda_options(tf32=True)["use_tf32"] == "1"


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_the_installed_provider_knows_the_options(provider, file):
    from pathlib import Path

    name = f"libonnxruntime_providers_{provider}.so"
    library = Path(ort.__file__).parent / "capi" / name
    if not library.exists():
        pytest.skip("not the GPU build of onnxruntime")
    content = library.read_bytes()
    options = cuda_options()
    if provider == "tensorrt":
        options = tensorrt_options(file, "images", (1, 8, 8, 3))
    assert [one for one in options if one.encode() + b"\0" not in content] == []
