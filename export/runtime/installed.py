"""Whether one whole onnxruntime is installed, and no two that share a folder.

The wheels `onnxruntime`, `onnxruntime-gpu` and others all own the folder
`onnxruntime/`: the one installed last wins, so that CUDA may be gone, and uninstalling
either takes files of the other with it (onnxruntime#26996).
"""

import functools
import logging
from importlib.metadata import PackageNotFoundError, version

import onnxruntime as ort

from keras_resnet.common.errors import InputError

log = logging.getLogger(__name__)

WHEELS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-qnn",
)


def wheels() -> dict[str, str]:
    """The installed wheels that own the folder `onnxruntime/`, and their versions."""
    found = {}
    for name in WHEELS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def conflict() -> str:
    """What is wrong and what to do where several wheels are there; "" where one is."""
    found = wheels()
    if len(found) < 2:
        return ""
    named = " and ".join(f"{name} {number}" for name, number in found.items())
    keep = "onnxruntime-gpu" if "onnxruntime-gpu" in found else "onnxruntime"
    return (
        f"{named} are installed and overwrite each other: pip uninstall -y "
        f"{' '.join(found)}, then pip install {keep}"
    )


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
