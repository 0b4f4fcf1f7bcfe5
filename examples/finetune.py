"""Trains a small network on a folder of images: one folder a class.

    python examples/finetune.py

Replace `make_images` with a folder of your own, and raise the epochs.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import keras_resnet
from keras_resnet.training import get_recipe, train


def make_images(folder: Path) -> None:
    """Writes 20 noisy images of each of two colours as PNG files."""
    random = np.random.default_rng(0)
    for name, colour in {"red": (200, 50, 50), "blue": (50, 50, 200)}.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(20):
            noise = random.integers(-50, 50, size=(32, 32, 3))
            image = Image.fromarray((np.array(colour) + noise).astype("uint8"))
            image.save(folder / name / f"{index}.png")


make_images(Path("photos"))

# A recipe is a record of all training settings; `replace` changes some of them.
recipe = replace(get_recipe("cifar", batch_size=8), epochs=1, image_size=32)

# A fifth of the images is held out for validation. The best epoch is kept.
run = train("resnet20", "folder:photos", recipe, "runs/colours", resume=True)
model = keras_resnet.load_model(run / "best.keras")
print("trained:", model.name, "with", model.output_shape[-1], "classes")
