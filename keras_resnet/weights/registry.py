"""The registry of published weights: a record a tag. Standard library only; no network.

    find("resnet50", "a1_in1k").source  # 'timm/resnet50.a1_in1k'

The records are in registry.csv, which tests/golden/make_registry.py makes from what
timm, torchvision, keras.applications and keras-hub publish. torchvision's own files are
pickles, which are never opened here: its tags stand for timm's safetensors copies of
the same weights, with torchvision's preprocessing and figures.
"""

import contextlib
import csv
import difflib
import fnmatch
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from keras_resnet.architectures import get_architecture
from keras_resnet.common.errors import InputError
from keras_resnet.images.preprocessing import Preprocessing

# Commercial use is allowed, on no other condition than that the authors are named.
FREE_LICENSES = ("apache-2.0", "bsd-3-clause", "mit")


@dataclass(frozen=True)
class PublishedWeights:
    """One published set of weights.

    Attributes:
        tag: its name among the weights of its architecture, such as `a1_in1k`.
        architecture: that it is of.
        publisher: who publishes it: "timm", "torchvision", "keras" (keras.applications)
            or "keras_hub".
        source: the repository on the Hugging Face hub, or, of "keras", the URL.
        license: SPDX identifier in lower case, or "unknown".
        classes: outputs of its classifier; 0 for weights without one.
        preprocessing: that it was trained for, and that `top1` is measured with.
        test_preprocessing: another for which its publisher reports a better figure;
            None if there is none.
        top1: published accuracy on ImageNet's validation set, in percent; None where
            there is no figure.
        top1_size: side of the images that `top1` is measured on, in pixels.
        test_top1: the same with `test_preprocessing`.
        classifier, first_conv: layers of the file whose shapes follow the classes and
            the input channels, in the file's own names; empty for Keras's files.
        md5: published checksum of the file; None for the hub, which tells a SHA-256
            with each download.
    """

    tag: str
    architecture: str
    publisher: str
    source: str
    license: str
    classes: int
    preprocessing: Preprocessing
    test_preprocessing: Preprocessing | None
    top1: float | None
    top1_size: int | None
    test_top1: float | None
    classifier: str
    first_conv: str
    md5: str | None

    @property
    def name(self) -> str:
        """Unique: `resnet50.a1_in1k`."""
        return f"{self.architecture}.{self.tag}"

    @property
    def free(self) -> bool:
        """Whether its license allows commercial use."""
        return self.license in FREE_LICENSES


def list_weights(architecture: str = "*") -> list[str]:
    """Names of published weights, such as `resnet50.a1_in1k`, best first.

        >>> list_weights("resnet50")[:2]
        ['resnet50.fb_swsl_ig1b_ft_in1k', 'resnet50.IMAGENET1K_V2']

    Best is the highest published top-1; weights without a figure come last. Each name
    can be handed to `weights=` of its architecture.

    Args:
        architecture: its name, or a shell pattern.
    """
    names = fnmatch.filter(_rows(), _canonical(architecture))
    return [row["tag"] for name in names for row in _rows()[name]]


def find(architecture: str, tag: str = "imagenet") -> PublishedWeights:
    """The record of a tag.

    Args:
        architecture: name of a network.
        tag: in any of the forms "a1_in1k", "resnet50.a1_in1k", "timm/a1_in1k" and
            "timm/resnet50.a1_in1k"; or "imagenet", which stands for the best free
            weights of the architecture: the highest published `top1` among those with
            ImageNet's 1000 classes whose license is one of `FREE_LICENSES`.

    Raises:
        InputError: no such tag, with those that there are; or "imagenet" where no
            license is free.
    """
    name = _canonical(architecture)
    weights = _records(name)
    if not weights:
        raise InputError(
            f"weights={tag!r}: none are published for {name!r}; accepted are None and "
            "the path of a file."
        )
    wanted = str(tag).lower()
    if wanted == "imagenet":
        return _default(name, weights)
    for weight in weights:
        if wanted in _spellings(weight):
            return weight
    raise InputError(f"weights={tag!r}: {_advice(name, wanted)}")


