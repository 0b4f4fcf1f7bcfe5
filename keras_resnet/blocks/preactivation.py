"""Basic and bottleneck blocks in full pre-activation order (v2)."""

from keras_resnet.blocks.branch import basic, bottleneck, stride_of
from keras_resnet.blocks.shortcut import drop_path as drop
from keras_resnet.blocks.shortcut import join
from keras_resnet.blocks.shortcut import shortcut as beside
from keras_resnet.style import DEFAULT_STYLE


def preactivation_basic_block(
    x,
    filters: int,
    stride: int = 1,
    *,
    dilation: int = 1,
    first_dilation: int | None = None,
    first: bool = False,
    **options,
):
    """`basic_block` in full pre-activation order (He et al. 2016, fig. 1b).

    A shortcut that changes the shape starts from the pre-activated input, as in the
    authors' code (KaimingHe/resnet-1k-layers). A normalisation and an activation are
    still to follow the last block of a network.

    Args:
        first: of a network, right behind its first convolution: an identity shortcut
            too starts from the pre-activated input (He et al. 2016, appendix).
        x, filters, stride, dilation, first_dilation: as in `basic_block`.
        **options: `shortcut`, `attention` and so on, as in
            `preactivation_bottleneck_block`.
    """
    branch = basic(filters, stride, dilation, first_dilation)
    return _block(x, branch, dilation, first, **options)


def preactivation_bottleneck_block(
    x,
    filters: int,
    stride: int = 1,
    *,
    stride_conv: int = 2,
    dilation: int = 1,
    first_dilation: int | None = None,
    cardinality: int = 1,
    base_width: int = 64,
    **options,
):
    """`bottleneck_block` in full pre-activation order; see the basic one.

    Args:
        x, filters, stride, stride_conv, dilation, first_dilation, cardinality,
            base_width: as in `bottleneck_block`.
        **options: `shortcut`, `style`, `drop_path`, `zero_init` (of the last
            convolution, as in timm's resnetv2.py) and `name`, as there.
    """
    branch = bottleneck(
        *(filters, stride, dilation, first_dilation),
        stride_conv=stride_conv,
        cardinality=cardinality,
        base_width=base_width,
    )
    return _block(x, branch, dilation, False, **options)


def _block(
    x,
    branch,
    dilation,
    first,
    *,
    shortcut="B",
    style=DEFAULT_STYLE,
    drop_path=0.0,
    zero_init=False,
    name,
):
    y = x
    for i, unit in enumerate(branch, start=1):
        names = {"norm": f"{name}-norm{i}", "activation": f"{name}-relu{i}"}
        y = style.norm_activation(y, **names)
        if i == 1:
            preactivated = y
        last = i == len(branch)
        y = style.convolution(
            *(y, unit.filters, unit.kernel, unit.stride),
            dilation=unit.dilation,
            groups=unit.groups,
            outer=last,
            zero=last and zero_init,
            name=f"{name}-conv{i}",
        )
    y = drop(y, drop_path, name=name)
    filters, stride = branch[-1].filters, stride_of(branch)
    widens = x.shape[-1] != filters
    # a pure subsampling keeps the raw input (keras.applications' resnet.py)
    changes = widens or (stride != 1 and shortcut != "subsample")
    x = beside(
        *(preactivated if changes or first else x, filters, stride),
        dilation=dilation,
        kind=shortcut,
        normalized=False,
        style=style,
        name=name,
    )
    return join(x, y, shortcut, name=name)
