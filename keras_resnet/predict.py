"""`python -m keras_resnet.predict`: what is in a photograph, or in a folder of them."""

import csv
import io
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import ClassifierWarning, InputError
from keras_resnet.common.files import refuse_existing, write_beside
from keras_resnet.images.files import find_images, read_image
from keras_resnet.images.preprocessing import Preprocessing, preprocessing_of

if TYPE_CHECKING:
    import keras

HEADER = ("file", "rank", "class", "name", "probability")
_NAMES = "surrogateescape"  # how Python holds names of files that are not UTF-8
Predictions = list[tuple[str, str, float]]


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Names what a classifier sees in photographs.

    Photographs are answered in lines of text. A folder, or --out, makes a CSV table:
    file, rank, class, name, probability. What cannot be read is named and passed over.

    Exit status: 0 something was read; 2 nothing was, or an input cannot be used.
    """

    images: Positional[tuple[Path, ...]]
    """Photographs, or folders of them."""
    weights: str
    """A file, or a tag such as a1_in1k."""
    model: str | None = None
    """Which network the weights are for; a .keras file or `resnet50.a1_in1k` says so
    itself."""
    classes: int | None = None
    """How many there are, if not as many as the network has by default."""
    top: int = 5
    """How many classes to name."""
    out: Path | None = None
    """The CSV file to write; standard output otherwise."""
    batch_size: int = 32
    """Images that go through the network at once."""
    force: bool = False
    """Replace what stands at --out."""

    @property
    def table(self) -> bool:
        """Whether to write CSV rather than lines of text."""
        return bool(self.out) or any(path.is_dir() for path in self.images)


def main(args: list[str] | None = None) -> None:
    flags = parse(Flags, args, prog="python -m keras_resnet.predict")
    if not flags.images or min(flags.top, flags.batch_size) < 1:
        raise InputError(
            f"{len(flags.images)} images, top={flags.top}, batch_size="
            f"{flags.batch_size}: 1 or more of each is needed."
        )
    if flags.out:
        refuse_existing(flags.out, flags.force)
    paths = find_images(flags.images)
    model = _load(flags)
    preprocessing = preprocessing_of(model)
    predictions = _predict(model, preprocessing, paths, flags)
    if flags.out:
        with (
            write_beside(flags.out, flags.force) as part,
            part.open("w", encoding="utf-8", errors=_NAMES) as file,
        ):
            _write_csv(predictions, file)
    elif flags.table:
        _write_csv(predictions, sys.stdout)
    else:
        _print(predictions)


def _load(flags: Flags) -> "keras.Model":
    """The classifier, with its card."""
    if Path(flags.weights).suffix != ".keras":
        return _build(_architecture(flags), flags)
    name = _architecture(flags) if flags.model else None
    from keras_resnet.saving import card_of, load_model

    model = load_model(flags.weights)
    card = card_of(model)
    if name and card and card.architecture.name != name:
        raise InputError(
            f"model={flags.model!r}: {flags.weights} holds {card.architecture.name!r}."
        )
    return model


def _architecture(flags: Flags) -> str:
    """The name of the network: as given, or as a tag or a file's name begins."""
    from keras_resnet.architectures import get_architecture

    if flags.model:
        return get_architecture(flags.model).name
    try:
        return get_architecture(Path(flags.weights).name.partition(".")[0]).name
    except InputError as error:
        raise InputError(
            f"weights={flags.weights!r} name no network: --model is needed, or a "
            ".keras file, or a tag such as resnet50.a1_in1k."
        ) from error


def _build(name: str, flags: Flags) -> "keras.Model":
    from keras_resnet.model import build

    with warnings.catch_warnings():
        warnings.simplefilter("error", ClassifierWarning)
        try:
            return build(name, weights=flags.weights, classes=flags.classes)
        except ClassifierWarning as warning:  # it would name classes at random
            raise InputError(f"classes={flags.classes}: {warning}") from warning


def _predict(
    model: "keras.Model", preprocessing: Preprocessing, paths: list[Path], flags: Flags
) -> Iterator[tuple[Path, Predictions]]:
    """Each readable image with its likeliest classes.

    Unreadable ones and, for a table, the progress are told on standard error.

    Raises:
        InputError: none of the images can be read, or nobody has named the classes.
    """
    from keras_resnet.common.progress import Progress
    from keras_resnet.images.labels import decode_predictions
    from keras_resnet.saving import card_of

    classes, channels = model.output_shape[-1], model.input_shape[-1]
    card = card_of(model)
    labels = card.labels if card else ()
    if not labels and classes != 1000:  # which would be ImageNet's
        labels = tuple(f"class {i}" for i in range(classes))
    read = 0
    with Progress(total=len(paths), unit="image", disable=not flags.table) as bar:
        for start in range(0, len(paths), flags.batch_size):
            batch = paths[start : start + flags.batch_size]
            by_path = _read(batch, channels, bar)
            if by_path:
                images = preprocessing(list(by_path.values()))
                outputs = model.predict_on_batch(images)
                yield from zip(
                    by_path,
                    decode_predictions(outputs, flags.top, labels),
                    strict=True,
                )
            read += len(by_path)
            bar.update(len(batch))
    if not read:
        raise InputError(f"none of the {len(paths)} images can be read.")


def _read(paths: list[Path], channels: int, bar) -> dict:
    """The readable images by their paths; the others are named."""
    by_path = {}
    for path in paths:
        try:
            by_path[path] = read_image(path, channels)
        except InputError as error:
            bar.write(f"passed over: {error}", file=sys.stderr)
    return by_path


def _write_csv(predictions, file) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEADER)
    for path, best in predictions:
        for rank, (number, name, probability) in enumerate(best, start=1):
            writer.writerow([path, rank, number, name, f"{probability:.6f}"])


def _print(predictions) -> None:
    for path, best in predictions:
        print(path)
        for rank, (_, name, probability) in enumerate(best, start=1):
            print(f"{rank:3}  {probability:7.2%}  {name}")


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_NAMES)
    run(main)
