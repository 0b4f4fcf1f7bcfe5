"""Weights and images drawn from their own names: both sides make the same ones.

numpy only. `RandomState` is the generator whose stream numpy has frozen (NEP 19).
"""

import re
import zlib

import numpy as np

_RANGES = {  # not the defaults 0 and 1, behind which swapped statistics hide
    "gamma": (0.5, 1.5),
    "beta": (-0.1, 0.1),
    "moving_mean": (-0.1, 0.1),
    "moving_variance": (0.5, 1.5),
    "bias": (-0.1, 0.1),
    "v": (0.5, 1.5),  # of EvoNorm
    "tau": (-0.5, 0.5),  # of filter response normalisation
}

_BRANCH = re.compile(r"(layer|stages|features\.denseblock)(?!.*downsample)")


def tensor(name: str, shape: tuple[int, ...], gain: float) -> np.ndarray:
    """The float32 tensor of a name such as `layer1.0.conv1/kernel`, in Keras's layout.

    Args:
        name: ends in the kind of tensor.
        shape: height, width, inputs, outputs of a kernel.
        gain: of kernels in residual branches: their standard deviation over that
            of He's initialisation, which stem, shortcuts and head have. Standardised
            kernels ignore it, so it acts on the gamma before a v2 branch's last
            convolution, too.
    """
    kind = name.split("/")[-1]
    scale = gain if _BRANCH.match(name) else 1.0
    if name.endswith("norm3/gamma"):
        low, high = 0.5 * scale, 1.5 * scale
    elif kind == "kernel":
        fan_in = int(np.prod(shape[:-1]))
        bound = scale * (3 * 2 / fan_in) ** 0.5  # uniform: variance bound**2 / 3
        low, high = -bound, bound
    else:
        low, high = _RANGES[kind]
    return _draw(name, low, high, shape)


def gain(model: str) -> float:
    """The gain at which a model's answers depend on the image and stay moderate.

    At about 1 a plain net neither grows nor fades from layer to layer; a residual net
    would double its variance with every block, and at full gain standardised kernels
    magnify rounding with every block.
    """
    if model.startswith("plain"):
        return 0.96
    return 0.25 if re.search(r"1001|1202|_bit$", model) else 0.5


def training_factor(model: str, name: str) -> float:
    """What a training test multiplies a tensor by at its start.

    The last gamma of each branch is small, since the gradients of a deep random net
    explode otherwise (networks start it at 0: Goyal et al. 2017, section 5.1).
    """
    last = {"resnet18": "bn2", "resnet50": "bn3"}[model]
    return 0.1 if re.fullmatch(rf"layer.*\.{last}/gamma", name) else 1.0


def images(size: tuple[int, int], number: int = 2) -> np.ndarray:
    """Images of (height, width), channels last: noise about different colours."""
    name = f"images {size[0]}x{size[1]}"
    colours = _draw(f"{name} colours", -2.0, 2.0, (number, 1, 1, 3))
    return colours + _draw(name, -2.0, 2.0, (number, *size, 3))


def labels(number: int, classes: int) -> np.ndarray:
    """(number,) classes as integers."""
    return _stream("labels").randint(0, classes, number)


def positions(name: str, number: int, size: int) -> np.ndarray:
    """(number,) indices below `size`, to look at a large array by."""
    return _stream(f"{name} positions").randint(0, size, number)


def _draw(name, low, high, shape):
    return _stream(name).uniform(low, high, shape).astype("float32")


def _stream(name):
    return np.random.RandomState(zlib.crc32(name.encode()))
