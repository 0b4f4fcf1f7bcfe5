"""The networks of the table from torchvision and timm. Needs torch.

Names outside CIFAR are those libraries' own nets; the CIFAR forms, for which they
have none, are composed of their blocks.
"""

import re
from collections import OrderedDict

import torch
from torch import nn

_IMAGENET_DEPTHS = (18, 34, 50, 101, 152, 200)
_CIFAR_BOTTLENECK_DEPTHS = (29, 164, 1001)  # the others have basic blocks

try:
    import torchvision
except RuntimeError:  # its compiled operators do not fit this torch
    # Its Python wants their schemas only; no ResNet calls them.
    _schemas = torch.library.Library("torchvision", "FRAGMENT")
    for _operator in ("nms", "qnms"):
        _schemas.define(
            f"{_operator}(Tensor boxes, Tensor scores, float iou) -> Tensor"
        )
    import torchvision

import timm  # noqa: E402
from timm.layers import BatchNormAct2d, create_conv2d  # noqa: E402
from timm.models import resnetv2  # noqa: E402
from torchvision.models import resnet  # noqa: E402

TORCHVISION = torchvision.__version__.split("+")[0]  # without the build's CUDA


def build(name: str, classes: int) -> nn.Module:
    """The reference network of a name of the table, in evaluation mode.

    One more depth: `resnet29` and `resnet29_v2`, CIFAR forms of bottlenecks.
    """
    depth = int(re.search(r"\d+", name)[0])
    form = _imagenet if depth in _IMAGENET_DEPTHS else _cifar
    return form(name, depth, classes).eval()


def source(name: str) -> str:
    """Where `build(name, ...)` comes from, with versions."""
    tv, tm = f"torchvision {TORCHVISION}", f"timm {timm.__version__}"
    depth = int(re.search(r"\d+", name)[0])
    if depth not in _IMAGENET_DEPTHS:
        return f"composed of {tm if name.endswith('_v2') else tv} blocks"
    if name.endswith("_v2"):
        return f"{tm} ResNetV2"
    where = f"{tm} ResNet" if depth == 200 else f"{tv} ResNet"
    if name.startswith("plain"):
        where += ", shortcuts cut"
    if name.endswith("_v1") and depth >= 50:
        where += ", stride moved to the first 1x1"
    return where


def _imagenet(name, depth, classes):
    if name == "resnet200_v2":  # timm has no entry, only the class
        return resnetv2.ResNetV2(
            [3, 24, 36, 3],
            num_classes=classes,
            conv_layer=create_conv2d,
            norm_layer=BatchNormAct2d,
        )
    if name.endswith("_v2"):
        return timm.create_model(f"resnetv2_{depth}", num_classes=classes)
    if depth == 200:
        net = timm.create_model("resnet200", num_classes=classes)
    else:
        net = getattr(resnet, f"resnet{depth}")(num_classes=classes)
    if name.endswith("_v1"):
        _stride_first(net)
    if name.startswith("plain"):
        for module in net.modules():
            if isinstance(module, resnet.BasicBlock):
                module.downsample = Nothing()
    return net


def _stride_first(net):
    """Moves the stride of every bottleneck from its 3x3 to its first 1x1."""
    for block in net.modules():
        if hasattr(block, "conv3"):
            block.conv1.stride, block.conv2.stride = (
                block.conv2.stride,
                block.conv1.stride,
            )


class Nothing(nn.Module):
    """The shortcut of a plain net: adds zero."""

    def forward(self, x):
        return x.new_zeros(())


class Subsample(nn.Module):
    """Shortcut A (He et al. 2015, section 3.3): keep every other, pad with zeros."""

    def __init__(self, new_channels):
        super().__init__()
        self.new_channels = new_channels

    def forward(self, x):
        x = x[:, :, ::2, ::2]
        return nn.functional.pad(x, (0, 0, 0, 0, 0, self.new_channels))


def _cifar(name, depth, classes):
    bottleneck = depth in _CIFAR_BOTTLENECK_DEPTHS
    blocks = (depth - 2) // (9 if bottleneck else 6)
    if name.startswith("plain"):
        shortcut = "none"
    else:
        shortcut = "B" if bottleneck or name.endswith("_b") else "A"
    preactivation = name.endswith("_v2")
    compose = _preactivated if preactivation else _original
    net = compose(blocks, bottleneck, shortcut, classes)
    if bottleneck:
        _stride_first(net)
    return net


def _original(blocks, bottleneck, shortcut, classes):
    """He et al. 2015, section 4.2."""
    block = resnet.Bottleneck if bottleneck else resnet.BasicBlock
    channels = 16
    layers = OrderedDict(
        conv1=nn.Conv2d(3, 16, 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(16),
        relu=nn.ReLU(),
    )
    for stage, width in enumerate((16, 32, 64), start=1):
        outputs = width * block.expansion
        stack = []
        for i in range(blocks):
            stride = 2 if stage > 1 and i == 0 else 1
            change = _change(channels, outputs, stride, shortcut)
            stack.append(block(channels, width, stride, change))
            channels = outputs
        layers[f"layer{stage}"] = nn.Sequential(*stack)
    return _headed(layers, channels, classes)


def _change(channels, outputs, stride, shortcut):
    if shortcut == "none":
        return Nothing()
    if channels == outputs and stride == 1:
        return None
    if shortcut == "A":
        return Subsample(outputs - channels)
    projection = nn.Conv2d(channels, outputs, 1, stride, bias=False)
    return nn.Sequential(projection, nn.BatchNorm2d(outputs))


def _preactivated(blocks, bottleneck, shortcut, classes):
    """He et al. 2016, appendix; KaimingHe/resnet-1k-layers."""
    block = resnetv2.PreActBottleneck if bottleneck else resnetv2.PreActBasic
    channels = 16
    conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
    stages = []
    for stage, width in enumerate((16, 32, 64)):
        outputs = width * (4 if bottleneck else 1)
        stack = []
        for i in range(blocks):
            first = i == 0 and stage > 0
            one = block(
                channels,
                outputs,
                stride=2 if first else 1,
                bottle_ratio=0.25 if bottleneck else 1.0,
                conv_layer=create_conv2d,
                norm_layer=BatchNormAct2d,
                proj_layer=resnetv2.DownsampleConv if i == 0 and bottleneck else None,
            )
            if not bottleneck and i == 0:  # both paths start behind the activation
                one.downsample = (
                    Subsample(outputs - channels) if first else nn.Identity()
                )
            stack.append(one)
            channels = outputs
        stages.append(nn.Sequential(OrderedDict(blocks=nn.Sequential(*stack))))
    layers = OrderedDict(
        stem=nn.Sequential(OrderedDict(conv=conv)),
        stages=nn.Sequential(*stages),
        norm=BatchNormAct2d(channels),
    )
    return _headed(layers, channels, classes)


def _headed(layers, channels, classes):
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels, classes)
    return nn.Sequential(layers)
