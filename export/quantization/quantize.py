"""From a float32 model to one of a lower precision whose accuracy holds.

    quantized = quantize(model, config, calibration_images, evaluation_images)

The passes of the precision (`passes.py`) bring the model into form; the ranges of its
activations are calibrated; the layers are lowered; the accuracy is measured; and where
too much is lost, the layers that lose most are excluded.
"""

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from export.quantization.calibrate import calibrate
from export.quantization.config import QuantizationConfig
from export.quantization.exclude import Search
from export.quantization.images import Images
from export.quantization.measure import Evaluation
from export.quantization.passes import PRECISIONS
from keras_resnet.common.errors import InputError


@dataclass(frozen=True)
class Quantized:
    """A model in a lower precision, and what its file's metadata says of that.

    Attributes:
        model: in the lower precision.
        calibration: data, images, method, assumed (the mean and std that nothing
            records), activations, weights, and kept_in_float, the names of the
            excluded layers.
        accuracy: data, images, float32 and exported (top1 and top5), drop_points,
            max_drop, and chosen_on_these: whether the excluded layers were chosen on
            these same images, so that others may show a larger drop; None where it
            was not measured.
    """

    model: ir.Model
    calibration: dict
    accuracy: dict | None


@dataclass(frozen=True)
class Candidates:
    """A float32 model whose layers can be lowered, any of them excluded.

    Attributes:
        layers: names of the nodes that can be lowered, in the order of the graph.
        build: from the names of excluded layers to a new model.
        calibration: how it was calibrated, for the file's metadata.
    """

    layers: list[str]
    build: Callable[[frozenset[str]], ir.Model]
    calibration: dict


def quantize(
    model: ir.Model,
    config: QuantizationConfig,
    calibration_images: Images | None,
    evaluation_images: Images | None,
    verbose: bool = False,
) -> Quantized:
    """Lowers the precision of a model, and measures what that costs.

    Where more than `config.max_drop` points of top-1 are lost, the layers that add
    most noise to the output stay in float32, as few as are needed. That choice is made
    on the images that the accuracy is reported of, and the record says so.

    Args:
        model: in float32, as `convert` gives it; it stays as it is.
        config: the precision, how to calibrate, and the drop that is accepted.
        calibration_images: None where the precision needs none.
        evaluation_images: labelled; None to leave the accuracy unmeasured.
        verbose: show the progress and the findings.

    Raises:
        InputError: the images or the model cannot be used.
        AccuracyError: too much is lost with half of the layers in float32.
    """
    images = evaluation_images or calibration_images
    if verbose and images and images.assumed:
        print(
            "nothing says how images are normalized: they are as training on "
            f"{images.name!r} does it"
        )
    candidates = prepare(model, config, calibration_images, verbose)
    if evaluation_images is None:
        excluded, accuracy = frozenset(), None
        quantized = candidates.build(excluded)
        if verbose:
            print("accuracy not measured")
    else:
        evaluation = Evaluation(evaluation_images, config, verbose)
        search = Search(model, candidates, evaluation)
        excluded, quantized = search.run(calibration_images or evaluation_images)
        accuracy = evaluation.record(
            search.float32, search.accuracies[excluded], chosen_on_these=bool(excluded)
        )
    names = [name for name in candidates.layers if name in excluded]
    record = candidates.calibration | {"kept_in_float": names}
    return Quantized(quantized, record, accuracy)


def prepare(
    model: ir.Model,
    config: QuantizationConfig,
    calibration_images: Images | None,
    verbose: bool = False,
) -> Candidates:
    """Brings a float32 model into form, and calibrates the ranges of its activations.

    Args:
        model, config, calibration_images, verbose: as `quantize` takes them.

    Raises:
        InputError: nothing in the model can be lowered, or it cannot be calibrated.
    """
    passes = PRECISIONS[config.precision]
    prepared = model.clone()
    for rewrite in passes.prepare:
        rewrite(prepared)
    layers = passes.layers(prepared)
    if not layers:
        raise InputError(
            f"precision={config.precision!r}: nothing in this model can be lowered; it "
            "has no product with constant weights."
        )
    ranges = {}
    if passes.calibrated and calibration_images:
        tensors = passes.calibrated(prepared, layers)
        ranges = calibrate(prepared, config, tensors, calibration_images, verbose)

    def build(excluded: frozenset[str]) -> ir.Model:
        candidate = prepared.clone()
        passes.lower(candidate, [n for n in layers if n not in excluded], ranges)
        return candidate

    images = calibration_images if passes.calibrated else None
    record = {
        "data": images and images.name,
        "images": images.count if images else 0,
        "method": images and config.calibration_method,
        "assumed": images and images.assumed,
        "activations": passes.activations,
        "weights": passes.weights,
    }
    return Candidates(layers, build, record)
