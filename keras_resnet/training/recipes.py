"""Recipes: how to train, as data. No Keras here, so that `--help` is quick.

    recipe = get_recipe("cifar", batch_size=256)

The peak learning rate follows the batch size by the linear scaling rule (Goyal2017,
section 2.1). Each value in the tables stands beside its source:

He2015: "Deep Residual Learning for Image Recognition", arXiv:1512.03385.
Goyal2017: "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour",
    arXiv:1706.02677.
He2018: "Bag of Tricks for Image Classification with Convolutional Neural Networks",
    arXiv:1812.01187.
fb.resnet.torch: github.com/facebookarchive/fb.resnet.torch, which Goyal2017 follows.
"""

import re
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from keras_resnet.architectures import get_architecture
from keras_resnet.architectures.records import CifarStem
from keras_resnet.common.errors import InputError
from keras_resnet.common.numbers import check_choice, check_number, check_whole

Schedule = Literal["cosine", "step"]
AugmentationName = Literal["none", "pad-crop-flip", "random-resized-crop"]
SCHEDULES: tuple[str, ...] = get_args(Schedule)
AUGMENTATIONS: tuple[str, ...] = get_args(AugmentationName)


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
    schedule: Schedule
    warmup: float
    drops: tuple[float, ...]
    drop_factor: float
    label_smoothing: float
    augmentation: AugmentationName
    padding: int
    flip: bool
    image_size: int | None = None
    seed: int = 0

    def __post_init__(self):
        check_whole("epochs", self.epochs)
        check_whole("batch_size", self.batch_size)
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("weight_decay", self.weight_decay, minimum=0)
        for key in ("momentum", "warmup", "label_smoothing"):
            check_number(key, getattr(self, key), minimum=0, below=1)
        for key in ("nesterov", "decoupled", "decay_norms", "flip"):
            check_choice(key, getattr(self, key), (True, False))
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("augmentation", self.augmentation, AUGMENTATIONS)
        for drop in self.drops:
            check_number("drops", drop, above=0, below=1)
        if list(self.drops) != sorted(set(self.drops)):
            raise InputError(f"drops={self.drops}: rising shares are needed.")
        check_number("drop_factor", self.drop_factor, above=0, maximum=1)
        check_whole("padding", self.padding, minimum=0)
        if self.image_size is not None:
            check_whole("image_size", self.image_size)
        check_whole("seed", self.seed, minimum=0, maximum=2**32 - 1)

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
            values: dict[str, Any] = record | {"drops": tuple(record["drops"])}
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise InputError(
                f"recorded recipe: it cannot be read ({error})."
            ) from error


