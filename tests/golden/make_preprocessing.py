"""Writes preprocessing.json: what timm's transforms for evaluation make of photographs.

    python tests/golden/make_preprocessing.py FOLDER

FOLDER holds scikit-learn's sample photographs, china.jpg and flower.jpg
(sklearn/datasets/images). Needs torch, torchvision and timm (any build that runs on
the CPU), numpy and Pillow, and nothing of this package.
"""

import base64
import json
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL
import reference
import timm
from PIL import Image
from timm.data import create_transform

STEP = 41  # every so many pixels are kept
WHOLE = (0, 0, 640, 427)
CASES = [  # image, box (left, top, right, bottom), size, crop, interpolation
    ("china", WHOLE, 224, 0.875, "bicubic"),
    ("flower", WHOLE, 224, 0.875, "bilinear"),
    ("china", WHOLE, 224, 0.95, "bicubic"),
    ("flower", WHOLE, 288, 1.0, "bicubic"),
    ("china", WHOLE, 224, 224 / 232, "bilinear"),
    ("flower", (100, 0, 301, 427), 224, 0.95, "bicubic"),  # upright
    ("china", (3, 5, 258, 304), 160, 0.95, "bilinear"),  # odd margins
    ("flower", (200, 100, 461, 361), 75, 0.9, "bicubic"),  # square
    ("china", (10, 10, 71, 94), 224, 0.875, "bicubic"),  # far too small
    ("flower", (0, 200, 640, 219), 64, 0.875, "bicubic"),  # a strip
    ("china", WHOLE, 448, 0.875, "bilinear"),
]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def transform(folder: Path, case: tuple, mean, std) -> np.ndarray:
    """timm's answer as (height, width, channels)."""
    name, box, size, crop, interpolation = case
    image = Image.open(folder / f"{name}.jpg").convert("RGB").crop(box)
    apply = create_transform(
        (3, size, size),
        is_training=False,
        crop_pct=crop,
        interpolation=interpolation,
        mean=mean,
        std=std,
    )
    return apply(image).numpy().transpose(1, 2, 0)


def answer(folder: Path, case: tuple) -> dict:
    """The levels of every STEP-th pixel, and every channel's mean level."""
    levels = 255 * transform(folder, case, (0, 0, 0), (1, 1, 1))
    levels = levels.round().astype("uint8").reshape(-1, 3)
    names = ("image", "box", "size", "crop", "interpolation")
    return dict(zip(names, case, strict=True)) | {
        "pixels": base64.b64encode(zlib.compress(levels[::STEP].tobytes(), 9)).decode(),
        "means": levels.mean(0).tolist(),
    }


def main() -> None:
    folder = Path(sys.argv[1])
    normalized = transform(folder, CASES[0], MEAN, STD).reshape(-1, 3)[:: 100 * STEP]
    golden = {
        "source": f"timm {timm.__version__}, "
        f"torchvision {reference.TORCHVISION_VERSION}, Pillow {PIL.__version__}",
        "step": STEP,
        "cases": [answer(folder, case) for case in CASES],
        "normalized": {  # of the first case
            "mean": MEAN,
            "std": STD,
            "step": 100 * STEP,
            "pixels": normalized.astype(float).round(6).tolist(),
        },
    }
    path = Path(__file__).with_name("preprocessing.json")
    path.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
