"""What can be asked of an exported model, checked before anything is loaded."""

from numbers import Integral

from keras_resnet.common.errors import InputError

KINDS = ("probabilities", "logits", "top_k", "features", "embedding")
OF_CLASSES = KINDS[:3]  # what a classifier alone gives
PREPROCESS = ("none", "normalize", "full")
TOP = 5  # classes of top_k where nothing else is said


def check_choices(output: str, top: int, preprocess: str, batch: int | None) -> None:
    """Raises an InputError for what no model can be exported with."""
    for name, value, known in (
        ("output", output, KINDS),
        ("preprocess", preprocess, PREPROCESS),
    ):
        if value not in known:
            raise InputError(f"{name}={value!r}: accepted are {', '.join(known)}.")
    for name, value in (("top", top), ("batch", batch)):
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not (whole and value > 0) and (name, value) != ("batch", None):
            raise InputError(f"{name}={value!r}: a whole number from 1 is needed.")
    if top != TOP and output != "top_k":
        raise InputError(f"top={top} is for output='top_k', not for {output!r}.")
