"""The names that Keras's own networks give their layers, in this package's scheme.

Patterns with what stands in their place; `{1}`, `{2}`, ... are the groups, `{1-1}` and
`{1+1}` these as numbers, less or more by one.
"""

import re

APPLICATIONS = {  # keras.applications.resnet
    r"conv1_conv": "conv1",
    r"conv1_bn": "bn1",
    r"conv(\d)_block(\d+)_0_conv": "layer{1-1}.{2-1}.downsample.0",
    r"conv(\d)_block(\d+)_0_bn": "layer{1-1}.{2-1}.downsample.1",
    r"conv(\d)_block(\d+)_(\d)_(conv|bn)": "layer{1-1}.{2-1}.{4}{3}",
    r"predictions": "fc",
}
APPLICATIONS_V2 = {  # keras.applications.resnet_v2
    r"conv1_conv": "stem.conv",
    r"conv(\d)_block(\d+)_preact_bn": "stages.{1-2}.blocks.{2-1}.norm1",
    r"conv(\d)_block(\d+)_0_conv": "stages.{1-2}.blocks.{2-1}.downsample.conv",
    r"conv(\d)_block(\d+)_(\d)_conv": "stages.{1-2}.blocks.{2-1}.conv{3}",
    r"conv(\d)_block(\d+)_(\d)_bn": "stages.{1-2}.blocks.{2-1}.norm{3+1}",
    r"post_bn": "norm",
    r"predictions": "head.fc",
}
HUB_VD = {  # keras_hub.models.ResNetBackbone
    r"conv1_conv": "conv1.0",
    r"conv1_bn": "conv1.1",
    r"conv2_conv": "conv1.3",
    r"conv2_bn": "conv1.4",
    r"conv3_conv": "conv1.6",
    r"conv3_bn": "bn1",
    r"stack(\d)_block(\d+)_0_conv": "layer{1+1}.{2}.downsample.1",
    r"stack(\d)_block(\d+)_0_bn": "layer{1+1}.{2}.downsample.2",
    r"stack(\d)_block(\d+)_(\d)_(conv|bn)": "layer{1+1}.{2}.{4}{3}",
    r"predictions": "fc",
}


def canonical(name: str, patterns: dict[str, str]) -> str:
    """A layer's name in this package's scheme."""
    for pattern, template in patterns.items():
        if match := re.fullmatch(pattern, name):
            return re.sub(
                r"\{(\d)([+-]\d)?\}", lambda place: _filled(match, place), template
            )
    raise KeyError(name)


def _filled(match, place):
    group, shift = place.groups()
    return str(int(match[int(group)]) + int(shift)) if shift else match[int(group)]
