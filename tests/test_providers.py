"""Providers: names, why one does not load, options, two wheels in one folder."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import onnx
import onnxruntime as ort
import pytest
from onnx_files import write_model

from export.runtime import providers
from export.runtime.providers import OPENVINO, openvino_device, provider_names, why_not
from export.runtime.session import Session
from export.runtime.settings import (
    KNOWN,
    PLACES,
    cuda_options,
    sorted_options,
    tensorrt_options,
)
from keras_resnet.common.errors import InputError

CAPI = Path(ort.__file__).parent / "capi"
ROOT = Path(__file__).parent.parent

openvino = pytest.mark.skipif(
    bool(why_not("openvino")), reason="wants onnxruntime-ep-openvino"
)


@pytest.fixture
def file(tmp_path):
    return write_model(tmp_path / "small.onnx")


def test_the_probe_is_a_valid_model():
    onnx.checker.check_model(onnx.load_from_string(providers.PROBE), full_check=True)
    assert why_not("cpu") == ""


def test_unknown_provider_gets_the_closest_name():
    with pytest.raises(InputError, match=r"'cdua'\. Did you mean 'cuda'\?"):
        provider_names("cdua")
    with pytest.raises(InputError, match=r"Here load: .*cpu"):
        provider_names([])


def test_a_provider_of_another_build(file):
    absent = set(ort.get_all_providers()) - set(ort.get_available_providers())
    absent -= {OPENVINO}
    with pytest.raises(InputError, match="this build of onnxruntime does not have it"):
        Session(file, min(absent))


def test_tensorrt_has_one_engine_for_all_batches(file, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    options = tensorrt_options(file, "images", (16, 8, 8, 3))
    fixed = tensorrt_options(file, "images", (16, 8, 8, 3), 16)
    assert fixed["trt_profile_min_shapes"] == "images:16x8x8x3"
    assert options["trt_profile_min_shapes"] == "images:1x8x8x3"
    assert options["trt_profile_opt_shapes"] == "images:16x8x8x3"
    assert options["trt_profile_max_shapes"] == "images:16x8x8x3"
    assert options["trt_engine_cache_path"].startswith(str(tmp_path))
    other = write_model(tmp_path / "other.onnx", metadata={"labels": []})
    cache = tensorrt_options(other, "images", (16, 8, 8, 3))["trt_engine_cache_path"]
    assert cache != options["trt_engine_cache_path"]


def test_tf32_is_off_unless_asked_for():
    assert cuda_options()["use_tf32"] == "0"
    assert cuda_options(tf32=True)["use_tf32"] == "1"


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_the_installed_provider_knows_the_options(provider, file):
    library = CAPI / f"libonnxruntime_providers_{provider}.so"
    if not library.exists():
        pytest.skip("not the GPU build of onnxruntime")
    content = library.read_bytes()
    options = cuda_options()
    if provider == "tensorrt":
        options = tensorrt_options(file, "images", (1, 8, 8, 3))
    names = {*options, *KNOWN[provider]}
    assert [name for name in names if name.encode() + b"\0" not in content] == []


def test_the_installed_onnxruntime_knows_the_options_of_sessions():
    (library,) = CAPI.glob("onnxruntime_pybind11_state*")
    content = library.read_bytes()
    assert [name for name in KNOWN["cpu"] if name.encode() not in content] == []


@openvino
def test_openvino_knows_its_options(file, tmp_path):
    values = {
        "NUM_STREAMS": "1",
        "PERFORMANCE_HINT": "LATENCY",
        "PERFORMANCE_HINT_NUM_REQUESTS": "1",
        "TBB_PARTITIONER": "STATIC",
        "SCHEDULING_CORE_TYPE": "ANY_CORE",
        "MODEL_DISTRIBUTION_POLICY": "",
        "CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE": "0.8",
        "EXECUTION_MODE_HINT": "PERFORMANCE",
        "CACHE_DIR": str(tmp_path / "cache"),
    }
    for name in KNOWN["openvino"]:
        Session(file, "openvino", options={name: values.get(name, "NO")})
    with pytest.raises(InputError, match="number of streams") as caught:
        Session(file, "openvino", options={"NUM_STREAMS": "many"})
    assert "\n" not in str(caught.value)


def test_options_go_to_their_provider():
    options = {"prefer_nhwc": "1", "session.set_denormal_as_zero": "1"}
    assert sorted_options(options, ["cuda", "cpu"]) == {
        "cuda": {"prefer_nhwc": "1"},
        "cpu": {"session.set_denormal_as_zero": "1"},
    }


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"prefer_nchw": "1"}, "cuda have no option 'prefer_nchw'. Did you mean"),
        ({"NUM_STREAMS": "1"}, "cuda have no option 'NUM_STREAMS'"),
        ({"prefer_nhwc": True}, "prefer_nhwc=True; text is accepted"),
        ({"use_tf32": "1"}, "no option 'use_tf32'"),  # an argument of its own
        ({"session.optimized_model_filepath": "x"}, "have no option"),  # writes
        ({"trt_extra_plugin_lib_paths": "x"}, "have no option"),  # loads code
    ],
)
def test_options_that_cannot_be_used(options, complaint):
    with pytest.raises(InputError, match=complaint):
        sorted_options(options, ["cuda"])


def test_options_that_name_places_are_known_as_such():
    assert {name for names in KNOWN.values() for name in names} >= PLACES
    endings = ("path", "paths", "dir", "file", "filepath")
    for names in KNOWN.values():
        for name in names:
            assert (name.lower().split("_")[-1] in endings) == (name in PLACES), name


@openvino
def test_the_plugin_is_registered_once_by_many_threads():
    openvino_device.cache_clear()
    devices, threads = [], []
    for _ in range(4):
        threads.append(
            threading.Thread(target=lambda: devices.append(openvino_device()))
        )
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert [device.ep_name for device in devices] == [OPENVINO] * 4


def test_without_the_plugin(monkeypatch, file):
    monkeypatch.setattr(providers, "OPENVINO_PACKAGE", "onnxruntime_ep_absent")
    why_not.cache_clear()
    try:
        with pytest.raises(InputError, match="pip install onnxruntime-ep-openvino"):
            Session(file, "openvino")
    finally:
        why_not.cache_clear()


def run_with(folder: Path, code: str) -> subprocess.CompletedProcess:
    """Python with a folder in front of the installed packages."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        cwd=folder,
    )


def install(folder: Path, wheel: str) -> None:
    """What pip leaves of a wheel for importlib.metadata."""
    info = folder / f"{wheel.replace('-', '_')}-1.31.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {wheel}\nVersion: 1.31.1\n")


def test_two_wheels_in_one_folder_are_a_warning(tmp_path, file):
    for wheel in ("onnxruntime", "onnxruntime-gpu"):
        install(tmp_path, wheel)
    code = (
        f"from export.runtime.session import Session as S; S({str(file)!r}, 'cpu').ran"
    )
    done = run_with(tmp_path, code)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 1
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in done.stderr


def test_what_is_left_of_an_uninstalled_wheel_is_an_error(tmp_path, file):
    install(tmp_path, "onnxruntime-gpu")
    install(tmp_path, "onnxruntime")
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime/__init__.py").write_text("")
    code = (
        "from keras_resnet.common.command import run\n"
        "from export.runtime.session import Session\n"
        f"run(lambda: Session({str(file)!r}, 'cpu'))"
    )
    done = run_with(tmp_path, code)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "pip install onnxruntime-gpu" in done.stderr
