"""Recipes: how to train, as data. No Keras here, so that `--help` is quick.

A recipe is a function of the batch size; the peak learning rate follows it by the
linear scaling rule (Goyal2017, section 2.1). Sources, cited by the values:

He2015: "Deep Residual Learning for Image Recognition", arXiv:1512.03385.
Goyal2017: "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour",
    arXiv:1706.02677.
He2018: "Bag of Tricks for Image Classification with Convolutional Neural Networks",
    arXiv:1812.01187.
"""

import re
from dataclasses import asdict, dataclass, replace
from math import inf
from typing import Literal

from keras_resnet.architectures import get_architecture
from keras_resnet.common.errors import InputError

SCHEDULES = ("cosine", "step")
AUGMENTATIONS = ("none", "pad-crop-flip", "random-resized-crop")


@dataclass(frozen=True)
class Recipe:
    """How to train: SGD with momentum over one schedule.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: the peak, reached after the warm-up.
        momentum: of SGD, in [0, 1).
        nesterov: whether to use Nesterov momentum.
        weight_decay: strength; see decoupled.
        decoupled: False adds weight_decay * w to the gradient (L2, as the papers and
            torch.optim.SGD do); True takes learning_rate * weight_decay * w from
            the weight itself (Keras's weight_decay).
        decay_norms: whether weight decay also acts on biases and on the scales and
            offsets of normalisations.
        schedule: cosine to zero, or step at the drops.
        warmup: share of the run, in [0, 1), in which the learning rate rises
            linearly from zero.
        drops: of the step schedule: shares of the run, each in (0, 1), after which
            the learning rate is multiplied by drop_factor.
        drop_factor: in (0, 1].
        label_smoothing: in [0, 1): the share of the target spread over all classes.
        augmentation: of the training images.
        padding: of pad-crop-flip, in pixels at each side.
        flip: whether half of the training images are mirrored left to right.
        image_size: side of the network's input, in pixels; None takes the data's.
        seed: of weights, order and augmentation.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    nesterov: bool
    weight_decay: float
    decoupled: bool
    decay_norms: bool
    schedule: Literal[SCHEDULES]
    warmup: float
    drops: tuple[float, ...]
    drop_factor: float
    label_smoothing: float
    augmentation: Literal[AUGMENTATIONS]
    padding: int
    flip: bool
    image_size: int | None = None
    seed: int = 0

    def __post_init__(self):
        for key in ("epochs", "batch_size"):
            value = getattr(self, key)
            whole = isinstance(value, int) and value >= 1
            self._require(key, "1 or more, a whole number", whole)
        for key, choices in (("schedule", SCHEDULES), ("augmentation", AUGMENTATIONS)):
            accepted = f"one of {', '.join(choices)}"
            self._require(key, accepted, getattr(self, key) in choices)
        self._require(
            "learning_rate", "more than 0, and finite", 0 < self.learning_rate < inf
        )
        for key in ("weight_decay", "padding"):
            self._require(key, "0 or more, and finite", 0 <= getattr(self, key) < inf)
        self._require("seed", "from 0 to 2**32 - 1", 0 <= self.seed < 2**32)
        for key in ("momentum", "warmup", "label_smoothing"):
            self._require(key, "0 or more and below 1", 0 <= getattr(self, key) < 1)
        self._require("drop_factor", "in (0, 1]", 0 < self.drop_factor <= 1)
        rising = list(self.drops) == sorted(set(self.drops))
        inside = all(0 < drop < 1 for drop in self.drops)
        self._require("drops", "rising shares between 0 and 1", rising and inside)
        if self.image_size is not None:
            self._require("image_size", "1 or more", self.image_size >= 1)

    def _require(self, key: str, wanted: str, fulfilled: bool) -> None:
        if not fulfilled:
            raise InputError(f"{key}={getattr(self, key)}: must be {wanted}.")

    def to_json(self) -> dict:
        """A dictionary that `Recipe.from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict) -> "Recipe":
        """The recipe that `to_json` wrote.

        Raises:
            InputError: something else wrote it.
        """
        try:
            return cls(**record | {"drops": tuple(record["drops"])})
        except (KeyError, TypeError) as error:
            raise InputError(
                f"recorded recipe: it cannot be read ({error})."
            ) from error


def cifar(batch_size: int = 128) -> Recipe:
    """Small images on CIFAR nets: He2015, section 4.2.

    64,000 steps of 128 of CIFAR-10's 50,000 images are 164 epochs; the paper drops
    the learning rate after 32,000 and 48,000 of them.
    """
    return Recipe(
        epochs=164,
        batch_size=batch_size,
        learning_rate=0.1 * batch_size / 128,
        momentum=0.9,
        nesterov=False,
        weight_decay=1e-4,
        decoupled=False,
        decay_norms=True,
        schedule="step",
        # The paper warms up ResNet-110 alone, for about 400 of 64,000 steps; shallow
        # nets lose nothing by it.
        warmup=400 / 64_000,
        drops=(0.5, 0.75),
        drop_factor=0.1,
        label_smoothing=0.0,
        augmentation="pad-crop-flip",
        padding=4,
        flip=True,
    )


def imagenet(batch_size: int = 256) -> Recipe:
    """Large images, many of them: Goyal2017, sections 2.2 and 5.1."""
    return Recipe(
        epochs=90,
        batch_size=batch_size,
        learning_rate=0.1 * batch_size / 256,
        momentum=0.9,
        nesterov=False,  # as torchvision's references/classification/train.py
        weight_decay=1e-4,
        decoupled=False,
        decay_norms=False,  # Goyal2017, section 5.1
        schedule="step",
        warmup=5 / 90,
        drops=(30 / 90, 60 / 90, 80 / 90),
        drop_factor=0.1,
        label_smoothing=0.0,
        augmentation="random-resized-crop",
        padding=0,
        flip=True,
    )


def photos(batch_size: int = 32) -> Recipe:
    """A few thousand photos of one's own, from random weights.

    Cosine and label smoothing are He2018's, sections 5.1 and 5.2; the rest is
    `imagenet`'s.
    """
    return replace(
        imagenet(batch_size), schedule="cosine", drops=(), label_smoothing=0.1
    )


def digits(batch_size: int = 64) -> Recipe:
    """The 8x8 digits in less than a minute on two cores: chosen by measurement here.

    ResNet-20 ends at 99.15, 98.87 and 99.44% with the seeds 0, 1 and 2. Digits are
    not mirrored, and are shifted by one pixel at most.
    """
    return replace(
        cifar(batch_size),
        epochs=30,
        schedule="cosine",
        warmup=0.05,
        drops=(),
        padding=1,
        flip=False,
    )


RECIPES = {recipe.__name__: recipe for recipe in (cifar, imagenet, photos, digits)}


def default_recipe(model: str, data: str) -> str:
    """The name of the recipe for a model and a data set.

    Raises:
        InputError: unknown model.
    """
    small = get_architecture(model).stem == "cifar"
    if re.split("[:/]", data.lower())[0] == "digits":
        return "digits"
    if data.startswith("folder:"):
        return "photos"
    return "cifar" if small else "imagenet"
