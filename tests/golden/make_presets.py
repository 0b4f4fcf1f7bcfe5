"""Writes presets.json: what keras-hub's preset folders hold, and what the nets answer.

    python tests/golden/make_presets.py

Needs keras-hub and its dependencies. The arrays are not stored: each is drawn from its
own place in the file, here and in the test, which writes the files anew.
"""

import json
import tempfile
from pathlib import Path

import h5py
import keras
import keras_hub
import numpy as np
import seeded

SIZE = (65, 64)
CLASSES = 5
NETS = {  # keras-hub demands 64 filters of the first stack
    "resnet18": {"block_type": "basic_block"},
    "resnet50": {"block_type": "bottleneck_block"},
    "resnetv2_50": {"block_type": "bottleneck_block", "use_pre_activation": True},
    "resnet18_vd": {"block_type": "basic_block_vd"},
    "resnet50_vd": {"block_type": "bottleneck_block_vd"},
}
STACKS = {
    "stackwise_num_filters": [64, 8],
    "stackwise_num_blocks": [2, 1],
    "stackwise_num_strides": [1, 2],
}
FILES = ("model.weights.h5", "task.weights.h5")


def preset(name: str, folder: Path) -> keras.Model:
    """A network of random weights, saved as a preset in `folder`."""
    deep = name.endswith("_vd")
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[8, 8, 64] if deep else [64],
        input_conv_kernel_sizes=[3, 3, 3] if deep else [7],
        **STACKS,
        **NETS[name],
    )
    converter = keras_hub.layers.ResNetImageConverter(
        image_size=(224, 160),
        scale=[1 / (255 * std) for std in (0.25, 0.5, 1)],
        offset=[-0.5 / std for std in (0.25, 0.5, 1)],
        interpolation="bicubic",
    )
    model = keras_hub.models.ResNetImageClassifier(
        backbone=backbone,
        num_classes=CLASSES,
        preprocessor=keras_hub.models.ResNetImageClassifierPreprocessor(converter),
    )
    model.save_to_preset(folder)
    return model


def contents(folder: Path) -> dict:
    """Path in the file, shape, and name of the layer, of each array in each file."""
    found = {}
    for file in FILES:
        rows = found[file] = []
        with h5py.File(folder / file) as content:

            def visit(path, item, rows=rows):
                if isinstance(item, h5py.Dataset) and path.startswith("layers/"):
                    rows.append([path, item.shape, item.parent.attrs["name"]])

            content.visititems(visit)
    return found


def draw(model: keras.Model, found: dict) -> None:
    """Sets every weight by the place it has in the files."""
    layers = {layer.name: layer for layer in [*model.backbone.layers, *model.layers]}
    for path, shape, name in found["model.weights.h5"] + found["task.weights.h5"]:
        kind = layers[name].weights[int(path[-1])].name
        value = seeded.tensor(f"{path}/{kind}", tuple(shape), 1.0)
        layers[name].weights[int(path[-1])].assign(value)


def main() -> None:
    rows = {}
    for name in NETS:
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            model = preset(name, folder)
            found = contents(folder)
            draw(model, found)
            rows[name] = {
                "config": json.loads((folder / "config.json").read_text())["config"],
                "image_converter": json.loads(
                    (folder / "image_converter.json").read_text()
                ),
                "files": found,
                "logits": np.asarray(model(seeded.images(SIZE))).round(5).tolist(),
            }
            print(name, np.std(rows[name]["logits"]))
    parts = [f'"{name}": {json.dumps(row)}' for name, row in rows.items()]
    about = json.dumps(f"keras-hub {keras_hub.__version__}, Keras {keras.__version__}")
    text = ",\n".join(parts)
    Path(__file__).with_name("presets.json").write_text(
        f'{{"source": {about}, "size": {list(SIZE)}, "presets": {{\n{text}\n}}}}\n'
    )


if __name__ == "__main__":
    main()
