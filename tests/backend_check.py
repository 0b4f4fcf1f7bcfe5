"""What the package does on one Keras backend, printed as JSON.

    KERAS_BACKEND=jax python tests/backend_check.py FOLDER

Needs Keras and the backend alone. Leaves a `.keras` file a model in FOLDER, for
another backend to read.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np
from golden import ours, seeded

from keras_resnet import load_model
from keras_resnet.saving import Card, save_model

MODELS = ("resnet8", "resnet8_v2", "resnet50", "resnetv2_50")


def train(network: keras.Model) -> list[float]:
    """Losses of two steps of SGD with momentum, on the seeded images.

    The steps are small: normalised over two images, large ones magnify rounding.
    """
    network.compile(
        keras.optimizers.SGD(1e-4, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    images = seeded.images((64, 65))
    return [float(network.train_on_batch(images, np.array([3, 5]))) for _ in range(2)]


def check(name: str, folder: Path) -> dict:
    """Difference from the golden logits, before and after a file; and the losses."""
    net = ours.architecture(name)
    case = ours.cases()[name][0]
    network = ours.seeded_model(net, seeded.gain(name))
    path = folder / f"{name}.keras"
    save_model(network, path, Card(net))
    loaded = load_model(path)
    return {
        "difference": ours.difference(network, case),
        "loaded": ours.difference(loaded, case),
        "losses": train(network),
    }


def main() -> None:
    folder = Path(sys.argv[1])
    models = {name: check(name, folder) for name in MODELS}
    print(json.dumps({"backend": keras.backend.backend(), "models": models}))


if __name__ == "__main__":
    main()
