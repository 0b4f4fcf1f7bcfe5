"""What really ran: read from onnxruntime's profile, not from what was asked for.

A session goes on in another precision than the one that was meant (OpenVINO takes
bfloat16 by itself), and leaves nodes to other providers. The profile names the
operators that ran and the types of their inputs; the OpenVINO plugin adds the kernels
of its own layers, such as `brgconv_avx512_amx_bf16`.
"""

import collections
import json
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from export.runtime.providers import short_name
from keras_resnet.common.errors import InputError

SIDE = 224  # of the image where any size is taken: that of most ImageNet weights

# Of one product: convolutions and matrix products of onnxruntime and of OpenVINO.
PRODUCT = re.compile(r"conv|gemm|matmul|fullyconnected", re.I)
CONVERSION = re.compile(r"convert", re.I)  # of a type, OpenVINO's word

PRECISION_OF_TYPE = {  # as onnxruntime calls a type, and as a kernel's name ends
    "float": "float32",
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "uint8": "int8",
    "u8": "int8",
    "i8": "int8",
}


def read_back(
    load: Callable[["ort.SessionOptions"], "ort.InferenceSession"],
    options: "ort.SessionOptions",
    shape: Sequence[int | None],
    dtype: np.dtype,
) -> dict[str, Any]:
    """Loads and runs once with onnxruntime's profile on.

    Args:
        load: options to a session.
        options: of that session; profiling is added.
        shape: of the input; one image, or a fixed batch, of 224 where it is open.
        dtype: of the input.

    Returns:
        `provider`: short name of that with the most nodes. `device`: "cpu" or "gpu".
        `precision`: of most convolutions and matrix products; None where the provider
        does not tell (TensorRT). `precisions`: how many of them ran in each; `others`:
        how many of the other operators. `nodes`: how many nodes of the graph each
        provider has.
    """
    batch, *image = shape
    images = np.zeros([batch or 1, *(side or SIDE for side in image)], dtype)
    with tempfile.TemporaryDirectory() as folder:
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        session = load(options)
        try:
            session.run(None, {session.get_inputs()[0].name: images})
        except Exception as error:  # onnxruntime's errors have no base class
            raise InputError(
                f"images of {images.shape} cannot be computed: {error}"
            ) from error
        nodes = collections.Counter()
        for part in session.get_provider_graph_assignment_info():
            nodes[short_name(part.ep_name)] += len(part.get_nodes())
        events = json.loads(Path(session.end_profiling()).read_text())
    products, others = _precisions(events)
    # A graph that is folded away has no nodes.
    nodes = nodes or collections.Counter({short_name(session.get_providers()[0]): 0})
    provider = nodes.most_common(1)[0][0]
    return {
        "provider": provider,
        "device": "gpu" if provider in ("cuda", "tensorrt") else "cpu",
        "precision": products.most_common(1)[0][0] if products else None,
        "precisions": dict(products.most_common()),
        "others": dict(others.most_common()),
        "nodes": dict(nodes.most_common()),
    }


def _precisions(events: list[dict]) -> tuple[collections.Counter, collections.Counter]:
    """How many products, and how many other operators, ran in each precision."""
    products, others = {}, {}
    for event in events:
        details = event.get("args", {})
        if "ov_exec_type" in details:
            operator = details["ov_node_type"]
            dtype = details["ov_exec_type"].split("_")[-1]
        elif details.get("input_type_shape"):
            operator = details["op_name"]
            dtype = next(iter(details["input_type_shape"][0]))
        else:
            continue
        is_product = PRODUCT.search(operator) and not CONVERSION.search(operator)
        precisions = products if is_product else others
        precisions[event["name"]] = PRECISION_OF_TYPE.get(dtype.lower(), dtype)
    return collections.Counter(products.values()), collections.Counter(others.values())
