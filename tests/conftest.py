"""Settings that must stand before the first import of Keras, and shared fixtures."""

import os

# A user's environment or keras.json must not choose for the tests.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

from dataclasses import replace

import numpy as np
import pytest

from keras_resnet.architectures import Architecture, get_architecture
from keras_resnet.architectures.records import DeepStem, SqueezeExcitation


def tiny(name: str) -> Architecture:
    """A row of the table at its smallest: few blocks, few channels, few groups."""
    row = get_architecture(name)
    stages = len(row.depths)
    unit = 32 if row.norm in ("group", "evonorm") else 8  # their groups are 32
    widths = tuple(unit * width for width in (1, 2, 3, 4)[:stages])
    stem = row.stem
    if isinstance(stem, DeepStem):
        stem = replace(stem, widths=(unit, unit, widths[0]))
    blocks = [
        tiny_block(block, width)
        for block, width in zip(row.blocks, widths, strict=True)
    ]
    return replace(
        row,
        name=f"tiny_{name}",
        block=tuple(blocks) if isinstance(row.block, tuple) else blocks[0],
        depths=(2 if row.stride_block == "last" else 1,) * stages,
        widths=widths,
        stem=stem,
        input_size=row.total_stride * 2,
    )


def tiny_block(block, width: int):
    """The record of a block with few groups and channels."""
    smallest = {
        "groups": min(getattr(block, "groups", 1), 2),
        "base_width": 64,
        "growth": 4,
        "divisor": 4,
    }
    if getattr(block, "branch_widths", ()):
        smallest |= {"branch_widths": ((3, 5),), "outputs": 3 * width + 1}
    attention = getattr(block, "attention", None)
    if isinstance(attention, SqueezeExcitation):
        smallest["attention"] = replace(attention, divisor=4)
    fields = block.__dataclass_fields__
    return replace(block, **{k: v for k, v in smallest.items() if k in fields})


def randomize(model, seed: int = 0) -> None:
    """Draws every weight anew; statistics at 0 and 1 would hide a swap of the two."""
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        if variable.name in ("gamma", "moving_variance"):
            value = generator.uniform(0.5, 1.5, variable.shape)
        else:
            fan = max(1, int(np.prod(variable.shape[:-1])))
            value = generator.normal(0, fan**-0.5, variable.shape)
        variable.assign(value)


@pytest.fixture
def random_images():
    """A batch of random normal images: `images(height, width, channels)`."""

    def make(*shape: int, batch: int = 2, seed: int = 0) -> np.ndarray:
        generator = np.random.default_rng(seed)
        return generator.normal(size=(batch, *shape)).astype("float32")

    return make


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """A folder of TFDS data sets, where `assorted_images` spreads over four files."""
    import tensorflow_datasets as tfds
    from data_sets import AssortedImages

    folder = tmp_path_factory.mktemp("tensorflow_datasets")
    four = tfds.download.DownloadConfig(num_shards=4)
    AssortedImages(data_dir=folder).download_and_prepare(download_config=four)
    return folder


@pytest.fixture
def photos(tmp_path):
    """Ten images of cats and ten of dogs, in every accepted format."""
    from data_sets import write_image

    root = tmp_path / "photos"
    for index in range(10):
        write_image(root / f"cats/{index}.jpg", seed=index)
        write_image(root / f"dogs/{index}.png", seed=index)
    write_image(root / "cats/grey.JPEG", channels=1)
    write_image(root / "cats/deep/grey.png", channels=1)
    write_image(root / "dogs/transparent.png", channels=4)
    (root / "dogs/notes.txt").write_text("no image")
    (root / "dogs/.hidden.jpg").write_text("no image either")
    (root / ".cache").mkdir()
    return root
