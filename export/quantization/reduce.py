"""From a float32 model to one of a lower precision whose accuracy holds."""

from dataclasses import dataclass
from itertools import islice

import onnx

from export.quantization.accuracy import drop, evaluate
from export.quantization.images import Images
from export.quantization.lowering import Lowering, lowering
from export.quantization.plan import Plan
from export.quantization.running import runner
from export.quantization.sensitivity import fewest, rank
from keras_resnet.common.errors import AccuracyError

SPARED = 0.5  # largest share of the nodes that may stay in float32
PROBES = 8  # batches of images that the sensitivity is measured on


@dataclass(frozen=True)
class Reduced:
    """A model in a lower precision, and what its file's metadata says of that.

    Attributes:
        proto: the model.
        calibration: data, images, method, assumed (the mean and std that nobody told),
            activations, weights, and kept_in_float, the names of the nodes that were
            spared.
        accuracy: data, images, float32 and exported (top1 and top5), drop_points,
            max_drop, and chosen_on_these: whether the nodes to spare were chosen on
            these same images, so that others may show a larger drop; None where it
            was not measured.
    """

    proto: onnx.ModelProto
    calibration: dict
    accuracy: dict | None


def reduce(
    proto: onnx.ModelProto,
    plan: Plan,
    calibration: Images | None,
    judges: Images | None,
    verbose: bool = False,
) -> Reduced:
    """Lowers the precision of a model, and measures what that costs.

    Where more than `plan.max_drop` points of top-1 are lost, the nodes that add most
    noise to the output stay in float32, as few as are needed. That choice is made on
    the images that the accuracy is reported of, and the record says so.

    Args:
        proto: in float32, as `convert` gives it.
        plan: what is wanted.
        calibration, judges: as `images_of` gives them.
        verbose: show the progress and the findings.

    Raises:
        InputError: the images or the model cannot be used.
        AccuracyError: half of the nodes in float32 are not enough.
    """
    own = judges or calibration
    if verbose and own and own.assumed:
        print(
            "nothing says how images are normalised: they are as training on "
            f"{own.name!r} does it"
        )
    made = lowering(proto, plan, calibration, verbose)
    kept, accuracy = frozenset(), None
    if judges is None:
        lowered = made.build(kept)
        if verbose:
            print("accuracy not measured")
    else:
        search = Search(proto, made, judges, plan, verbose)
        kept = search.run(calibration or judges)
        lowered, accuracy = made.build(kept), search.record(kept)
    names = [name for name in made.names if name in kept]
    return Reduced(lowered, made.record | {"kept_in_float": names}, accuracy)


def measure(
    proto: onnx.ModelProto, plan: Plan, judges: Images, verbose: bool = False
) -> dict:
    """The accuracy of a float32 model, as `Reduced.accuracy` has it.

    Args:
        proto, judges: as `reduce` takes them.
        plan: for its layout.
        verbose: show the progress and the finding.
    """
    run = runner(proto, plan.layout)
    found = evaluate(run, judges.watched("validating float32", verbose))
    if verbose:
        share = f"{found['top1']:.2%}"
        print(f"top-1 on {found['images']} images of {judges.name}: {share}")
    return _record(judges, found, found, plan.max_drop, False)


def _record(
    judges: Images, exact: dict, lowered: dict, max_drop: float, chosen: bool
) -> dict:
    return {
        "data": judges.name,
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
        judges: Images,
        plan: Plan,
        verbose: bool,
    ):
        self.made, self.judges, self.plan, self.verbose = made, judges, plan, verbose
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
        ranked = rank(made.build, made.names, self.plan.layout, images, self.verbose)
        most = int(SPARED * len(ranked))
        kept = fewest(ranked, most, self.holds) if most else None
        if kept is None:
            best = min(self.found, key=self.lost)
            raise AccuracyError(
                f"{self.plan.precision} loses {self.lost(none):.2f} points of top-1 on "
                f"{self.judges.name!r}, and {self.lost(best):.2f} with the {len(best)} "
                f"most sensitive of {len(ranked)} layers in float32; max_drop="
                f"{self.plan.max_drop} are accepted."
            )
        return kept

    def holds(self, kept: frozenset[str]) -> bool:
        """Whether the accuracy is good enough with these nodes in float32."""
        if kept not in self.found:
            self.found[kept] = self._evaluate(
                self.made.build(kept), f"{len(kept)} kept"
            )
        return self.lost(kept) <= self.plan.max_drop

    def lost(self, kept: frozenset[str]) -> float:
        """Points of top-1."""
        return drop(self.reference, self.found[kept])

    def record(self, kept: frozenset[str]) -> dict:
        """The accuracy, for the file's metadata."""
        exact, lowered = self.reference, self.found[kept]
        self._say(
            f"top-1 on {exact['images']} images of {self.judges.name}: "
            f"{exact['top1']:.2%} in float32, {lowered['top1']:.2%} in "
            f"{self.plan.precision}, {len(kept)} layers kept in float32"
            f"{', chosen on these images' if kept else ''}"
        )
        return _record(self.judges, exact, lowered, self.plan.max_drop, bool(kept))

    def _evaluate(self, proto: onnx.ModelProto, name: str) -> dict:
        run = runner(proto, self.plan.layout)
        return evaluate(run, self.judges.watched(f"validating {name}", self.verbose))

    def _say(self, text: str) -> None:
        if self.verbose:
            print(text)
