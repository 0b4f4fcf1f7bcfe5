"""An ONNX model in memory, run by onnxruntime on the CPU."""

import onnx_ir as ir

from export.graph.files import LARGEST, weights_of
from export.runtime.session import Session
from keras_resnet.common.errors import InputError


def session_of(model: ir.Model, layout: str) -> Session:
    """A session whose idle threads leave the processor to the decoding of images.

    Raises:
        InputError: the model has 2 GB or more, or onnxruntime refuses it.
    """
    size = sum(tensor.nbytes for tensor in weights_of(model))
    if size > LARGEST:
        raise InputError(
            f"the model has {size / 1e9:.1f} GB: lower precisions are made of models "
            "below 2 GB."
        )
    content = ir.to_proto(model).SerializeToString()
    return Session(content, "cpu", spinning=False, layout=layout)
