"""An ONNX model in memory as a function of images, in onnxruntime on the CPU."""

from collections.abc import Callable

import numpy as np
import onnx

from keras_resnet.common.errors import InputError

MOST_BYTES = 2**31 - 1  # of a message of protocol buffers


def runner(
    proto: onnx.ModelProto, layout: str
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """From NHWC images to the outputs by name.

    Where the file's batch is fixed, other numbers of images are repeated or cut up to
    fill it.

    Raises:
        InputError: the model has 2 GB or more, or onnxruntime refuses it.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors alone; they are raised, too
    # Waiting busily would take the processor from the images' decoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(
            serialize(proto), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors have no base class
        raise InputError(f"onnxruntime refuses the lowered model: {error}") from error
    entry = session.get_inputs()[0]
    names = [one.name for one in session.get_outputs()]
    fixed = entry.shape[0] if isinstance(entry.shape[0], int) else None

    def run_batch(images):
        count = len(images)
        if fixed and count < fixed:
            images = np.concatenate([images, images[-1:].repeat(fixed - count, 0)])
        if layout == "nchw":
            images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        found = session.run(names, {entry.name: images})
        return [one[:count] for one in found]

    def run(images):
        size = fixed or len(images)
        parts = [run_batch(images[i : i + size]) for i in range(0, len(images), size)]
        return {
            name: np.concatenate(arrays)
            for name, arrays in zip(names, zip(*parts, strict=True), strict=True)
        }

    return run


def serialize(proto: onnx.ModelProto) -> bytes:
    if proto.ByteSize() > MOST_BYTES:
        raise InputError(
            f"the model has {proto.ByteSize() / 1e9:.1f} GB: lower precisions are made "
            "of models below 2 GB."
        )
    return proto.SerializeToString()
