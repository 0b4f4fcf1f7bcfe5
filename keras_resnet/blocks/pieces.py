"""What the blocks in the original order have in common."""

from keras import layers

from keras_resnet.blocks.shortcut import drop_path as drop
from keras_resnet.blocks.shortcut import join
from keras_resnet.blocks.shortcut import shortcut as beside
from keras_resnet.common.errors import InputError
from keras_resnet.style import NHWC, Style


def group_width(filters: int, base_width: int, cardinality: int) -> int:
    """Channels of a 3x3 convolution of `cardinality` groups (Xie et al. 2016, table 1).

    A group has `base_width` channels for 64 filters, rounded down as in timm.

    Raises:
        InputError: a group would have no channels.
    """
    width = filters * base_width // 64
    if width < 1:
        raise InputError(
            f"filters={filters} with base_width={base_width}: no channels would be "
            f"left; filters from {-(-64 // base_width)} are accepted."
        )
    return width * cardinality


def padded_average_pool(x, stride: int, *, name: str):
    """A 3x3 average that counts the zeros around the image, as torch's does."""
    pad = layers.ZeroPadding2D(1, data_format=NHWC, name=f"{name}-padding")
    return layers.AveragePooling2D(3, stride, data_format=NHWC, name=name)(pad(x))


def joined(
    x,
    y,
    stride: int,
    *,
    dilation: int,
    first_dilation: int | None,
    shortcut: str,
    shortcut_kernel: int = 1,
    project: bool = False,
    style: Style,
    drop_path: float,
    name: str,
):
    """Drop path on the branch `y`, the shortcut of `x` added, then the activation."""
    y = drop(y, drop_path, name=name)
    x = beside(
        *(x, y.shape[-1], stride),
        dilation=dilation,
        first_dilation=first_dilation,
        kind=shortcut,
        kernel=shortcut_kernel,
        always=project,
        style=style,
        name=name,
    )
    return style.activate(join(x, y, shortcut, name=name), name=f"{name}-relu")
