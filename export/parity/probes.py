"""Images that an artifact is proven with: real ones, noise and adversarial ones."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from export.model.signature import Signature

BATCH = 64  # images that go through at once
RANDOM = 4  # images of noise
EXTREME = 2  # images in each set of noise at the ends of the range
ODD = (81, 67)  # tried, too, where the model takes any size
LARGEST = 3.0  # where nothing says how 255 is normalised; ImageNet's white is 2.6
SEED = 0


def probes(
    signature: "Signature", real: Sequence[np.ndarray] | None = None
) -> dict[str, list[np.ndarray]]:
    """Batches of images as the signature's input, by the name of the set.

    Each set has one range, since a set's spread is what its differences are held
    against.

    Args:
        signature: that they shall fit.
        real: uint8 images: (N, height, width, channels), or a list of (height, width,
            channels) of any sizes; or floating-point images as the model takes them;
            None or empty if there are none.

    Returns:
        "real" where there are any; "noise", at each of `sizes`; "zeros", "largest"
        (all 255), and of 8-bit images "dark" and "bright", of others "large" and
        "negative": where nothing clips below zero in front of a pooling layer, padding
        shows on them.
    """
    sets = {}
    if real is not None and len(real):
        sets["real"] = [entering(signature, one) for one in _batches(real)]
    first, *others = sizes(signature)
    sets["noise"] = [_noise(signature, first)]
    for size in others:
        sets[f"noise {size[0]}x{size[1]}"] = [_noise(signature, size)]
    shape = (*first, signature.shape[-1])
    generator = np.random.default_rng(SEED + 1)
    extremes = {"zeros": np.zeros((1, *shape))}
    white = np.full((1, *shape), 255, "uint8")
    if signature.takes_levels:
        extremes["largest"] = white
        extremes["dark"] = generator.integers(0, 32, (EXTREME, *shape))
        extremes["bright"] = generator.integers(224, 256, (EXTREME, *shape))
    else:
        known = signature.scaling_known
        largest = entering(signature, white) if known else white / 255 * LARGEST
        extremes["largest"] = largest
        normal = generator.normal(size=(EXTREME, *shape))
        extremes["large"] = 50 * normal
        extremes["negative"] = -np.abs(normal)
    sets |= {name: [one.astype(signature.dtype)] for name, one in extremes.items()}
    return {name: _fitting(signature, one) for name, one in sets.items()}


def sizes(signature: "Signature") -> list[tuple[int, int]]:
    """Heights and widths to prove at: two where the signature leaves them open."""
    if signature.preprocess == "full":  # one that shrinks and one that grows
        height, width = signature.preprocessing.size
        return [(2 * height + 1, 3 * width // 2 + 2), (height // 2 + 1, width)]
    own = signature.shape[1:3]
    if None not in own:
        return [own]
    return [signature.sides, tuple(a or b for a, b in zip(own, ODD, strict=True))]


def entering(signature: "Signature", images: np.ndarray) -> np.ndarray:
    """Images of 0..255 as the signature's input; as they are if nothing says how, or
    if they are floating-point numbers and so prepared already."""
    levels = images.dtype == np.uint8
    if levels and signature.preprocessing and not signature.takes_levels:
        images = np.asarray(signature.preprocessing.normalize(images))
    return images.astype(signature.dtype)


def _noise(signature: "Signature", size: tuple[int, int]) -> np.ndarray:
    generator = np.random.default_rng(SEED)
    shape = (RANDOM, *size, signature.shape[-1])
    if signature.takes_levels:
        return generator.integers(0, 256, shape).astype(signature.dtype)
    return generator.normal(size=shape).astype(signature.dtype)


def _batches(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    if isinstance(images, np.ndarray):
        return [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
    return [one[None] for one in images]


def _fitting(signature: "Signature", batches: list[np.ndarray]) -> list[np.ndarray]:
    """The batches, or those of the signature's own size, some images twice."""
    size = signature.shape[0]
    if size is None:
        return batches
    parts = [one[i : i + size] for one in batches for i in range(0, len(one), size)]
    return [np.resize(one, (size, *one.shape[1:])) for one in parts]
