"""What stands beside a block's branch, and how the two join."""

from typing import get_args

from keras import layers

from keras_resnet.architectures.records import Shortcut
from keras_resnet.common.errors import InputError
from keras_resnet.common.numbers import check_choice
from keras_resnet.layers import NHWC, IdentityShortcut
from keras_resnet.style import Style


def project_shortcut(
    x,
    filters: int,
    stride: int = 1,
    *,
    dilation: int = 1,
    first_dilation: int | None = None,
    kind: str = "B",
    kernel: int = 1,
    always: bool = False,
    normalized: bool = True,
    style: Style,
    name: str,
):
    """The shortcut of a block: `x` itself, or `x` in the shape of the branch's end.

    Args:
        x: (batch, height, width, channels).
        filters, stride: channels and stride of the branch.
        dilation: of the block.
        first_dilation: of the stage before; None for `dilation`.
        kind: as `architectures.records.Shortcut` says.
        kernel: side of a "B" projection's kernel where it strides or dilates.
        always: project even where the shape stays.
        normalized: whether normalization follows the projection (not in v2).
        style: of the network.
        name: of the block; layers are named as timm names them.
    """
    check_choice("shortcut", kind, get_args(Shortcut))
    widens = x.shape[-1] != filters
    if kind == "none" or not (widens or stride != 1 or always):
        return x
    if kind == "A" or (kind == "subsample" and not widens):
        if x.shape[-1] > filters:
            raise InputError(
                f"shortcut='A' of {name} cannot reduce {x.shape[-1]} channels to "
                f"{filters}."
            )
        return IdentityShortcut(filters, stride, name=f"{name}-downsample")(x)
    place = 1 if kind == "D" else 0  # in timm's Sequential
    convolution = f"{name}-downsample-{place if normalized else 'conv'}"
    if kind == "D":
        x = _pool(x, stride, dilation, f"{name}-downsample-pool")
        x = style.convolution(x, filters, 1, outer=True, name=convolution)
    else:
        kernel = 1 if stride == 1 and dilation == 1 else kernel
        x = style.convolution(
            x,
            filters,
            kernel,
            stride,
            dilation=(first_dilation or dilation) if kernel > 1 else 1,
            outer=True,
            name=convolution,
        )
    if not normalized:
        return x
    return style.normalization(x, name=f"{name}-downsample-{place + 1}")


def _pool(x, stride, dilation, name):
    """The average pool of ResNet-D (He et al. 2018, fig. 2c), as timm has it."""
    if dilation > 1:  # timm pads by one at the end, and counts the padding
        pad = layers.ZeroPadding2D(
            ((0, 1), (0, 1)), data_format=NHWC, name=f"{name}-padding"
        )
        return layers.AveragePooling2D(2, 1, data_format=NHWC, name=name)(pad(x))
    if stride == 1:
        return x
    return layers.AveragePooling2D(2, stride, "same", data_format=NHWC, name=name)(x)


def join(x, y, kind: str, drop_path: float, *, name: str):
    """The sum of a shortcut and its branch; the branch alone in a plain net.

    With probability `drop_path` an image's branch is left out in training: stochastic
    depth (Huang et al. 2016, arXiv:1603.09382), scaled so that inference needs no
    change: a stock dropout whose noise is shared by all positions.
    """
    if drop_path:
        noise = (None, 1, 1, 1)
        y = layers.Dropout(drop_path, noise, name=f"{name}-drop-path")(y)
    return y if kind == "none" else layers.Add(name=f"{name}-add")([x, y])
