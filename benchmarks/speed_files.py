"""The ONNX files that the speed benchmarks run, made once and kept in a folder.

    python benchmarks/speed_files.py cpu speed-files --torch-python /path/to/python
    python benchmarks/speed_files.py gpu gpu-files

`cpu` is ResNet-50 of three packages for `onnx_speed.py` (three minutes), `gpu` are
ResNet-18, 50 and 152 in float32 and float16 for `gpu.py` (four minutes). What is
there already stays. Weights are random: speed does not depend on them, and no accuracy
is claimed. Ours come from `python -m export.onnx`, keras.applications' from its own
`model.export`, torchvision's from torch.onnx in the Python that has it.
"""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import write_beside

PEER = "keras_applications"
TORCHVISION = "torchvision"
BATCHES = (1, 16)
CROPS = 16  # of each of the two photographs
SIZE = 224

# Of `python -m export.onnx`, by the file's name. {photos} are to be calibrated with.
INT8 = "--precision int8 --calibrate folder:{photos} --calibration-images 8"
OURS = {"resnet50": "resnet50", "resnet50-int8": f"resnet50 {INT8}"}
FIXED = {
    f"{name}-batch{n}": f"{words} --batch {n}"
    for name, words in OURS.items()
    for n in BATCHES
}
LIKE_PEERS = {"resnet50-nchw": "resnet50 --layout nchw", "resnet50_v1": "resnet50_v1"}
FOR_CPU = OURS | FIXED | LIKE_PEERS
FOR_GPU = {
    f"resnet{depth}-{precision}": f"resnet{depth} --precision {precision}"
    for depth in (18, 50, 152)
    for precision in ("float32", "float16")
}
ALWAYS = "--output logits --validate none"


@dataclass(frozen=True)
class Flags:
    """Makes the files of a speed benchmark."""

    kind: Positional[Literal["cpu", "gpu"]]
    """For which."""
    folder: Positional[Path]
    """Where they shall stand."""
    torch_python: Path | None = None
    """A Python with torch, torchvision, onnx and onnxscript, for torchvision's file."""


def main(args: Sequence[str] | None = None) -> None:
    flags = parse(Flags, args)
    if flags.kind == "cpu":
        files_for_cpu(flags.folder, flags.torch_python)
    else:
        export_ours(FOR_GPU, flags.folder)


def files_for_cpu(folder: Path, torch_python: Path | None) -> dict[str, Path]:
    """The files of `onnx_speed.py` by name, those made that are missing.

    Args:
        folder: where they stand.
        torch_python: None leaves torchvision's file out, unless it is there.
    """
    found = export_ours(FOR_CPU, folder)
    found[PEER] = folder / f"{PEER}.onnx"
    if not found[PEER].exists():
        _export_peer(found[PEER])
    theirs = folder / f"{TORCHVISION}.onnx"
    if torch_python and not theirs.exists():
        script = Path(__file__).with_name("torchvision_export.py")
        with write_beside(theirs) as part:
            _call([str(torch_python), str(script), str(part)])
    if theirs.exists():
        found[TORCHVISION] = theirs
    else:
        print("without torchvision: --torch-python names a Python that has it")
    return found


def export_ours(wanted: dict[str, str], folder: Path) -> dict[str, Path]:
    """The files of this package by name, those made that are missing.

    Args:
        wanted: words for `python -m export.onnx`, by the file's name.
        folder: where they stand.
    """
    found = {name: folder / f"{name}.onnx" for name in wanted}
    for name, path in found.items():
        if path.exists():
            continue
        photos = folder / "photos"
        words = f"{wanted[name]} {ALWAYS}".split()
        if "int8" in name and not photos.exists():
            _write_photos(photos)
        words = [word.format(photos=photos) for word in words]
        _call([sys.executable, "-m", "export.onnx", *words, "--out", str(path)])
    return found


def _call(words: list[str]) -> None:
    print(" ".join(words), flush=True)
    try:
        status = subprocess.run(words).returncode
    except OSError as error:
        raise InputError(f"{words[0]} cannot be run: {error.strerror}.") from error
    if status:
        raise InputError(f"{' '.join(words)} ended with status {status}.")


def _export_peer(path: Path) -> None:
    import keras

    from export.model.source import randomize_normalization

    keras.utils.set_random_seed(0)
    model = keras.applications.ResNet50(weights=None, classifier_activation=None)
    randomize_normalization(model)
    model(keras.ops.zeros((1, SIZE, SIZE, 3)))  # Keras exports after a call
    with write_beside(path) as part:
        model.export(part, format="onnx", verbose=False)


def _write_photos(folder: Path) -> None:
    """Crops of the two photographs in scikit-learn, as a data set of two classes."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_images

    draw = np.random.default_rng(0)
    with write_beside(folder) as part:
        for label, photo in zip("ab", load_sample_images().images, strict=True):
            (part / label).mkdir(parents=True)
            for i in range(CROPS):
                y, x = (draw.integers(side - SIZE) for side in photo.shape[:2])
                crop = photo[y : y + SIZE, x : x + SIZE]
                Image.fromarray(crop).save(part / label / f"{i}.png")


if __name__ == "__main__":
    run(main)
