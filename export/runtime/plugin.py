"""The OpenVINO provider: Intel's plugin for the stock onnxruntime.

`pip install onnxruntime-ep-openvino` brings OpenVINO and a library that is registered
with onnxruntime once a process; its devices can then be added to sessions. Left to
itself it computes in bfloat16 where the processor can: the precision is always set.
"""

import functools
import json
import threading
from importlib.util import find_spec

import onnxruntime as ort

from keras_resnet.common.errors import InputError

NAME = "OpenVINOExecutionProvider"
PACKAGE = "onnxruntime_ep_openvino"
REGISTERED_AS = "openvino"

PRECISIONS = {  # OpenVINO's INFERENCE_PRECISION_HINT
    "float32": "f32",
    "bfloat16": "bf16",
    "float16": "f16",
}

_lock = threading.Lock()  # registering twice is an error


def missing() -> str:
    """Why the plugin cannot be used here; "" where it can."""
    if find_spec(PACKAGE) is None:
        return "it needs pip install onnxruntime-ep-openvino"
    if not hasattr(ort, "register_execution_provider_library"):
        return f"it needs onnxruntime 1.23 or later, not {ort.__version__}"
    try:
        device()
    except Exception as error:  # onnxruntime's errors have no base class
        return " ".join(str(error).split())
    return ""


@functools.cache
def device() -> "ort.OrtEpDevice":
    """OpenVINO's device for this machine's processor.

    Raises:
        InputError: the plugin offers none.
    """
    import onnxruntime_ep_openvino

    with _lock:
        if NAME not in {one.ep_name for one in ort.get_ep_devices()}:
            library = onnxruntime_ep_openvino.get_library_path()
            ort.register_execution_provider_library(REGISTERED_AS, library)
    # There is "OpenVINOExecutionProvider.AUTO" too, which chooses among devices.
    for one in ort.get_ep_devices():
        if one.ep_name == NAME and one.ep_metadata.get("ov_device") == "CPU":
            return one
    raise InputError("the OpenVINO plugin finds no processor that it can use")


def openvino_options(
    precision: str | None, threads: int | None, properties: dict[str, str]
) -> dict[str, str]:
    """Options of the provider: its properties for the processor, as JSON.

    Args:
        precision: "float32", "bfloat16" or "float16"; None for float32. Layers that
            the file has in int8 stay so.
        threads: of one request; None leaves it to OpenVINO, one a physical core.
        properties: more of OpenVINO's properties, such as NUM_STREAMS.
    """
    found = {"INFERENCE_PRECISION_HINT": PRECISIONS[precision or "float32"]}
    if threads:
        found["INFERENCE_NUM_THREADS"] = str(threads)
    return {"load_config": json.dumps({"CPU": {**found, **properties}})}
