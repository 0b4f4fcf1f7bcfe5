"""onnxruntime's execution providers: names, and whether one really loads.

`onnxruntime.get_available_providers()` lists what was compiled in, whether or not
its libraries and a GPU are there, and a session that cannot have a provider goes
on without it. So each is tried here, on the smallest of graphs.

The wheels `onnxruntime`, `onnxruntime-gpu` and others all own the folder
`onnxruntime/`: the one installed last wins, so that CUDA may be gone, and uninstalling
either takes files of the other with it (onnxruntime#26996).

OpenVINO is Intel's plugin for the stock onnxruntime: `pip install
onnxruntime-ep-openvino` brings a library that is registered once a process, whose
devices can then be added to sessions.

The CPU provider and the OpenVINO plugin are tested; CUDA and TensorRT were not run on
a GPU.
"""

import contextlib
import functools
import io
import logging
import re
import tempfile
import threading
from collections.abc import Sequence
from importlib.util import find_spec

import onnxruntime as ort

from keras_resnet.common.command import stderr_into
from keras_resnet.common.errors import InputError, closest
from keras_resnet.common.fingerprint import installed_versions

log = logging.getLogger(__name__)

# Best first. OpenVINO is asked for by name: its numbers are others than the CPU's.
AUTO = ("tensorrt", "cuda", "cpu")

HINTS = {  # what the providers of the onnxruntime-gpu wheels need beside them
    "cuda": "it needs an NVIDIA GPU and pip install 'onnxruntime-gpu[cuda,cudnn]'",
    "tensorrt": "it needs what cuda needs, pip install 'tensorrt<11', and its"
    " libraries on LD_LIBRARY_PATH",
}
WHEELS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-qnn",
)
OPENVINO = "OpenVINOExecutionProvider"
OPENVINO_PACKAGE = "onnxruntime_ep_openvino"

# y = Identity(x) on one float, opset 13, as onnx.helper.make_model serialises it.
PROBE = (
    b'\x08\x08:;\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x05probe'
    b"Z\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01"
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)

_lock = threading.Lock()  # registering the plugin twice is an error


@functools.cache
def check_installed() -> None:
    """Called once, before the first session.

    Two wheels whose files still make one working onnxruntime are a logged warning:
    what they cannot do any more is said where it is asked for.

    Raises:
        InputError: what is left of onnxruntime cannot make a session.
    """
    trouble = conflict()
    if not hasattr(ort, "InferenceSession"):
        cure = trouble or "pip install --force-reinstall onnxruntime-gpu"
        raise InputError(f"onnxruntime cannot be used, its files are missing: {cure}.")
    if trouble:
        log.warning("%s.", trouble)


def conflict() -> str:
    """What is wrong and what to do where several wheels are there; "" where one is."""
    versions = installed_versions(WHEELS)
    if len(versions) < 2:
        return ""
    installed = " and ".join(f"{name} {number}" for name, number in versions.items())
    keep = "onnxruntime-gpu" if "onnxruntime-gpu" in versions else "onnxruntime"
    return (
        f"{installed} are installed and overwrite each other: pip uninstall -y "
        f"{' '.join(versions)}, then pip install {keep}"
    )


def full_name(name: str) -> str:
    """onnxruntime's own name of a provider: "cuda" gives "CUDAExecutionProvider"."""
    return _known()[name]


def short_name(name: str) -> str:
    """The opposite: "CUDAExecutionProvider" gives "cuda"."""
    return name.removesuffix("ExecutionProvider").lower()


def provider_names(names: str | Sequence[str]) -> list[str]:
    """Short names of `names`, which may be one name or several, short or full.

    Raises:
        InputError: onnxruntime knows no such provider; or none was named.
    """
    names = [names] if isinstance(names, str) else list(names)
    short = [short_name(str(name)) for name in names]
    for name in short or [""]:
        if name not in _known():
            here = ", ".join(name for name in _known() if not why_not(name))
            raise InputError(
                f"providers: there is no provider {name!r}."
                f"{closest(name, _known())} Here load: {here}."
            )
    return short


@functools.cache
def _known() -> dict[str, str]:
    check_installed()
    return {short_name(name): name for name in ort.get_all_providers()}


@functools.cache
def why_not(name: str) -> str:
    """Why a provider does not load on this machine; "" where it does.

    Args:
        name: a short name.
    """
    if full_name(name) == OPENVINO:
        return _why_not_openvino()
    if full_name(name) not in ort.get_available_providers():
        return conflict() or "this build of onnxruntime does not have it"
    with (
        tempfile.TemporaryFile() as output,
        stderr_into(output),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        if name in HINTS:
            # CUDA and cuDNN from pip lie where the system's loader does not look.
            ort.preload_dlls()
        try:
            session = ort.InferenceSession(
                PROBE, providers=[full_name(name)], enable_fallback=False
            )
        except (RuntimeError, ValueError) as error:  # TensorRT raises, CUDA logs
            output.write(str(error).encode())
        else:
            if full_name(name) in session.get_providers():
                return ""
        output.seek(0)
        reason = _reason(output.read().decode(errors="replace"))
    return f"{reason}; {HINTS[name]}" if name in HINTS else reason


def _reason(log: str) -> str:
    """The cause in onnxruntime's log: a missing library first, the last line else."""
    log = re.sub(r"\x1b\[[\d;]*m", "", log)
    library = re.search(r"with error: (.+)", log)
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    cause = library[1] if library else lines[-1] if lines else "no reason was given"
    return cause.strip().rstrip(".")


def _why_not_openvino() -> str:
    if find_spec(OPENVINO_PACKAGE) is None:
        return "it needs pip install onnxruntime-ep-openvino"
    if not hasattr(ort, "register_execution_provider_library"):
        return f"it needs onnxruntime 1.23 or later, not {ort.__version__}"
    try:
        openvino_device()
    except Exception as error:  # onnxruntime's errors have no base class
        return " ".join(str(error).split())
    return ""


@functools.cache
def openvino_device() -> "ort.OrtEpDevice":
    """OpenVINO's device for this machine's processor.

    Raises:
        InputError: the plugin offers none.
    """
    import onnxruntime_ep_openvino

    with _lock:
        if OPENVINO not in {device.ep_name for device in ort.get_ep_devices()}:
            library = onnxruntime_ep_openvino.get_library_path()
            ort.register_execution_provider_library("openvino", library)
    # There is "OpenVINOExecutionProvider.AUTO" too, which chooses among devices.
    for device in ort.get_ep_devices():
        if device.ep_name == OPENVINO and device.ep_metadata.get("ov_device") == "CPU":
            return device
    raise InputError("the OpenVINO plugin finds no processor that it can use")
