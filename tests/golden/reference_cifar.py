"""The CIFAR forms, composed of torchvision's and timm's blocks. Needs torch."""

import re
from collections import OrderedDict

from timm.layers import BatchNormAct2d, create_conv2d
from timm.models import resnetv2
from torch import nn
from torchvision.models import resnet

NAMES = [
    form.format(depth)
    for depth in (8, 14, 20, 32, 44, 56, 110, 1202)
    for form in ("resnet{}", "resnet{}_b", "resnet{}_v2", "plain{}")
] + ["resnet164", "resnet164_v2", "resnet1001", "resnet1001_v2"]
SHALLOW_BOTTLENECKS = ["resnet29", "resnet29_v2"]  # not in the table
_BOTTLENECK_DEPTHS = (29, 164, 1001)  # the others have basic blocks


def build(name: str, classes: int) -> nn.Module:
    """The CIFAR form of a name such as `resnet20`, `resnet20_b` or `plain20`."""
    depth = int(re.search(r"\d+", name)[0])
    bottleneck = depth in _BOTTLENECK_DEPTHS
    blocks = (depth - 2) // (9 if bottleneck else 6)
    if name.startswith("plain"):
        shortcut = "none"
    else:
        shortcut = "B" if bottleneck or name.endswith("_b") else "A"
    compose = _preactivated if name.endswith("_v2") else _original
    net = compose(blocks, bottleneck, shortcut, classes)
    if bottleneck:
        stride_first(net)
    return net


def stride_first(net: nn.Module) -> None:
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
    head = OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
    fc = nn.Linear(channels, classes)
    if "stem" in layers:  # timm's v2 has `head.fc`
        layers["head"] = nn.Sequential(head | {"fc": fc})
        return nn.Sequential(layers)
    return nn.Sequential(layers | head | {"fc": fc})
