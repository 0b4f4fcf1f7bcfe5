"""One precision as a function: from the nodes to exclude to a model."""

from collections.abc import Callable
from dataclasses import dataclass

import onnx

from export.quantization import float16, weights
from export.quantization.calibration import measure
from export.quantization.config import CALIBRATED, QuantizationConfig
from export.quantization.images import Images
from export.quantization.placement import Graph, quantizable
from export.quantization.preparation import normalization_as_convolution, prepare
from export.quantization.qdq import FORMS, Writer
from keras_resnet.common.errors import InputError

INT8 = "int8 per channel"


@dataclass(frozen=True)
class Lowering:
    """A float32 model, ready to be made in a lower precision.

    Attributes:
        names: of the nodes that can be lowered, in the order of the graph.
        build: from the names of nodes that stay in float32 to a model.
        record: how it was calibrated, for the file's metadata.
    """

    names: list[str]
    build: Callable[[frozenset[str]], onnx.ModelProto]
    record: dict


def lowering(
    proto: onnx.ModelProto,
    config: QuantizationConfig,
    images: Images | None,
    verbose: bool,
) -> Lowering:
    """Prepares a precision of a float32 model.

    Args:
        proto: in float32, BatchNorm folded.
        config: what is wanted.
        images: to calibrate with; None where the precision needs none.
        verbose: show the progress.

    Raises:
        InputError: nothing in the model can be lowered, or it cannot be calibrated.
    """
    proto = prepare(proto)
    if config.precision == "int8":
        proto = normalization_as_convolution(proto)
    graph = Graph(proto)
    if config.precision in CALIBRATED:
        made = _int8(graph, config, images, verbose)
    elif config.precision == "int8-weights":
        names = [node.name for node in weights.weighted(graph.proto.graph)]
        record = _record(config, None, "float32", INT8)
        made = Lowering(
            names, lambda kept: weights.lower_weights(graph.proto, kept), record
        )
    else:
        made = Lowering(
            float16.candidates(graph),
            lambda kept: float16.lower(graph.proto, kept),
            _record(config, None, "float16", "float16"),
        )
    if not made.names:
        raise InputError(
            f"precision={config.precision!r}: nothing in this model can be lowered; it "
            "has no product with constant weights."
        )
    return made


def _int8(
    graph: Graph, config: QuantizationConfig, calibration: Images, verbose: bool
) -> Lowering:
    form, names = FORMS[config.precision], quantizable(graph)
    roots = list(dict.fromkeys(Writer(graph, form, names).roots.values()))
    batches = (images for images, _ in calibration.watched("calibrating", verbose))
    ranges = measure(
        graph.proto, config.layout, roots, batches, config.calibration_method
    )

    def build(kept):
        return Writer(graph, form, set(names) - kept).write(ranges)

    record = _record(config, calibration, f"{form.dtype} per tensor", INT8)
    return Lowering(names, build, record)


def _record(
    config: QuantizationConfig, images: Images | None, activations: str, kernels: str
) -> dict:
    return {
        "data": images and images.name,
        "images": images.count if images else 0,
        "method": images and config.calibration_method,
        "assumed": images and images.assumed,
        "activations": activations,
        "weights": kernels,
    }
