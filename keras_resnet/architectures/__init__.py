"""The table of architectures: what a name stands for. Standard library only.

A row is an `Architecture`: what all networks have, and the records of its stem and its
blocks, which hold what only these read. A variant is derived from another row. The rows
cite `PAPERS`.
"""

import fnmatch
import re

from keras_resnet.architectures import other_families, resnet, resnetv2, timm_resnet
from keras_resnet.architectures.architecture import Architecture as Architecture
from keras_resnet.architectures.resnet import cifar as cifar
from keras_resnet.architectures.resnet import plain
from keras_resnet.common.errors import InputError, closest

_TABLE = {
    row.name: row
    for family in (resnet, timm_resnet, resnetv2, other_families)
    for row in family.rows()
}
_ALIASES = {
    f"resnet{depth}_v2": f"resnetv2_{depth}" for depth in (18, 34, 50, 101, 152)
}


def list_models(pattern: str = "*") -> list[str]:
    """Names in the table that match a shell pattern, smallest depth first.

        >>> list_models("resnet1??d")
        ['resnet101d', 'resnet152d']

    Any further CIFAR depth is to be had as `resnet<6n+2>_cifar` and
    `plain<6n+2>_cifar`, or from `keras_resnet.architectures.cifar`;
    `resnet50_v2` and its like are further names of `resnetv2_50`.
    """
    names = fnmatch.filter(_TABLE, pattern.lower())
    return sorted(names, key=lambda name: (_depth(name), name))


def _depth(name: str) -> int:
    number = re.search(r"\d+", re.sub("res2|v2_", "", name))  # no depths
    return int(number[0]) if number else 0


def get_architecture(name: str) -> Architecture:
    """The architecture of a name.

        >>> architecture = get_architecture("resnet50")
        >>> architecture.depths, architecture.input_size
        ((3, 4, 6, 3), 224)

    Args:
        name: one of `list_models()`, `resnet18_v2` ... `resnet152_v2`, or
            `resnet<6n+2>_cifar` or `plain<6n+2>_cifar` for any n.

    Raises:
        InputError: no such name; the closest ones are offered.
    """
    key = str(name).lower()
    key = _ALIASES.get(key, key)
    if key in _TABLE:
        return _TABLE[key]
    if match := re.fullmatch(r"(resnet|plain)(\d+)_cifar", key):
        row = cifar(int(match[2]))
        return plain(row) if match[1] == "plain" else row
    raise InputError(f"unknown model {name!r}.{_advice(key)}")


def _advice(key: str) -> str:
    """What to write in place of an unknown name."""
    match = re.fullmatch(r"(resnet|plain)(\d+)(_v1|_v2|_b)?", key)
    if not match:
        return closest(key, _TABLE) or " keras_resnet.list_models() names them all."
    family, depth = match[1], int(match[2])
    if depth >= 8 and depth % 6 == 2 and not match[3]:
        return f" The CIFAR form of this depth is '{family}{depth}_cifar'."
    rows = (re.fullmatch(rf"{family}(\d+)(_v1|_v2|_b)?", row) for row in _TABLE)
    depths = sorted({int(row[1]) for row in rows if row})
    return (
        f" No network of the family {family!r} has {depth} layers: listed depths are "
        f"{', '.join(map(str, depths))}; CIFAR forms have 6n+2."
        + closest(key, _TABLE, most=2)
    )


PAPERS = {
    "He2015": '"Deep Residual Learning for Image Recognition", arXiv:1512.03385',
    # and its published code, KaimingHe/resnet-1k-layers
    "He2016": '"Identity Mappings in Deep Residual Networks", arXiv:1603.05027',
    "Zagoruyko2016": '"Wide Residual Networks", arXiv:1605.07146',
    "Huang2016": '"Densely Connected Convolutional Networks", arXiv:1608.06993',
    "Xie2016": '"Aggregated Residual Transformations for Deep Neural Networks", '
    "arXiv:1611.05431",
    "Hu2017": '"Squeeze-and-Excitation Networks", arXiv:1709.01507',
    "Wu2018": '"Group Normalization", arXiv:1803.08494',
    "He2018": '"Bag of Tricks for Image Classification with Convolutional Neural '
    'Networks", arXiv:1812.01187',
    "Li2019": '"Selective Kernel Networks", arXiv:1903.06586',
    "Qiao2019": '"Micro-Batch Training with Batch-Channel Normalization and Weight '
    'Standardization", arXiv:1903.10520',
    "Gao2019": '"Res2Net: A New Multi-scale Backbone Architecture", arXiv:1904.01169',
    "Zhang2019": '"Making Convolutional Networks Shift-Invariant Again", '
    "arXiv:1904.11486",
    "Wang2019": '"ECA-Net: Efficient Channel Attention for Deep Convolutional Neural '
    'Networks", arXiv:1910.03151',
    "Singh2019": '"Filter Response Normalization Layer", arXiv:1911.09737',
    "Kolesnikov2019": '"Big Transfer (BiT): General Visual Representation Learning", '
    "arXiv:1912.11370",
    "Lee2020": '"Compounding the Performance Improvements of Assembled Techniques in '
    'a Convolutional Neural Network", arXiv:2001.06268',
    "Aflalo2020": '"Knapsack Pruning with Inner Distillation", arXiv:2002.08258',
    "Liu2020": '"Evolving Normalization-Activation Layers", arXiv:2004.02967',
    "Zhang2020": '"ResNeSt: Split-Attention Networks", arXiv:2004.08955',
    "Bello2021": '"Revisiting ResNets: Improved Training and Scaling Strategies", '
    "arXiv:2103.07579",
}
