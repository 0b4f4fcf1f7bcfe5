"""Layers that stay in float32: those that hurt most, as few as the accuracy needs."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from export.parity.compare import comparable
from export.quantization.images import Images
from export.quantization.measure import Evaluation, drop, session_of
from keras_resnet.common.errors import AccuracyError
from keras_resnet.common.progress import Progress

if TYPE_CHECKING:
    from export.quantization.quantize import Candidates

MAX_EXCLUDED_SHARE = 0.5  # of the layers
SENSITIVITY_BATCHES = 8  # of images that the sensitivity is measured on


class Search:
    """Looks for the fewest excluded layers that hold the accuracy.

    Attributes:
        float32: the accuracy of the float32 model.
        accuracies: by the excluded layers, of every candidate that was built.
    """

    def __init__(
        self, model: ir.Model, candidates: "Candidates", evaluation: Evaluation
    ):
        self._candidates, self._evaluation = candidates, evaluation
        self.float32 = evaluation.measure(model, "float32")
        self.accuracies: dict[frozenset[str], dict] = {}
        self._accepted: ir.Model | None = None  # the last candidate that holds

    def run(self, calibration_images: Images) -> tuple[frozenset[str], ir.Model]:
        """The names of the excluded layers, and the model without them.

        Args:
            calibration_images: to measure the sensitivity on.

        Raises:
            AccuracyError: too much is lost with half of the layers in float32.
        """
        none, layers = frozenset(), self._candidates.layers
        excluded = none
        if not self.holds(none):
            self._say(
                f"{self._lost(none):.2f} points of top-1 lost: looking for the layers"
            )
            excluded = self._search(calibration_images)
        assert self._accepted is not None
        accuracy = self.accuracies[excluded]
        self._say(
            f"top-1 on {accuracy['images']} images of {self._evaluation.images.name}: "
            f"{self.float32['top1']:.2%} in float32, {accuracy['top1']:.2%} in "
            f"{self._evaluation.config.precision}, {len(excluded)} of {len(layers)} "
            f"layers kept in float32{', chosen on these images' if excluded else ''}"
        )
        return excluded, self._accepted

    def _search(self, calibration_images: Images) -> frozenset[str]:
        evaluation, candidates = self._evaluation, self._candidates
        config, verbose = evaluation.config, evaluation.verbose
        batches = [
            images for images, _ in islice(calibration_images, SENSITIVITY_BATCHES)
        ]
        ranked = rank(
            candidates.build, candidates.layers, config.layout, batches, verbose
        )
        limit = int(MAX_EXCLUDED_SHARE * len(ranked))
        excluded = fewest(ranked, limit, self.holds) if limit else None
        if excluded is None:
            best = min(self.accuracies, key=self._lost)
            raise AccuracyError(
                f"{config.precision} loses {self._lost(frozenset()):.2f} points of "
                f"top-1 on {evaluation.images.name!r}, and {self._lost(best):.2f} with "
                f"the {len(best)} most sensitive of {len(ranked)} layers in float32; "
                f"max_drop={config.max_drop} are accepted."
            )
        return excluded

    def holds(self, excluded: frozenset[str]) -> bool:
        """Whether the accuracy is good enough with these layers in float32."""
        if excluded not in self.accuracies:
            candidate = self._candidates.build(excluded)
            name = f"{len(excluded)} excluded"
            self.accuracies[excluded] = self._evaluation.measure(candidate, name)
            if self._lost(excluded) <= self._evaluation.config.max_drop:
                self._accepted = candidate
        return self._lost(excluded) <= self._evaluation.config.max_drop

    def _lost(self, excluded: frozenset[str]) -> float:
        """Points of top-1."""
        return drop(self.float32, self.accuracies[excluded])

    def _say(self, text: str) -> None:
        if self._evaluation.verbose:
            print(text)


def rank(
    build: Callable[[frozenset[str]], ir.Model],
    layers: Sequence[str],
    layout: str,
    batches: Sequence[np.ndarray],
    verbose: bool,
) -> list[str]:
    """The layers, beginning with the one that adds most noise to the output.

    Each is lowered alone, all others in float32, and the change of the first output
    is measured in mean squares; of probabilities, that of their logarithms.

    Args:
        build: from the names of excluded layers to a model.
        layers: names of those that can be lowered.
        layout: of the model's input.
        batches: of calibration images.
        verbose: show the progress.
    """
    everything = frozenset(layers)
    expected = _outputs(build(everything), layout, batches)
    noise = {}
    for name in Progress(layers, "sensitivity", disable=not verbose, leave=False):
        actual = _outputs(build(everything - {name}), layout, batches)
        change = np.square(actual - expected).mean()
        noise[name] = float(np.nan_to_num(change, nan=np.inf))
    return sorted(layers, key=lambda name: noise[name], reverse=True)


def _outputs(model: ir.Model, layout: str, batches: Sequence[np.ndarray]) -> np.ndarray:
    """The first output of all images, comparable by differences, (N, values)."""
    session = session_of(model, layout)
    name = session.output_names[0]
    parts = []
    for images in batches:
        values = comparable(name, session.outputs(images)[name])
        parts.append(values.reshape(len(images), -1))
    return np.concatenate(parts)


def fewest(
    ranked: Sequence[str], limit: int, holds: Callable[[frozenset[str]], bool]
) -> frozenset[str] | None:
    """The fewest of the first layers that are to be excluded.

    Doubles their number until `holds`, then halves the last step; so `holds` is asked
    a handful of times where there are hundreds of layers.

    Args:
        ranked: names, the worst first.
        limit: how many may be excluded.
        holds: whether the accuracy is good enough with these in float32.

    Returns:
        The names; None where excluding `limit` is not enough.
    """
    failed, count = 0, 1
    while not holds(frozenset(ranked[: min(count, limit)])):
        if count >= limit:
            return None
        failed, count = count, 2 * count
    good = min(count, limit)
    while good - failed > 1:
        middle = (failed + good) // 2
        if holds(frozenset(ranked[:middle])):
            good = middle
        else:
            failed = middle
    return frozenset(ranked[:good])
