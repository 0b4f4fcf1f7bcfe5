"""The networks of the table from timm and torchvision. Needs torch.

Names are timm's own; the forms that it does not list are made from its and
torchvision's classes and blocks.
"""

import re

import torch
from torch import nn

try:
    import torchvision
except RuntimeError:  # its compiled operators do not fit this torch
    # Its Python wants their schemas only; no network here calls them.
    _schemas = torch.library.Library("torchvision", "FRAGMENT")
    for _operator in ("nms", "qnms"):
        _schemas.define(
            f"{_operator}(Tensor boxes, Tensor scores, float iou) -> Tensor"
        )
    import torchvision

import reference_cifar
import timm
from reference_cifar import Nothing, stride_first
from timm.layers import (
    BatchNormAct2d,
    BlurPool2d,
    EvoNorm2dS0,
    FilterResponseNormTlu2d,
    create_conv2d,
)
from timm.models.resnetv2 import ResNetV2
from torchvision.models.resnet import BasicBlock

RESNETS = timm.list_models(module="resnet")
RESNETS_V2 = timm.list_models(module="resnetv2")
SPLIT_ATTENTION = timm.list_models(module="resnest")
SELECTIVE_KERNELS = timm.list_models(module="sknet")
RES2NETS = timm.list_models(module="res2net")
DENSENETS = ["densenet121", "densenet161", "densenet169", "densenet201"]
TIMM = [
    *RESNETS,
    *RESNETS_V2,
    *DENSENETS,
    *SPLIT_ATTENTION,
    *SELECTIVE_KERNELS,
    *RES2NETS,
]
TORCHVISION = [
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
    *DENSENETS,
]
TORCHVISION_VERSION = torchvision.__version__.split("+")[0]  # without its CUDA's
# not in timm's lists
V1 = [f"resnet{depth}_v1" for depth in (18, 34, 50, 101, 152, 200)]
PLAIN = ["plain18", "plain34"]
DEEPER = ["resnet200_v2"]

_SETTINGS = {  # ours -> timm's
    ("norm", "batch"): {},
    ("norm", "frozen"): {},  # in evaluation the same
    ("norm", "group"): {"norm_layer": "groupnorm"},
    ("norm", "evonorm"): {"norm_layer": EvoNorm2dS0},
    ("norm", "frn"): {"norm_layer": FilterResponseNormTlu2d},
    ("antialias", "blur"): {"aa_layer": BlurPool2d},
    ("antialias", "average"): {"aa_layer": nn.AvgPool2d},
}
_RENAMED = {"activation": "act_layer"}


def build(
    name: str, classes: int, library: str = "timm", settings: dict | None = None
) -> nn.Module:
    """The reference network of a name of the table, in evaluation mode.

    Args:
        name: of the table, or `resnet29` or `resnet29_v2`, CIFAR forms of
            bottlenecks.
        classes: outputs of the classifier.
        library: "timm" or, for the names in `TORCHVISION`, "torchvision".
        settings: fields of our `Architecture` that differ from the row's.
    """
    if library == "torchvision":
        return getattr(torchvision.models, name)(num_classes=classes).eval()
    if name in TIMM:
        options = _timm_options(settings or {})
        return timm.create_model(name, num_classes=classes, **options).eval()
    if name in V1 + PLAIN + DEEPER:
        return _modified(name, classes).eval()
    return reference_cifar.build(name, classes).eval()


def source(name: str, library: str = "timm") -> str:
    """Where `build` has a network from, with versions."""
    tm = f"timm {timm.__version__}"
    tv = f"torchvision {TORCHVISION_VERSION}"
    if library == "torchvision":
        return f"{tv} {name}"
    if name in TIMM:
        return f"{tm} {name}"
    if name in V1:
        return f"{tm} {name.removesuffix('_v1')}, stride in the first convolution"
    if name in PLAIN:
        return f"{tv} {name.replace('plain', 'resnet')}, shortcuts cut"
    if name in DEEPER:
        return f"{tm} ResNetV2"
    return f"composed of {tm if name.endswith('_v2') else tv} blocks"


def _timm_options(settings):
    options = {}
    for field, value in settings.items():
        options |= _SETTINGS.get((field, value), {_RENAMED.get(field, field): value})
    return options


def _modified(name, classes):
    if name in DEEPER:  # timm has the class, and no entry
        return ResNetV2(
            [3, 24, 36, 3],
            num_classes=classes,
            conv_layer=create_conv2d,
            norm_layer=BatchNormAct2d,
        )
    depth = int(re.search(r"\d+", name)[0])
    if name in V1:
        net = timm.create_model(f"resnet{depth}", num_classes=classes)
        stride_first(net)
        return net
    net = getattr(torchvision.models, f"resnet{depth}")(num_classes=classes)
    for module in net.modules():
        if isinstance(module, BasicBlock):
            module.downsample = Nothing()
    return net
