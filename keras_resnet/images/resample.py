"""Resizing and cropping as Pillow and torchvision do it, in Keras operations.

`keras.ops.image.resize` comes within one level of Pillow nearly everywhere, but equals
it on 85% of the pixels only: it does not round between its two passes, and overshoots
are not clipped there. Here both passes are products with small matrices, of which
only the rows inside the crop are made. Shapes may be unknown, as in a `tf.data` map.
"""

from typing import Any

import keras

ops: Any = keras.ops  # whose annotations say None where a tensor is returned
# Half a kernel's width in pixels, as in Pillow's Resample.c.
REACH = {"bilinear": 1, "bicubic": 2}
BITS = 22  # of a weight's fraction in Pillow's Resample.c: PRECISION_BITS


def resize_and_crop(
    images: Any, resized: tuple[int, int], size: tuple[int, int], interpolation: str
) -> Any:
    """Resizes with the aspect kept, and cuts the centre out.

    Only what the crop needs is computed.

    Args:
        images: uint8 (batch, height, width, channels).
        resized: (height, width) that the result covers: one side is met exactly, the
            other is as long or longer, rounded down (torchvision's `Resize` where
            both are the same).
        size: (height, width) of the crop, no larger than `resized`; its place is
            rounded as in torchvision's `CenterCrop`.
        interpolation: "bilinear" or "bicubic" (a = -0.5), anti-aliased.

    Returns:
        float32 (batch, *size, channels), whole numbers of 0..255.
    """
    height, width = ops.shape(images)[1:3]
    rows = _larger(resized[0], height * resized[1] // width)
    columns = _larger(resized[1], width * resized[0] // height)
    top, vertical = _weights(height, rows, size[0], interpolation)
    left, horizontal = _weights(width, columns, size[1], interpolation)
    below, right = top + ops.shape(vertical)[1], left + ops.shape(horizontal)[1]
    images = ops.cast(images[:, top:below, left:right], "float32")
    images = _round(ops.einsum("pw,nhwc->nhpc", horizontal, images))
    return _round(ops.einsum("qh,nhpc->nqpc", vertical, images))


def _weights(length, resized, size: int, interpolation: str):
    """How the pixels of one axis mix into those of the crop.

    The distance of input pixel x from output pixel i is ((2x + 1) resized -
    (2i + 1) length) / (2 resized) in input pixels, or with `length` as the divisor in
    output pixels. Its numerator is a whole number and so exact.

    Args:
        length: of the input, a number or a scalar tensor.
        resized: of the output, likewise.
        size: of the crop.

    Returns:
        First input pixel that is used; float32 (size, used pixels).
    """
    reach = REACH[interpolation]
    used = (size + 2 * reach + 2) * length // resized + 2 * reach + 2
    used = _smaller(length, used)
    start = (length - used) // 2
    first = _half(resized - size)
    offset = (2 * start + 1) * resized - (2 * first + 1) * length
    inputs = 2 * resized * ops.arange(used, dtype="int32")
    outputs = 2 * length * ops.arange(size, dtype="int32")[:, None]
    distance = ops.cast(ops.abs(inputs - outputs + offset), "float32")
    # Anti-aliasing: where the image shrinks, the kernel grows as much.
    distance = distance / ops.cast(2 * _larger(length, resized), "float32")
    weights = _kernel(distance, interpolation)
    weights = weights / ops.sum(weights, axis=1, keepdims=True)
    return start, ops.round(weights * 2**BITS) / 2**BITS


def _kernel(t, interpolation: str):
    """The kernel at the distance `t`, as in Pillow's Resample.c."""
    if interpolation == "bilinear":
        return ops.maximum(1 - t, 0.0)
    # Keys 1981, "Cubic Convolution Interpolation", eq. 4, a = -0.5
    near = (1.5 * t - 2.5) * t * t + 1
    far = ((-0.5 * t + 2.5) * t - 4) * t + 2
    return ops.where(t < 1, near, ops.where(t < 2, far, 0.0))


def _round(levels):
    """To whole numbers of 0..255, halves upwards, as Pillow after each pass."""
    return ops.clip(ops.floor(levels + 0.5), 0, 255)


# Of numbers and of scalar tensors alike; numbers stay numbers, which JAX needs.


def _larger(a, b):
    return (a + b + abs(a - b)) // 2


def _smaller(a, b):
    return (a + b - abs(a - b)) // 2


def _half(number):
    """A half, rounded as Python's `round` does it: x.5 to the even neighbour."""
    return number // 2 + number % 2 * (number // 2 % 2)
