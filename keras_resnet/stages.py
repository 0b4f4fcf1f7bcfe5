"""Stem and stages: which block stands where, with what stride and options."""

from collections.abc import Iterator
from dataclasses import dataclass

from keras_resnet import blocks
from keras_resnet.architectures import Architecture
from keras_resnet.stem import stem
from keras_resnet.style import Style


@dataclass(frozen=True)
class Place:
    """Where a block stands.

    Attributes:
        stage, index: counted from 0.
        stride: of the block.
        dilation: of the block.
        first_dilation: of the block before, which the block's first 3x3 keeps, as in
            timm.
        drop_path: probability of leaving out the block's branch in training.
    """

    stage: int
    index: int
    stride: int
    dilation: int
    first_dilation: int
    drop_path: float


def places(net: Architecture) -> Iterator[Place]:
    """Every block of a network, first to last."""
    limit = net.output_stride or net.total_stride
    reached = net.total_stride // 2 ** (len(net.depths) - 1)  # behind the stem
    dilation = previous = 1
    total, counted = sum(net.depths), 0
    for stage, depth in enumerate(net.depths):
        stride = _stage_stride(net, stage)
        if reached * stride > limit:
            dilation, stride = dilation * stride, 1
        reached *= stride
        strided = 0 if net.stride_block == "first" else depth - 1
        for index in range(depth):
            yield Place(
                *(stage, index, stride if index == strided else 1),
                *(dilation, previous),
                drop_path=net.drop_path_rate * counted / max(1, total - 1),
            )
            previous = dilation
            counted += 1


def _stage_stride(net: Architecture, stage: int) -> int:
    """2 but for the stage that needs none: the first, or the last (`stride_block`)."""
    exception = 0 if net.stride_block == "first" else len(net.depths) - 1
    return 1 if stage == exception else 2


def features(x, net: Architecture, style: Style, name: str):
    """Images to the last feature map."""
    if "dense" in net.blocks:
        return blocks.dense_features(
            x, net.depths, net.widths, net.growth, style=style, name=name
        )
    return _stages(stem(x, net, style, name), net, style, name)


def _stages(x, net: Architecture, style: Style, name: str):
    """All residual blocks, and in v2 the normalisation and activation behind them."""
    for place in places(net):
        # torchvision's names for the original order, timm's resnetv2 for v2, with
        # dashes: the torch backend takes no dots in names
        stage, index = place.stage, place.index
        prefix = f"stages-{stage}-blocks" if net.preactivation else f"layer{stage + 1}"
        block, options = _BLOCKS[net.blocks[stage], net.preactivation]
        x = block(
            *(x, net.widths[stage], place.stride),
            dilation=place.dilation,
            first_dilation=place.first_dilation,
            shortcut=net.shortcut,
            style=style,
            drop_path=place.drop_path,
            zero_init=net.zero_init_residual,
            name=f"{name}-{prefix}-{index}",
            **options(net, place),
        )
    if net.preactivation:
        x = style.norm_activation(x, norm=f"{name}-norm", activation=f"{name}-relu")
    return x


def _basic(net: Architecture, place: Place) -> dict:
    return {
        "reduce_first": net.reduce_first,
        "antialias": net.antialias,
        "shortcut_kernel": net.shortcut_kernel,
        "project": net.project_first and place.stage == place.index == 0,
        "attention": net.attention,
        "attention_ratio": net.attention_ratio,
        "attention_divisor": net.attention_divisor,
    }


def _bottleneck(net: Architecture, place: Place) -> dict:
    options = _preactivation_bottleneck(net, place) | _basic(net, place)
    if net.branch_widths:
        options["widths"] = net.branch_widths[place.stage][place.index]
        options["outputs"] = net.outputs[place.stage]
    return options


def _preactivation_basic(net: Architecture, place: Place) -> dict:
    # of the ImageNet form's reference, timm, the first identity keeps its raw input
    return {"first": net.stem == "cifar" and place.stage == place.index == 0}


def _preactivation_bottleneck(net: Architecture, place: Place) -> dict:
    return _groups(net) | {"stride_conv": net.stride_conv}


def _groups(net: Architecture) -> dict:
    return {"cardinality": net.cardinality, "base_width": net.base_width}


def _split_attention(net: Architecture, place: Place) -> dict:
    return _groups(net) | {"radix": net.radix, "pool_first": net.pool_first}


def _selective_kernel_basic(net: Architecture, place: Place) -> dict:
    return {
        "ratio": net.attention_ratio,
        "divisor": net.attention_divisor,
        "split_input": net.split_input,
    }


def _selective_kernel_bottleneck(net: Architecture, place: Place) -> dict:
    return _selective_kernel_basic(net, place) | _groups(net)


def _res2net(net: Architecture, place: Place) -> dict:
    return _groups(net) | {"scale": net.scale}


_BLOCKS = {  # kind, pre-activation: its function, and what it alone takes
    ("basic", False): (blocks.basic_block, _basic),
    ("basic", True): (blocks.preactivation_basic_block, _preactivation_basic),
    ("bottleneck", False): (blocks.bottleneck_block, _bottleneck),
    ("bottleneck", True): (
        blocks.preactivation_bottleneck_block,
        _preactivation_bottleneck,
    ),
    ("split_attention", False): (blocks.split_attention_block, _split_attention),
    ("selective_kernel_basic", False): (
        blocks.selective_kernel_basic_block,
        _selective_kernel_basic,
    ),
    ("selective_kernel_bottleneck", False): (
        blocks.selective_kernel_bottleneck_block,
        _selective_kernel_bottleneck,
    ),
    ("res2net", False): (blocks.res2net_block, _res2net),
}


def feature_names(net: Architecture) -> dict[str, str]:
    """C1 (behind the stem's convolutions) and C2, C3 ... (each stage's output).

    Returns:
        Names of layers without the model's name. In v2 the last map is normalised
        and activated, the others are the stages' raw sums.
    """
    if "dense" in net.blocks:
        ends = [
            f"denseblock{i}-denselayer{n}-concat" for i, n in enumerate(net.depths, 1)
        ]
        ends = ["relu0", *ends[:-1], "relu5"]
        return {f"C{i}": f"features-{end}" for i, end in enumerate(ends, 1)}
    names = ["relu"]
    if net.preactivation:
        names = ["stem-conv3" if net.stem == "deep" else "stem-conv"]
    for stage, depth in enumerate(net.depths):
        if net.preactivation:
            last = "add" if net.shortcut != "none" else _last_convolution(net, stage)
            names.append(f"stages-{stage}-blocks-{depth - 1}-{last}")
        else:
            names.append(f"layer{stage + 1}-{depth - 1}-relu")
    if net.preactivation:
        activates = net.norm in ("evonorm", "frn")
        names[-1] = "norm" if activates else "relu"
    return {f"C{i}": name for i, name in enumerate(names, 1)}


def _last_convolution(net: Architecture, stage: int) -> str:
    return "conv2" if net.blocks[stage] == "basic" else "conv3"
