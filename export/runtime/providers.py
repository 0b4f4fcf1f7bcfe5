"""onnxruntime's execution providers: names, options, and whether one really loads.

`onnxruntime.get_available_providers()` lists what was compiled in, whether or not
its libraries and a GPU are there, and a session that cannot have a provider goes
on without it. So each is tried here, on the smallest of graphs.

The CPU provider and the OpenVINO plugin are tested; CUDA and TensorRT were not run on
a GPU.
"""

import contextlib
import functools
import io
import re
import tempfile
from collections.abc import Sequence

import onnxruntime as ort

from export.runtime import plugin
from export.runtime.installed import check_installed, conflict
from keras_resnet.common.command import stderr_into
from keras_resnet.common.errors import InputError, closest

# Best first. OpenVINO is asked for by name: its numbers are others than the CPU's.
AUTO = ("tensorrt", "cuda", "cpu")

HINTS = {  # what the providers of the onnxruntime-gpu wheels need beside them
    "cuda": "it needs an NVIDIA GPU and pip install 'onnxruntime-gpu[cuda,cudnn]'",
    "tensorrt": "it needs what cuda needs, pip install 'tensorrt<11', and its"
    " libraries on LD_LIBRARY_PATH",
}

# y = Identity(x) on one float, opset 13, as onnx.helper.make_model serialises it.
PROBE = (
    b'\x08\x08:;\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x05probe'
    b"Z\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01"
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
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
    if full_name(name) == plugin.NAME:
        return plugin.missing()
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
