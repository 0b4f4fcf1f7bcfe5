"""An ONNX model in memory, run by onnxruntime on the CPU."""

import onnx

from export.runtime.session import Session
from keras_resnet.common.errors import InputError

MAX_MESSAGE_BYTES = 2**31 - 1  # of a message of protocol buffers


def session_of(proto: onnx.ModelProto, layout: str) -> Session:
    """A session whose idle threads leave the processor to the decoding of images.

    Raises:
        InputError: the model has 2 GB or more, or onnxruntime refuses it.
    """
    return Session(serialize(proto), "cpu", spinning=False, layout=layout)


def serialize(proto: onnx.ModelProto) -> bytes:
    if proto.ByteSize() > MAX_MESSAGE_BYTES:
        raise InputError(
            f"the model has {proto.ByteSize() / 1e9:.1f} GB: lower precisions are made "
            "of models below 2 GB."
        )
    return proto.SerializeToString()
