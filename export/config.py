"""What can be asked of an export in every format. Loads no library."""

from dataclasses import dataclass
from typing import Literal, get_args

from keras_resnet.common.errors import InputError
from keras_resnet.common.numbers import check_choice, check_number, check_whole

INPUT_NAME = "images"  # of the one input of every artifact

OutputKind = Literal["probabilities", "logits", "top_k", "features", "embedding"]
PreprocessKind = Literal["none", "normalize", "full"]
OUTPUT_KINDS: tuple[str, ...] = get_args(OutputKind)
CLASSIFIER_OUTPUTS = OUTPUT_KINDS[:3]  # what only a classifier gives
DEFAULT_TOP = 5  # classes of top_k


def check_choices(output: str, top: int, preprocess: str, batch: int | None) -> None:
    """Raises an InputError for what no model can be exported with."""
    check_choice("output", output, OUTPUT_KINDS)
    check_choice("preprocess", preprocess, get_args(PreprocessKind))
    check_whole("top", top)
    if batch is not None:
        check_whole("batch", batch)
    if top != DEFAULT_TOP and output != "top_k":
        raise InputError(f"top={top} is for output='top_k', not for {output!r}.")


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What can be asked of every format.

    Raises:
        InputError: a value is none of those accepted.
    """

    output: OutputKind = "probabilities"
    """Softmax, or what goes into it, whatever the model ends in; the best classes; the
    stages' feature maps; or what enters the classifier."""
    top: int = DEFAULT_TOP
    """Number of classes, for output "top_k"."""
    preprocess: PreprocessKind = "none"
    """What the artifact does to images: nothing; normalize uint8 images of the
    network's size; or resize and crop uint8 images of any size as well."""
    input_size: tuple[int, int] | None = None
    """Height and width, for an architecture's name or a model that takes any size."""
    batch: int | None = None
    """Number of images at once. Default: any."""
    verify: bool = True
    """Run the artifact and the Keras model on the same images, and compare."""
    tolerance: float | None = None
    """Largest difference from the Keras model, as a share of the outputs' spread.
    Default: the precision's."""
    force: bool = False
    """Replace what stands there."""
    verbose: bool = True
    """Print the steps and the result."""

    def __post_init__(self):
        check_choices(self.output, self.top, self.preprocess, self.batch)
        if self.tolerance is not None:
            check_number("tolerance", self.tolerance, above=0)
