"""From a float32 model to one of a lower precision whose accuracy holds."""

from dataclasses import dataclass
from itertools import islice

import onnx

from export.quantization.accuracy import drop, evaluate
from export.quantization.config import QuantizationConfig
from export.quantization.images import Images
from export.quantization.lowering import Lowering, lowering
from export.quantization.running import session_of
from export.quantization.sensitivity import fewest, rank
from keras_resnet.common.errors import AccuracyError

LARGEST_EXCLUDED_SHARE = 0.5  # largest share of the nodes that may stay in float32
PROBES = 8  # batches of images that the sensitivity is measured on


@dataclass(frozen=True)
class Quantized:
    """A model in a lower precision, and what its file's metadata says of that.

    Attributes:
        proto: the model.
        calibration: data, images, method, assumed (the mean and std that nobody told),
            activations, weights, and kept_in_float, the names of the nodes that were
            excluded.
        accuracy: data, images, float32 and exported (top1 and top5), drop_points,
            max_drop, and chosen_on_these: whether the nodes to exclude were chosen on
            these same images, so that others may show a larger drop; None where it
            was not measured.
    """

    proto: onnx.ModelProto
    calibration: dict
    accuracy: dict | None


def quantize(
    proto: onnx.ModelProto,
    config: QuantizationConfig,
    calibration: Images | None,
    evaluation_images: Images | None,
    verbose: bool = False,
) -> Quantized:
    """Lowers the precision of a model, and measures what that costs.

    Where more than `config.max_drop` points of top-1 are lost, the nodes that add most
    noise to the output stay in float32, as few as are needed. That choice is made on
    the images that the accuracy is reported of, and the record says so.

    Args:
        proto: in float32, as `convert` gives it.
        config: what is wanted.
        calibration, evaluation images: as `images_of` gives them.
        verbose: show the progress and the findings.

    Raises:
        InputError: the images or the model cannot be used.
        AccuracyError: half of the nodes in float32 are not enough.
    """
    own = evaluation_images or calibration
    if verbose and own and own.assumed:
        print(
            "nothing says how images are normalised: they are as training on "
            f"{own.name!r} does it"
        )
    made = lowering(proto, config, calibration, verbose)
    kept, accuracy = frozenset(), None
    if evaluation_images is None:
        lowered = made.build(kept)
        if verbose:
            print("accuracy not measured")
    else:
        search = Search(proto, made, evaluation_images, config, verbose)
        kept = search.run(calibration or evaluation_images)
        lowered, accuracy = made.build(kept), search.record(kept)
    names = [name for name in made.names if name in kept]
    return Quantized(lowered, made.record | {"kept_in_float": names}, accuracy)


def measure(
    proto: onnx.ModelProto,
    config: QuantizationConfig,
    evaluation_images: Images,
    verbose: bool = False,
) -> dict:
    """The accuracy of a float32 model, as `Quantized.accuracy` has it.

    Args:
        proto, evaluation images: as `quantize` takes them.
        config: for its layout.
        verbose: show the progress and the finding.
    """
    run = session_of(proto, config.layout).outputs
    found = evaluate(run, evaluation_images.watched("validating float32", verbose))
    if verbose:
        share = f"{found['top1']:.2%}"
        print(f"top-1 on {found['images']} images of {evaluation_images.name}: {share}")
    return _record(evaluation_images, found, found, config.max_drop, False)


def _record(
    evaluation_images: Images, exact: dict, lowered: dict, max_drop: float, chosen: bool
) -> dict:
    return {
        "data": evaluation_images.name,
        "images": exact["images"],
        "float32": {top: exact[top] for top in ("top1", "top5")},
        "exported": {top: lowered[top] for top in ("top1", "top5")},
        "drop_points": drop(exact, lowered),
        "max_drop": max_drop,
        "chosen_on_these": chosen,
    }


class Search:
    """Looks for the fewest nodes in float32 that hold the accuracy."""

    def __init__(
        self,
        proto: onnx.ModelProto,
        made: Lowering,
        evaluation_images: Images,
        config: QuantizationConfig,
        verbose: bool,
    ):
        self.made, self.evaluation_images = made, evaluation_images
        self.config, self.verbose = config, verbose
        self.reference = self._evaluate(proto, "float32")
        self.found = {}  # accuracy, by the nodes in float32

    def run(self, probes: Images) -> frozenset[str]:
        """The names of the nodes that stay in float32.

        Args:
            probes: images to measure the sensitivity on.
        """
        none = frozenset()
        if self.holds(none):
            return none
        made = self.made
        self._say(f"{self.lost(none):.2f} points of top-1 lost: looking for the layers")
        images = [batch for batch, _ in islice(probes, PROBES)]
        ranked = rank(made.build, made.names, self.config.layout, images, self.verbose)
        most = int(LARGEST_EXCLUDED_SHARE * len(ranked))
        kept = fewest(ranked, most, self.holds) if most else None
        if kept is None:
            best = min(self.found, key=self.lost)
            raise AccuracyError(
                f"{self.config.precision} loses {self.lost(none):.2f} points of top-1 "
                f"on {self.evaluation_images.name!r}, and {self.lost(best):.2f} with "
                f"the {len(best)} most sensitive of {len(ranked)} layers in float32; "
                f"max_drop={self.config.max_drop} are accepted."
            )
        return kept

    def holds(self, kept: frozenset[str]) -> bool:
        """Whether the accuracy is good enough with these nodes in float32."""
        if kept not in self.found:
            self.found[kept] = self._evaluate(
                self.made.build(kept), f"{len(kept)} kept"
            )
        return self.lost(kept) <= self.config.max_drop

    def lost(self, kept: frozenset[str]) -> float:
        """Points of top-1."""
        return drop(self.reference, self.found[kept])

    def record(self, kept: frozenset[str]) -> dict:
        """The accuracy, for the file's metadata."""
        exact, lowered = self.reference, self.found[kept]
        self._say(
            f"top-1 on {exact['images']} images of {self.evaluation_images.name}: "
            f"{exact['top1']:.2%} in float32, {lowered['top1']:.2%} in "
            f"{self.config.precision}, {len(kept)} layers kept in float32"
            f"{', chosen on these images' if kept else ''}"
        )
        return _record(
            self.evaluation_images, exact, lowered, self.config.max_drop, bool(kept)
        )

    def _evaluate(self, proto: onnx.ModelProto, name: str) -> dict:
        run = session_of(proto, self.config.layout).outputs
        return evaluate(
            run, self.evaluation_images.watched(f"validating {name}", self.verbose)
        )

    def _say(self, text: str) -> None:
        if self.verbose:
            print(text)
