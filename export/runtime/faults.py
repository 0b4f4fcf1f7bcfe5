"""onnxruntime's errors in one clear line each."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from keras_resnet.common.errors import InputError

# What the CPU's allocator, C++ and CUDA say where memory ends.
NO_MEMORY = re.compile(
    r"failed to allocate|bad_alloc|out of memory|CUDNN_STATUS_ALLOC_FAILED", re.I
)
OUTSIDE = re.compile(r"escapes model directory|absolute path not allowed", re.I)
NO_DATA = re.compile(r"external data path does not exist", re.I)
SHORT_DATA = re.compile(r"out of bounds or can not|invalid external data", re.I)


def cannot_load(
    model: str | bytes, providers: Iterable[str], error: Exception
) -> InputError:
    """For a file, or a model in memory, that makes no session."""
    said = " ".join(str(error).split())
    if OUTSIDE.search(said):
        reason = (
            "it wants weights from outside its own folder, which are not read "
            f"(external data): {_quoted(said)}"
        )
    elif NO_DATA.search(said):
        reason = (
            "the file with its weights (external data) is missing, it belongs beside "
            f"it: {_quoted(said)}"
        )
    elif SHORT_DATA.search(said):
        reason = "the file with its weights (external data) is too short"
    elif _no_memory(error, said):
        reason = "out of memory"
    else:
        # Without a CPU to help, what a provider cannot do is an error.
        hint = "" if "cpu" in providers else " (name the cpu, too, to let it help)"
        reason = f"it cannot be read as ONNX on {', '.join(providers)}{hint}: {said}"
    in_memory = isinstance(model, bytes)
    size = len(model) if in_memory else Path(model).stat().st_size
    name = "the model" if in_memory else model
    return InputError(f"{name} ({size} bytes) cannot be loaded: {reason}")


def cannot_run(name: str, images: np.ndarray, error: Exception) -> InputError:
    """For images that cannot be computed."""
    said = " ".join(str(error).split())
    if _no_memory(error, said):
        return InputError(
            f"{name}: out of memory with a batch of {len(images)} images of "
            f"{images.shape[1:]}; a smaller batch may fit."
        )
    return InputError(f"{name} cannot compute images of shape {images.shape}: {said}")


def _no_memory(error: Exception, said: str) -> bool:
    return isinstance(error, MemoryError) or bool(NO_MEMORY.search(said))


def _quoted(said: str) -> str:
    """The path in onnxruntime's message; all of the message where it has none."""
    found = re.search(r'"([^"]+)"', said)
    return found[0] if found else said
