"""Settings that must stand before the first import of Keras, and shared fixtures."""

import os

# A user's environment or keras.json must not choose for the tests.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

from dataclasses import replace

import numpy as np
import pytest

from keras_resnet.architectures import Architecture, get_architecture


def tiny(name: str) -> Architecture:
    """A row of the table at its smallest: one block a stage, a few channels."""
    row = get_architecture(name)
    stages = len(row.depths)
    return replace(
        row,
        name=f"tiny_{name}",
        depths=(1,) * stages,
        widths=(4, 8, 12, 16)[:stages],
        input_size=row.total_stride * 2,
    )


def randomize(model, seed: int = 0) -> None:
    """Draws every weight anew; statistics at 0 and 1 would hide a swap of the two."""
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        if variable.name in ("gamma", "moving_variance"):
            value = generator.uniform(0.5, 1.5, variable.shape)
        else:
            fan = max(1, int(np.prod(variable.shape[:-1])))
            value = generator.normal(0, fan**-0.5, variable.shape)
        variable.assign(value)


@pytest.fixture
def pictures():
    """A batch of random normal pictures: `pictures(height, width, channels)`."""

    def make(*shape: int, batch: int = 2, seed: int = 0) -> np.ndarray:
        generator = np.random.default_rng(seed)
        return generator.normal(size=(batch, *shape)).astype("float32")

    return make
