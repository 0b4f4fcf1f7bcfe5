"""`.keras` files with a card: all that the file's user must know beside the weights.

A model carries its card as `model.card`, and Keras writes it into every `.keras` file
that is saved from the model, as `assets/card.json`. Keras itself passes over it when it
loads the file, which stays an ordinary Keras file.
"""

import json
import os
import sys
import zipfile
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any

from keras_resnet.architectures import Architecture
from keras_resnet.architectures.fields import refuse_unknown
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import write_beside
from keras_resnet.common.fingerprint import sha256
from keras_resnet.images.preprocessing import Preprocessing

if TYPE_CHECKING:
    import keras

_CARD = "card.json"
MAX_RECURSION = 10_000  # frames; a card from a file may claim any depth
_ASSETS = "assets"  # where Keras puts what a model's `save_assets` writes
_FOLDER = "keras_resnet"
_MOST_BYTES = 2**26  # of a member; a card has thousands, and a bomb can promise any


@dataclass(frozen=True)
class Origin:
    """Where a model's weights are from.

    Attributes:
        source: the file's name, or the repository or URL that publishes it.
        weights: the name of published weights in the registry, such as
            "resnet50.a1_in1k"; None for others.
        recorded_sha256: where it is known already, as from a saved card.
        file: that they were loaded from, whose hash is computed when it is first asked
            for; None for several files, or where the hash is known.
        file_state: size and time of change of `file` when it was loaded.
    """

    source: str | None = None
    weights: str | None = None
    recorded_sha256: str | None = None
    file: Path | None = None
    file_state: tuple[int, int] | None = None

    @classmethod
    def of_file(
        cls, path: Path, source: str | None = None, weights: str | None = None
    ) -> "Origin":
        """Of a file that is about to be loaded, or of a folder, which has no hash."""
        source = source or path.name
        if path.is_dir():
            return cls(source, weights)
        return cls(source, weights, file=path.absolute(), file_state=_state(path))

    @cached_property
    def sha256(self) -> str | None:
        """Of the file; None for a folder, and where it has changed since or is gone."""
        if self.file is None:
            return self.recorded_sha256
        try:
            digest = sha256(self.file)
            return digest if _state(self.file) == self.file_state else None
        except OSError:
            return None

    def to_json(self) -> dict[str, str | None]:
        """A dictionary that `Origin.from_json` reads back."""
        return {"source": self.source, "weights": self.weights, "sha256": self.sha256}

    @classmethod
    def from_json(cls, record: dict) -> "Origin | None":
        """The origin that `to_json` wrote; None of an empty record."""
        known = record.keys() <= {"source", "weights", "sha256"}
        if not known or not all(isinstance(v, str | None) for v in record.values()):
            raise InputError("origin is no record of source, weights and sha256")
        if not record:
            return None
        get = record.get
        return cls(get("source"), get("weights"), get("sha256"))