# name -> field -> (value, its source). A recipe that derives from another one lists
# what differs.
CIFAR: dict[str, tuple[Any, str]] = {
    # 64,000 steps of 128 of CIFAR-10's 50,000 images are 164 epochs; the paper drops
    # the learning rate after 32,000 and 48,000 of them.
    "epochs": (164, "He2015, section 4.2"),
    "batch_size": (128, "He2015, section 4.2"),
    "learning_rate": (0.1, "He2015, section 4.2"),
    "momentum": (0.9, "He2015, section 4.2"),
    "nesterov": (False, "Goyal2017, section 5.1, of He2015"),
    "weight_decay": (1e-4, "He2015, section 4.2"),
    "decoupled": (False, "fb.resnet.torch, train.lua"),
    # The paper does not say. By fb.resnet.torch and by Goyal2017, section 5.1, its
    # norms did not decay.
    "decay_norms": (True, "fb.resnet.torch, README"),
    "schedule": ("step", "He2015, section 4.2"),
    # The paper warms up ResNet-110 alone, for about 400 of 64,000 steps and with a
    # constant 0.01. Here each network is, and linearly.
    "warmup": (400 / 64_000, "the length: He2015, section 4.2"),
    "drops": ((0.5, 0.75), "He2015, section 4.2"),
    "drop_factor": (0.1, "He2015, section 4.2"),
    "label_smoothing": (0.0, "none in He2015"),
    "augmentation": ("pad-crop-flip", "He2015, section 4.2"),
    "padding": (4, "He2015, section 4.2"),
    "flip": (True, "He2015, section 4.2"),
}
IMAGENET: dict[str, tuple[Any, str]] = CIFAR | {
    "epochs": (90, "Goyal2017, section 5.1"),
    "batch_size": (256, "Goyal2017, section 5.1"),
    "learning_rate": (0.1, "Goyal2017, section 5.1"),
    "momentum": (0.9, "Goyal2017, section 5.1"),
    # The paper itself uses Nesterov momentum, and finds it equally effective.
    "nesterov": (False, "torchvision's references/classification/train.py"),
    "weight_decay": (1e-4, "Goyal2017, section 5.1"),
    "decoupled": (False, "Goyal2017, section 3"),
    "decay_norms": (False, "Goyal2017, section 5.1; of biases, He2018, section 3.1"),
    "schedule": ("step", "Goyal2017, section 5.1"),
    "warmup": (5 / 90, "Goyal2017, section 2.2; from zero: He2018, section 3.1"),
    "drops": ((30 / 90, 60 / 90, 80 / 90), "Goyal2017, section 5.1"),
    "drop_factor": (0.1, "Goyal2017, section 5.1"),
    "label_smoothing": (0.0, "none in Goyal2017"),
    "augmentation": ("random-resized-crop", "Goyal2017, section 5.1"),
    "padding": (0, "none in Goyal2017"),
    "flip": (True, "Goyal2017, section 5.1"),
}
# A few thousand photos of the user's own, from random weights.
PHOTOS: dict[str, tuple[Any, str]] = IMAGENET | {
    "batch_size": (32, "chosen here"),
    "learning_rate": (0.1 * 32 / 256, "Goyal2017, section 2.1"),
    "schedule": ("cosine", "He2018, section 5.1"),
    "drops": ((), "He2018, section 5.1"),
    "label_smoothing": (0.1, "He2018, section 5.2"),
}
# The 8x8 digits in less than a minute on two cores. ResNet-20 ends at 99.15, 98.87 and
# 99.44% with the seeds 0, 1 and 2. Digits are not mirrored, and are shifted by one
# pixel at most.
DIGITS: dict[str, tuple[Any, str]] = CIFAR | {
    "epochs": (30, "measured here"),
    "batch_size": (64, "measured here"),
    "learning_rate": (0.05, "Goyal2017, section 2.1"),
    "schedule": ("cosine", "measured here"),
    "warmup": (0.05, "measured here"),
    "drops": ((), "measured here"),
    "padding": (1, "measured here"),
    "flip": (False, "measured here"),
}
RECIPES = {"cifar": CIFAR, "imagenet": IMAGENET, "photos": PHOTOS, "digits": DIGITS}


def get_recipe(name: str, batch_size: int | None = None) -> Recipe:
    """A recipe by its name; `dataclasses.replace` changes its other values.

    Args:
        name: a key of RECIPES.
        batch_size: images a step; the learning rate follows it by the linear scaling
            rule. None: the recipe's.

    Raises:
        InputError: no such recipe, or a batch size below 1.
    """
    check_choice("recipe", name, RECIPES)
    values: dict[str, Any] = {key: pair[0] for key, pair in RECIPES[name].items()}
    recipe = Recipe(**values)
    if batch_size is None:
        return recipe
    rate = recipe.learning_rate * batch_size / recipe.batch_size
    return replace(recipe, batch_size=batch_size, learning_rate=rate)


def default_recipe(model: str, data: str) -> str:
    """The name of the recipe for a model and a data set.

    Raises:
        InputError: unknown model.
    """
    small = isinstance(get_architecture(model).stem, CifarStem)
    if re.split("[:/]", data.lower())[0] == "digits":
        return "digits"
    if data.startswith("folder:"):
        return "photos"
    return "cifar" if small else "imagenet"
