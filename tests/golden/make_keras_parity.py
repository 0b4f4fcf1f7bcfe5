"""Adds the networks of keras.applications and keras-hub to the golden answers.

    python tests/golden/make_keras_parity.py                  # all
    python tests/golden/make_keras_parity.py resnet50_keras   # these models alone

Writes their rows of parity.json, features.json, counts.json and published.json.
Needs keras, a backend, and keras-hub; nothing of this package. Takes some minutes.
"""

import sys
from importlib.metadata import version
from math import prod

import answers
import keras
import keras_hub
import numpy as np
import seeded
from keras_names import APPLICATIONS, APPLICATIONS_V2, HUB_VD, canonical

SIZES = ((64, 65), (97, 64))
COUNTED = (224, 97)
CLASSES = 10
# keras.applications' table of models, keras.io/api/applications
APPLICATIONS_PUBLISHED = {
    "resnet50_keras": "25.6e6",
    "resnet101_keras": "44.7e6",
    "resnet152_keras": "60.4e6",
    "resnet50v2_keras": "25.6e6",
    "resnet101v2_keras": "44.7e6",
    "resnet152v2_keras": "60.4e6",
}
# Blocks a stage: PaddleClas, whose weights keras-hub's presets are (NET_CONFIG in
# ppcls/arch/backbone/legendary_models/resnet.py); `published` has the presets' counts.
VD = {
    18: ("basic_block_vd", [2, 2, 2, 2]),
    34: ("basic_block_vd", [3, 4, 6, 3]),
    50: ("bottleneck_block_vd", [3, 4, 6, 3]),
    101: ("bottleneck_block_vd", [3, 4, 23, 3]),
    152: ("bottleneck_block_vd", [3, 8, 36, 3]),
    200: ("bottleneck_block_vd", [3, 12, 48, 3]),
}
FEATURES = ("resnet50_keras", "resnet50v2_keras", "resnet50_vd")


def build(name: str, size: tuple[int, int], classes: int) -> keras.Model:
    """A network with logits: `resnet50_keras`, `resnet50v2_keras`, `resnet50_vd`..."""
    depth, kind = name.removeprefix("resnet").split("_")
    if kind == "keras":
        network = getattr(keras.applications, f"ResNet{depth.upper()}")
        return network(
            weights=None,
            input_shape=(*size, 3),
            classes=classes,
            classifier_activation=None,
        )
    block, blocks = VD[int(depth)]
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[32, 32, 64],
        input_conv_kernel_sizes=[3, 3, 3],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=blocks,
        stackwise_num_strides=[1, 2, 2, 2],
        block_type=block,
        image_shape=(*size, 3),
    )
    x = keras.layers.GlobalAveragePooling2D()(backbone.output)
    return keras.Model(
        backbone.input, keras.layers.Dense(classes, name="predictions")(x)
    )


def source(name: str) -> str:
    depth, kind = name.removeprefix("resnet").split("_")
    if kind == "keras":
        return f"keras {keras.__version__} applications.ResNet{depth.upper()}"
    return f"keras-hub {version('keras-hub')} ResNetBackbone, vd blocks"


def set_weights(model: keras.Model, name: str) -> None:
    """Draws every weight from its name in this package's scheme."""
    if name.endswith("_vd"):
        patterns = HUB_VD
    else:
        patterns = APPLICATIONS_V2 if "v2" in name else APPLICATIONS
    for layer in model.layers:
        for variable in layer.weights:
            own = f"{canonical(layer.name, patterns)}/{variable.name}"
            shape = tuple(variable.shape)
            variable.assign(seeded.tensor(own, shape, seeded.gain(name)))


def feature_maps(model: keras.Model, name: str, images) -> dict[str, np.ndarray]:
    """C1 to C5: the stem before its pool, then the stages."""
    ends = {}  # the last block of each stage
    for layer in model.layers:
        if layer.name.endswith("_out"):
            ends[layer.name.split("_block")[0]] = layer.name
    first = {"resnet50v2_keras": "conv1_conv", "resnet50_vd": "conv3_relu"}
    names = [first.get(name, "conv1_relu"), *ends.values()]
    if "v2" in name:
        names[-1] = "post_relu"
    maps = keras.Model(model.input, [model.get_layer(one).output for one in names])
    outputs = maps(images, training=False)
    return {f"C{level}": np.array(one) for level, one in enumerate(outputs, start=1)}


def answer(name: str) -> None:
    """Logits at every size, and for some the feature maps at the last."""
    for size in SIZES:
        model = build(name, size, CLASSES)
        set_weights(model, name)
        images = seeded.images(size)
        logits = np.array(model(images, training=False))
        answers.update(
            "parity.json", [answers.row(name, {}, size, logits, source(name))]
        )
    if name in FEATURES:
        maps = feature_maps(model, name, images)
        row = answers.feature_row(name, size, maps, source(name))
        answers.update("features.json", [row])


def count(name: str) -> dict:
    """Parameters, statistics, and multiply-adds at each size, with 1000 classes."""
    multiply_adds = {}
    for size in COUNTED:
        model = build(name, (size, size), 1000)
        multiply_adds[size] = sum(
            prod(layer.output.shape[1:-1]) * prod(layer.kernel.shape)
            for layer in model.layers
            if hasattr(layer, "kernel")
        )
    trained = sum(prod(one.shape) for one in model.trainable_variables)
    return {
        "model": name,
        "parameters": trained,
        "statistics": model.count_params() - trained,
        "multiply_adds": multiply_adds,
        "source": source(name),
    }


def published() -> list[dict]:
    """Parameters with statistics, as Keras counts, in both libraries' tables."""
    presets = keras_hub.models.ResNetBackbone.presets
    hub = {
        f"resnet{depth}_vd": presets[f"resnet_vd_{depth}_imagenet"]["metadata"]
        for depth in VD
    }
    tables = {
        "keras.applications": APPLICATIONS_PUBLISHED,
        "keras-hub presets": {name: one["params"] for name, one in hub.items()},
    }
    return [
        {
            "model": name,
            "what": "parameters and statistics",
            "figure": str(figure),
            "digits": "rounded",
            "source": table,
        }
        for table, figures in tables.items()
        for name, figure in figures.items()
    ]


def main() -> None:
    answers.update("published.json", published())
    names = [*APPLICATIONS_PUBLISHED, *(f"resnet{depth}_vd" for depth in VD)]
    for name in sys.argv[1:] or names:
        answer(name)
        answers.update("counts.json", [count(name)])


if __name__ == "__main__":
    main()
