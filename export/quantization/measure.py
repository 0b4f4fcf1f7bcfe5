"""What a model in memory answers on labelled images, and what a lower precision costs.

The model runs in onnxruntime on the CPU.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from export.graph.files import LARGEST, weights_of
from export.quantization.config import QuantizationConfig
from export.quantization.images import Images
from export.runtime.session import Session
from keras_resnet.common.errors import InputError

TOP = 5


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


def evaluate(
    run: Callable[[np.ndarray], dict[str, np.ndarray]],
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
) -> dict:
    """Shares of the images whose class is the best, and among the best five.

    Args:
        run: NHWC images to the outputs by name: "probabilities" or "logits", (N,
            classes); or "classes", (N, k), best first.
        batches: of (images, labels).

    Returns:
        {"top1": share, "top5": share or None where the file gives fewer than five of
        its classes, "images": how many}.

    Raises:
        InputError: an output is NaN, or there are no images.
    """
    first = among = count = 0
    gives_five = True
    for batch, labels in batches:
        outputs = run(batch)
        if "classes" in outputs:
            classes = outputs["classes"][:, :TOP]
            gives_five = classes.shape[1] == TOP
        else:
            (scores,) = outputs.values()
            if np.isnan(scores).any():
                raise InputError("the model gives NaN on images of this data set.")
            classes = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
        hits = classes == labels[:, None]
        first += int(hits[:, :1].sum())
        among += int(hits.sum())
        count += len(labels)
    if not count:
        raise InputError("there are no images to validate with.")
    top5 = among / count if gives_five else None
    return {"top1": first / count, "top5": top5, "images": count}


def drop(reference: dict, lowered: dict) -> float:
    """Points of top-1 that were lost; below zero where some were won."""
    return round(100 * (reference["top1"] - lowered["top1"]), 6)


@dataclass(frozen=True)
class Evaluation:
    """Measures models on the same labelled images.

    Attributes:
        images: labelled, at least one.
        config: for the layout of the models' input and the drop that is accepted.
        verbose: show the progress and the findings.
    """

    images: Images
    config: QuantizationConfig
    verbose: bool = False

    def measure(self, model: ir.Model, name: str) -> dict:
        """`evaluate` of a model, whose progress is shown under a name."""
        run = session_of(model, self.config.layout).outputs
        return evaluate(run, self.images.watched(f"validating {name}", self.verbose))

    def record(
        self, float32: dict, exported: dict, chosen_on_these: bool = False
    ) -> dict:
        """The accuracy for the file's metadata, as `Quantized.accuracy` has it."""
        return {
            "data": self.images.name,
            "images": float32["images"],
            "float32": {top: float32[top] for top in ("top1", "top5")},
            "exported": {top: exported[top] for top in ("top1", "top5")},
            "drop_points": drop(float32, exported),
            "max_drop": self.config.max_drop,
            "chosen_on_these": chosen_on_these,
        }

    def of_float32(self, model: ir.Model) -> dict:
        """The record of a model that stays in float32."""
        accuracy = self.measure(model, "float32")
        if self.verbose:
            print(
                f"top-1 on {accuracy['images']} images of {self.images.name}: "
                f"{accuracy['top1']:.2%}"
            )
        return self.record(accuracy, accuracy)
