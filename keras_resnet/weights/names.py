"""Other libraries' names of layers, in the scheme of this package. Standard library.

The scheme is timm's, which is torchvision's where both have the network. A layer that
has no place in it keeps its name, and the matching reports it.
"""

import re

# torch's DataParallel and torch.compile put these before every name.
_WRAPPERS = re.compile(r"(?:module\.|_orig_mod\.)*")
# torchvision's published DenseNets keep the names of PyTorch before 0.4.
_DENSE_LAYER = re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.(?=[12]$)")
# transformers' modeling_resnet.py
_TRANSFORMERS_BLOCK = re.compile(
    r"encoder\.stages\.(\d+)\.layers\.(\d+)\."
    r"(?:layer\.(\d+)|shortcut)\.(convolution|normalization)"
)
_TRANSFORMERS = {
    "embedder.embedder.convolution": "conv1",
    "embedder.embedder.normalization": "bn1",
    "classifier.1": "fc",
}
# keras.applications' resnet.py (stages from 2, blocks from 1) and keras-hub's
# resnet_backbone.py (both from 0)
_KERAS_BLOCK = re.compile(r"(conv|stack)(\d+)_block(\d+)_(.+)")
_KERAS_FIRST = {"conv": (2, 1), "stack": (0, 0)}
_KERAS_HEADS = ("predictions", "probs")  # the latter in the published files, of 2019
_DEEP_STEM = {  # places in timm's Sequential
    **{f"conv{i + 1}_conv": f"conv1.{3 * i}" for i in range(3)},
    **{f"conv{i + 1}_bn": f"conv1.{3 * i + 1}" for i in range(2)},
    "conv3_bn": "bn1",
}


def from_torch(name: str) -> str:
    """`module.layer1.0.conv1` -> `layer1.0.conv1`; DenseNet's `norm.1` -> `norm1`."""
    return _DENSE_LAYER.sub(r"\1", _WRAPPERS.sub("", name, count=1))


def is_transformers(names) -> bool:
    """Whether names of layers are of Hugging Face transformers' ResNet."""
    return any("embedder.embedder." in name for name in names)


def from_transformers(name: str) -> str:
    """`encoder.stages.0.layers.1.layer.2.convolution` -> `layer1.1.conv3`."""
    name = name.removeprefix("resnet.")
    if not (match := _TRANSFORMERS_BLOCK.fullmatch(name)):
        return _TRANSFORMERS.get(name, name)
    stage, block, place, kind = match.groups()
    prefix = f"layer{int(stage) + 1}.{block}"
    if place is None:
        return f"{prefix}.downsample.{int(kind == 'normalization')}"
    return f"{prefix}.{'conv' if kind == 'convolution' else 'bn'}{int(place) + 1}"


def from_keras(name: str, layers: set[str]) -> str:
    """`conv2_block1_0_bn` or `stack0_block0_0_bn` -> `layer1.0.downsample.1`.

    Args:
        name: of a layer of keras.applications' or keras-hub's networks.
        layers: all names in the file, which tell v2 and the vd form.
    """
    preactivation, deep = "post_bn" in layers, "conv3_conv" in layers
    if match := _KERAS_BLOCK.fullmatch(name):
        scheme, stage, block, part = match.groups()
        first_stage, first_block = _KERAS_FIRST[scheme]
        place = int(stage) - first_stage, int(block) - first_block
        return _keras_block(*place, part, preactivation, deep)
    if name in _KERAS_HEADS:
        return "head.fc" if preactivation else "fc"
    if deep:
        return _DEEP_STEM.get(name, name)
    if preactivation:
        return {"conv1_conv": "stem.conv", "post_bn": "norm"}.get(name, name)
    return {"conv1_conv": "conv1", "conv1_bn": "bn1"}.get(name, name)


def _keras_block(stage: int, block: int, part: str, preactivation, deep) -> str:
    """A layer of a block; stage and block from 0, part such as `1_conv`."""
    number, _, kind = part.rpartition("_")
    if preactivation:
        # a normalisation stands before the convolution that it is numbered with
        norms = {"preact": 1, "pre_activation": 1, "1": 2, "2": 3}
        layer = "downsample.conv" if number == "0" else f"conv{number}"
        if kind == "bn":
            layer = f"norm{norms.get(number, number)}"
        return f"stages.{stage}.blocks.{block}.{layer}"
    if number == "0":  # behind the pool that the deep form has there
        return f"layer{stage + 1}.{block}.downsample.{(kind == 'bn') + deep}"
    return f"layer{stage + 1}.{block}.{kind}{number}"
