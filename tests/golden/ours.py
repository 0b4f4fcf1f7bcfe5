"""Our side of the parity: a model under name-seeded weights against parity.json."""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
from golden import seeded

from keras_resnet import Architecture, build, get_architecture
from keras_resnet.architectures import cifar
from keras_resnet.weights.matching import assign, named_variables

TOLERANCE = (
    2e-5  # of the root mean square of the logits; the largest measured is 2.5e-6
)

_RESNET29 = dataclasses.replace(cifar(29, "bottleneck", "B"), name="resnet29")
_BESIDE_THE_TABLE = {
    "resnet29": _RESNET29,
    "resnet29_v2": dataclasses.replace(
        _RESNET29, name="resnet29_v2", preactivation=True
    ),
}


def cases() -> dict[str, list[dict]]:
    """The rows of parity.json by model, one for each size of picture."""
    rows = json.loads(Path(__file__).with_name("parity.json").read_text())
    by_model = {}
    for row in rows:
        by_model.setdefault(row["model"], []).append(row)
    return by_model


def architecture(name: str) -> Architecture:
    """Ours of a name in parity.json."""
    return _BESIDE_THE_TABLE.get(name) or get_architecture(name)


def seeded_model(net: Architecture, gain: float, **options) -> keras.Model:
    """Any size of picture to logits, every weight drawn from its own name."""
    model = build(
        net, input_shape=(None, None, 3), classifier_activation=None, **options
    )
    arrays = {
        name: seeded.tensor(name, tuple(variable.shape), gain)
        for name, variable in named_variables(model).items()
    }
    assign(model, arrays, "the seeded weights")
    return model


def difference(model: keras.Model, case: dict) -> float:
    """The largest difference from a golden answer, relative to its logits' size.

    That is, to their root mean square; the norm of all logits counts too.
    """
    images = keras.ops.convert_to_tensor(seeded.images(tuple(case["size"])))
    ours = keras.ops.convert_to_numpy(model(images, training=False))
    golden = np.array(case["logits"])
    assert ours.shape == (len(golden), case["classes"])
    largest = np.abs(ours[:, : golden.shape[1]] - golden).max()
    norm = np.linalg.norm(ours.astype("float64"))
    spread = case["norm"] / ours.size**0.5
    return float(max(largest / spread, abs(norm / case["norm"] - 1)))
