"""What an exported model can give and what it can do to images. Loads no library."""

from typing import Literal, get_args

from keras_resnet.common.errors import InputError
from keras_resnet.common.numbers import check_choice, check_whole

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
