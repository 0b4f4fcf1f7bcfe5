"""A file's weights into a model."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from keras_resnet.errors import InputError
from keras_resnet.saving import load_model
from keras_resnet.weights.matching import assign, named_variables, require_same_graph

if TYPE_CHECKING:
    import keras


def load_weights(model: "keras.Model", path: str | os.PathLike) -> None:
    """Sets a model's weights from a file that was saved from the same architecture.

    A `.keras` file is matched by layer names, whatever the two models are called; a
    model without its classifier takes the rest of a file that has one.

    Args:
        model: from `build`.
        path: a `.keras` or `.weights.h5` file. The latter holds neither names of
            layers nor strides, so another network whose shapes fit is not noticed:
            prefer the former.

    Raises:
        InputError: no such file, another kind of file, or weights that do not fit;
            the model keeps the weights it had.
    """
    path = Path(path)
    if path.suffix == ".keras":
        saved = load_model(path)
        require_same_graph(model, saved, str(path))
        assign(model, named_variables(saved), str(path))
    elif path.name.endswith(".weights.h5"):
        _load_h5(model, path)
    else:
        raise InputError(
            f"weights={str(path)!r}: accepted are None and the path of a .keras or "
            ".weights.h5 file (no pretrained weights are published yet)."
        )


def _load_h5(model: "keras.Model", path: Path) -> None:
    """Keras's own reading, by the order of layers; no stride can be checked."""
    if not path.exists():
        raise InputError(f"{path}: no such file.")
    before = model.get_weights()
    try:
        model.load_weights(path)
    except Exception as error:  # a file can be wrong in any way
        model.set_weights(before)
        raise InputError(f"{path} does not fit {model.name}: {error}") from error
