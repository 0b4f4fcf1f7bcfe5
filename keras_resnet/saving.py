"""`.keras` files with a card: all that the file's user must know beside the weights.

A `.keras` file is a zip archive. Keras reads the members it knows and passes over
ours, `keras_resnet/<name>.json`, so the file stays an ordinary Keras file.
"""

import json
import os
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_resnet.architectures import Architecture
from keras_resnet.errors import InputError
from keras_resnet.files import write_beside
from keras_resnet.preprocessing import Preprocessing

if TYPE_CHECKING:
    import keras

_FOLDER = "keras_resnet"


@dataclass(frozen=True)
class Card:
    """What travels with the weights.

    Attributes:
        architecture: that the model was built from.
        labels: name of each class, in the order of the outputs; empty if unknown.
        preprocessing: from a picture to the model's input; None if unknown.
        training: data set, recipe, epoch and results, as the trainer recorded them.
    """

    architecture: Architecture
    labels: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    training: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict:
        """A dictionary that `Card.from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict) -> "Card":
        """The card that `to_json` wrote."""
        architecture = dict(record["architecture"])
        for key in ("depths", "widths"):
            architecture[key] = tuple(architecture[key])
        recorded = record["preprocessing"]
        return cls(
            Architecture(**architecture),
            tuple(record["labels"]),
            recorded and Preprocessing.from_json(recorded),
            record["training"],
        )


def save_model(
    model: "keras.Model",
    path: str | os.PathLike,
    card: Card | None = None,
    *,
    force: bool = False,
    **members: Any,
) -> None:
    """Saves a model, its optimizer's state and its card as one `.keras` file.

    The file appears whole or not at all.

    Args:
        model: any Keras model.
        path: ending in `.keras`.
        card: what to record beside the weights.
        force: replace an existing file.
        **members: more to record, each anything that JSON can hold; `read_member`
            gives it back.

    Raises:
        InputError: the ending is another, the file exists, or it cannot be written.
    """
    if Path(path).suffix != ".keras":
        raise InputError(f"{path}: a name that ends in .keras is needed.")
    if card is not None:
        members["card"] = card.to_json()
    with write_beside(path, force) as part:
        model.save(part)
        with zipfile.ZipFile(part, "a") as archive:
            for name, content in members.items():
                archive.writestr(f"{_FOLDER}/{name}.json", json.dumps(content))


def load_model(path: str | os.PathLike, *, compile: bool = False) -> "keras.Model":
    """Loads a `.keras` file in safe mode, our layers included.

    Args:
        path: of the file.
        compile: restore the optimizer and the loss too.

    Raises:
        InputError: no such file, not a `.keras` file, truncated, or holding
            something that Keras does not load in safe mode.
    """
    _check(path)
    import keras

    import keras_resnet.layers  # noqa: F401  registers them

    try:
        return keras.models.load_model(path, compile=compile, safe_mode=True)
    except Exception as error:  # a file can be wrong in any way
        reason = str(error).split("\n\n")[0]
        raise InputError(f"{path} cannot be loaded as a model: {reason}") from error


def read_card(path: str | os.PathLike) -> Card | None:
    """The card of a `.keras` file, without loading the model; None if it has none.

    Raises:
        InputError: as `load_model`, or the card is damaged.
    """
    try:
        record = read_member(path, "card")
        return record and Card.from_json(record)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: its card cannot be read ({error!r}).") from error


def read_member(path: str | os.PathLike, name: str) -> Any:
    """What `save_model(..., name=...)` recorded; None if nothing."""
    _check(path)
    with zipfile.ZipFile(path) as archive:
        member = f"{_FOLDER}/{name}.json"
        if member not in archive.namelist():
            return None
        return json.loads(archive.read(member))


def _check(path: str | os.PathLike) -> None:
    """Raises an InputError unless `path` is a whole zip archive with a Keras model."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file.")
    try:
        with zipfile.ZipFile(path) as archive:
            whole = "config.json" in archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(
            f"{path} is not a whole .keras file ({error}): it may be truncated."
        ) from error
    if not whole:
        raise InputError(f"{path} is a zip archive, but not a .keras file.")
