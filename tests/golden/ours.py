"""Our side of the parity: models under name-seeded weights against golden answers."""

import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
from golden import seeded

from keras_resnet import Architecture, build, feature_maps, get_architecture
from keras_resnet.architectures import cifar
from keras_resnet.architectures.resnet import v2
from keras_resnet.weights.assign import named_variables

CLASSES = 10
TOLERANCE = 5e-5  # of the logits' spread; parity_log.csv has what was measured

_RESNET29 = replace(cifar(29, "bottleneck", "B"), name="resnet29")
_BESIDE_THE_TABLE = {
    "resnet29": _RESNET29,
    "resnet29_v2": v2(_RESNET29),
}


def read(file: str) -> list[dict]:
    """The rows of a file of golden answers."""
    return json.loads(Path(__file__).with_name(file).read_text())


def cases() -> dict[str, list[dict]]:
    """The rows of parity.json that one model answers, by `label`."""
    by_model = {}
    for row in read("parity.json"):
        by_model.setdefault(label(row), []).append(row)
    return by_model


def label(row: dict) -> str:
    """A row's model and settings: `resnet50`, `resnet50 output_stride=8`."""
    settings = (f"{field}={value}" for field, value in row["settings"].items())
    return " ".join((row["model"], *settings))


def architecture(name: str) -> Architecture:
    """Ours of a model in parity.json."""
    return _BESIDE_THE_TABLE.get(name) or get_architecture(name)


def model_of(case: dict) -> keras.Model:
    """The model that answers a row of parity.json."""
    net = architecture(case["model"]).derive(**case["settings"])
    return seeded_model(net, seeded.gain(case["model"]))


def seeded_model(net: Architecture, gain: float) -> keras.Model:
    """Any size of image to logits, every weight drawn from its own name."""
    model = build(
        net,
        input_shape=(None, None, 3),
        classes=CLASSES,
        classifier_activation=None,
    )
    for name, variable in named_variables(model).items():
        variable.assign(seeded.tensor(name, tuple(variable.shape), gain))
    return model


def difference(model: keras.Model, case: dict) -> float:
    """The largest difference of any logit from the golden one, over their spread."""
    ours = _run(model, seeded.images(tuple(case["size"])))
    golden = np.array(case["logits"])
    assert ours.shape == golden.shape
    return float(np.abs(ours - golden).max() / golden.std())


def feature_differences(model: keras.Model, case: dict) -> dict[str, float]:
    """Of C1 to C5: the largest difference over the map's root mean square."""
    maps = keras.Model(model.inputs, feature_maps(model))
    ours = maps(_tensor(seeded.images(tuple(case["size"]))), training=False)
    assert ours.keys() == case["maps"].keys()
    return {
        level: _feature_difference(case["model"], level, one, case["maps"][level])
        for level, one in ours.items()
    }


def _feature_difference(model, level, ours, golden):
    ours = keras.ops.convert_to_numpy(ours).astype("float64")
    assert list(ours.shape) == golden["shape"], level
    places = seeded.positions(f"{model} {level}", len(golden["values"]), ours.size)
    faults = [
        *(ours.ravel()[places] - golden["values"]),
        ours.mean() - golden["mean"],
        np.square(ours).mean() ** 0.5 - golden["rms"],
    ]
    return float(np.abs(faults).max() / golden["rms"])


def _run(model, images):
    return keras.ops.convert_to_numpy(model(_tensor(images), training=False))


def _tensor(array):
    return keras.ops.convert_to_tensor(array)
