"""Data and architecture to a fitted model: `python -m keras_resnet.training`.

    from keras_resnet.training import get_recipe, train

    train("resnet20", "digits", get_recipe("digits"), "runs/resnet20-digits")

TensorFlow is imported when `train` is first used.
"""

from typing import TYPE_CHECKING

from keras_resnet.training.recipes import Recipe as Recipe
from keras_resnet.training.recipes import get_recipe as get_recipe

if TYPE_CHECKING:
    from keras_resnet.training.fit import train as train
else:

    def __getattr__(name: str):
        if name == "train":
            from keras_resnet.training.fit import train

            return train
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
