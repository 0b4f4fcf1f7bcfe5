"""The letters and prefixes of timm's names, as what they change in a row.

    RESNET50.derive(name="seresnext50d_32x4d", **D, **SE, groups=32, base_width=4)

He2018, fig. 2, has C and D; the others are timm's.
"""

from keras_resnet.architectures.records import (
    DeepStem,
    EfficientAttention,
    SqueezeExcitation,
)

C = {"stem": DeepStem((32, 32, 64))}  # a deep stem
S = {"stem": DeepStem((64, 64, 128))}
D = C | {"shortcut": "D"}  # a deep stem, and a pool in the shortcut
E = S | {"shortcut": "D"}
T = D | {"stem": DeepStem((24, 32, 64))}
SE = {"attention": SqueezeExcitation()}
ECA = {"attention": EfficientAttention()}
AA = {"antialias": "average"}
BLUR = {"antialias": "blur"}
RS = {  # ResNet-RS (Bello2021)
    "stem": DeepStem((32, 32, 64), pool="convolution"),
    "shortcut": "D",
    "attention": SqueezeExcitation(ratio=1 / 4),
}