def _default(name: str, weights: list[PublishedWeights]) -> PublishedWeights:
    for weight in weights:
        if weight.free and weight.classes == 1000:
            return weight
    known = ", ".join(f"{weight.tag!r} ({weight.license})" for weight in weights)
    raise InputError(
        f"weights='imagenet': no weights of {name!r} are known to be free for "
        f"commercial use; ask for {known} by name."
    )


def _spellings(weight: PublishedWeights) -> set[str]:
    """Everything that a record answers to, in lower case."""
    return {
        f"{prefix}{name}".lower()
        for prefix in ("", f"{weight.publisher}/")
        for name in (weight.tag, weight.name)
    }


def _advice(name: str, wanted: str) -> str:
    """Why there is no such tag, and the ones that there are, the closest first."""
    others = [
        other
        for other in _rows()
        if any(wanted in _spellings(weight) for weight in _records(other))
    ]
    tags = sorted(
        (weight.tag for weight in _records(name)),
        key=lambda tag: -difflib.SequenceMatcher(None, tag.lower(), wanted).ratio(),
    )
    known = f"accepted are 'imagenet', {', '.join(map(repr, tags))}, or a file's path."
    if others:
        near = difflib.get_close_matches(name, others, n=3, cutoff=0)
        return f"a tag of {', '.join(near)}, not of {name}; {known}"
    return f"no such tag of {name}; {known}"


def _canonical(architecture: str) -> str:
    """The name in the table of architectures; anything else in lower case."""
    with contextlib.suppress(InputError):
        return get_architecture(architecture).name
    return str(architecture).lower()


@cache
def _rows() -> dict[str, list[dict[str, str]]]:
    """The rows of each architecture, best first."""
    table = {}
    with Path(__file__).with_name("registry.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            table.setdefault(row["tag"].partition(".")[0], []).append(row)
    for rows in table.values():
        rows.sort(key=lambda row: -float(row["top1"] or 0))
    return table


@cache
def _records(architecture: str) -> list[PublishedWeights]:
    """The records of an architecture, best first; made when they are first needed."""
    return [_record(row) for row in _rows().get(architecture, [])]


def _record(row: dict[str, str]) -> PublishedWeights:
    architecture, _, tag = row["tag"].partition(".")
    size, test_size = row["input_size"], row["test_input_size"]
    crop, test_crop = row["crop_pct"], row["test_crop_pct"] or row["crop_pct"]
    images = (row["interpolation"], row["mean"], row["std"], row["channel_order"])
    return PublishedWeights(
        tag=tag,
        architecture=architecture,
        publisher=row["publisher"],
        source=row["hf_hub_id"] or row["url"],
        license=row["license"],
        classes=int(row["num_classes"]),
        preprocessing=_preprocessing(size, crop, images),
        test_preprocessing=(
            _preprocessing(test_size, test_crop, images) if test_size else None
        ),
        top1=_number(row["top1"]),
        top1_size=int(row["top1_img_size"]) if row["top1_img_size"] else None,
        test_top1=_number(row["test_top1"]),
        classifier=row["classifier"],
        first_conv=row["first_conv"],
        md5=row["md5"] or None,
    )


@cache
def _preprocessing(size: str, crop: str, images: tuple[str, ...]) -> Preprocessing:
    """Many rows have the same; `images`: interpolation, mean, std, channel order."""
    interpolation, mean, std, channel_order = images
    return Preprocessing(
        size=(int(size), int(size)),
        crop=float(crop),
        interpolation=interpolation,
        mean=tuple(map(float, mean.split())),
        std=tuple(map(float, std.split())),
        channel_order=channel_order,
    )


def _number(text: str) -> float | None:
    return float(text) if text else None
