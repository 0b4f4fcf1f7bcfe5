"""Handwritten digits that need no network: scikit-learn's, as a TFDS data set."""

import numpy as np
import tensorflow_datasets as tfds

TEST_EVERY = 5  # within each class: a fifth for the test, spread over all writers


class Digits(tfds.core.GeneratorBasedBuilder):
    """1,797 handwritten digits of 8x8 pixels, in ten classes.

    The images come with scikit-learn (`sklearn.datasets.load_digits`), which has
    them from the test set of UCI's "Optical Recognition of Handwritten Digits". Their
    grey values 0..16 are spread over 0..255. Of each class, the 5th, 10th, 15th ...
    image in scikit-learn's order makes up the split "test", the others "train".
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=type(self).__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1)),
                    "label": tfds.features.ClassLabel(names=list("0123456789")),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        return {
            "train": self._generate_examples(test=False),
            "test": self._generate_examples(test=True),
        }

    def _generate_examples(self, test: bool):
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.rint(digits.images * 255 / 16).astype("uint8")[..., None]
        for label in range(10):
            for place, index in enumerate(np.flatnonzero(digits.target == label), 1):
                if (place % TEST_EVERY == 0) == test:
                    yield int(index), {"image": images[index], "label": label}
