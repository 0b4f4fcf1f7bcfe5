"""Weights and pictures drawn from their own names: both sides make the same ones.

numpy only. `RandomState` is the generator whose stream numpy has frozen (NEP 19).
"""

import zlib

import numpy as np

_RANGES = {  # not the defaults 0 and 1, behind which swapped statistics hide
    "gamma": (0.5, 1.5),
    "beta": (-0.1, 0.1),
    "moving_mean": (-0.1, 0.1),
    "moving_variance": (0.5, 1.5),
    "bias": (-0.1, 0.1),
}


def tensor(name: str, shape: tuple[int, ...], gain: float) -> np.ndarray:
    """The float32 tensor of a name such as `layer1.0.conv1/kernel`, in Keras's layout.

    Args:
        name: ends in the kind of tensor.
        shape: height, width, inputs, outputs of a kernel.
        gain: standard deviation of kernels over that of He's initialisation.
    """
    kind = name.split("/")[-1]
    if kind == "kernel":
        fan_in = int(np.prod(shape[:-1]))
        bound = gain * (3 * 2 / fan_in) ** 0.5  # uniform: variance bound**2 / 3
        low, high = -bound, bound
    else:
        low, high = _RANGES[kind]
    return _draw(name, low, high, shape)


def gain(model: str) -> float:
    """The gain at which a model's logits stay of order 1 at any depth.

    At 1 a plain net neither grows nor fades from layer to layer; a residual net
    would double its variance with every block.
    """
    return 1.0 if model.startswith("plain") else 0.5


def images(size: tuple[int, int]) -> np.ndarray:
    """Two pictures of (height, width), channels last: noise about different colours."""
    name = f"images {size[0]}x{size[1]}"
    colours = _draw(f"{name} colours", -2.0, 2.0, (2, 1, 1, 3))
    return colours + _draw(name, -2.0, 2.0, (2, *size, 3))


def _draw(name, low, high, shape):
    stream = np.random.RandomState(zlib.crc32(name.encode()))
    return stream.uniform(low, high, shape).astype("float32")