def _state(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


@dataclass(frozen=True)
class Card:
    """What travels with the weights.

    Attributes:
        architecture: that the model was built from.
        labels: name of each class, in the order of the outputs; empty if unknown.
        preprocessing: from an image to the model's input; None if unknown.
        training: data set, recipe, epoch and results, as the trainer recorded them.
        origin: of weights that `load_weights` set; None of others.
    """

    architecture: Architecture
    labels: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    training: dict[str, Any] = field(default_factory=dict)
    origin: Origin | None = None

    def to_json(self) -> dict:
        """A dictionary that `Card.from_json` reads back."""
        return asdict(replace(self, origin=None)) | {
            "architecture": self.architecture.to_json(),
            "origin": self.origin.to_json() if self.origin else {},
        }

    @classmethod
    def from_json(cls, record: dict) -> "Card":
        """The card that `to_json` wrote.

        Raises:
            InputError: it holds something that this version does not know.
        """
        refuse_unknown(cls, record)
        labels, recorded = record["labels"], record["preprocessing"]
        if not isinstance(labels, list) or not all(isinstance(n, str) for n in labels):
            raise InputError("labels are no list of names")
        return cls(
            Architecture.from_json(record["architecture"]),
            tuple(labels),
            None if recorded is None else Preprocessing.from_json(recorded),
            dict(record["training"]),
            Origin.from_json(record.get("origin", {})),  # which older files lack
        )


def allow_deep_graphs(architecture: Architecture) -> None:
    """Raises Python's recursion limit where a network is deeper than it allows.

    Keras walks a graph by recursion, up to seven frames a block, when it builds, loads
    or copies a model: the 600 blocks of the deepest nets need more than Python's 1,000.
    """
    frames = min(10 * sum(architecture.depths) + 500, MAX_RECURSION)
    sys.setrecursionlimit(max(sys.getrecursionlimit(), frames))


def attach(model: "keras.Model", card: Card) -> None:
    """Sets `model.card`, and has Keras save it with the model, whoever calls `save`.

    Copies that Keras makes of a model (`clone_model`, pickling) have no card.
    """
    model.card = card
    model.save_assets = MethodType(_save_card, model)


def card_of(model: "keras.Model") -> Card | None:
    """The model's card; None if it has none."""
    return getattr(model, "card", None)


def _save_card(model: "keras.Model", folder: str) -> None:
    """Keras calls this when it saves, with the folder of the model's assets."""
    (Path(folder) / _CARD).write_text(json.dumps(model.card.to_json()))


def save_model(
    model: "keras.Model",
    path: str | os.PathLike,
    card: Card | None = None,
    *,
    force: bool = False,
    **members: Any,
) -> None:
    """Saves a model, its optimizer's state and its card as one `.keras` file.

        >>> model = keras_resnet.build("resnet20", classes=2)
        >>> card = dataclasses.replace(model.card, labels=("cat", "dog"))
        >>> keras_resnet.save_model(model, "pets.keras", card)
        >>> keras_resnet.load_model("pets.keras").card.labels
        ('cat', 'dog')

    The file appears whole or not at all.

    Args:
        model: any Keras model.
        path: ending in `.keras`.
        card: attached to the model first; None keeps the one that it has.
        force: replace an existing file.
        **members: more to record, each anything that JSON can hold; `read_member`
            gives it back.

    Raises:
        InputError: the ending is another, the file exists, or it cannot be written.
    """
    if Path(path).suffix != ".keras":
        raise InputError(f"{path}: a name that ends in .keras is needed.")
    if card is not None:
        attach(model, card)
    with write_beside(path, force) as part:
        model.save(part)
        with zipfile.ZipFile(part, "a") as archive:
            for name, content in members.items():
                archive.writestr(f"{_FOLDER}/{name}.json", json.dumps(content))


def load_model(path: str | os.PathLike, *, compile: bool = False) -> "keras.Model":
    """Loads a `.keras` file in safe mode, our layers and its card included.

    Args:
        path: of the file.
        compile: restore the optimizer and the loss too.

    Returns:
        The model; with its card as `model.card` where the file has one.

    Raises:
        InputError: no such file, not a `.keras` file, truncated, its card damaged, or
            holding something that Keras does not load in safe mode.
    """
    card = read_card(path)
    if card is not None:
        allow_deep_graphs(card.architecture)
    import keras

    import keras_resnet.layers  # noqa: F401  registers them
    from keras_resnet.weights.formats.hdf5 import read_hdf5

    read_hdf5(path)  # some damage would crash or hang the library that Keras uses
    try:
        model: Any = keras.models.load_model(path, compile=compile, safe_mode=True)
    except Exception as error:  # a file can be wrong in any way
        reason = str(error).split("\n\n")[0]
        raise InputError(f"{path} cannot be loaded as a model: {reason}") from error
    if card is not None:
        attach(model, card)
    return model


def read_card(path: str | os.PathLike) -> Card | None:
    """The card of a `.keras` file, without loading the model; None if it has none.

    Raises:
        InputError: no such file, not a `.keras` file, or the card is damaged.
    """
    record = _read(path, f"{_ASSETS}/{_CARD}")
    try:
        return None if record is None else Card.from_json(record)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = error if isinstance(error, InputError) else repr(error)
        raise InputError(f"{path}: its card cannot be read ({reason}).") from error


def read_config(path: str | os.PathLike) -> dict:
    """Keras's configuration of the model in a `.keras` file, without making the model.

    Raises:
        InputError: no such file, not a `.keras` file, or the configuration is damaged.
    """
    return _read(path, "config.json")


def read_member(path: str | os.PathLike, name: str) -> Any:
    """What `save_model(..., name=...)` recorded; None if nothing."""
    return _read(path, f"{_FOLDER}/{name}.json")


def _read(path: str | os.PathLike, member: str) -> Any:
    """The JSON of a member of a `.keras` file; None if there is none."""
    if not Path(path).exists():
        raise InputError(f"{path}: no such file.")
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # a file can be wrong in any way
        raise InputError(
            f"{path} is not a whole .keras file ({error}): it may be truncated."
        ) from error
    with archive:
        if "config.json" not in archive.namelist():
            raise InputError(f"{path} is a zip archive, but not a .keras file.")
        if member not in archive.namelist():
            return None
        try:
            if archive.getinfo(member).file_size > _MOST_BYTES:
                raise ValueError(f"more than {_MOST_BYTES} bytes")
            return json.loads(archive.read(member))
        except Exception as error:  # again in any way
            raise InputError(
                f"{path}: its {member} cannot be read ({error})."
            ) from error
