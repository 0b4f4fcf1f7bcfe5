"""Outputs of a classifier as names of classes."""

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet import decode_predictions
from keras_resnet.common.errors import InputError
from keras_resnet.images.labels import imagenet_classes, imagenet_labels


def test_imagenet_is_whole_and_in_order():
    """Places that everyone knows: the first, the last, and some between."""
    classes = imagenet_classes()
    assert len(classes) == len(set(classes)) == len({wnid for wnid, _ in classes})
    assert [wnid for wnid, _ in classes] == sorted(wnid for wnid, _ in classes)
    known = {
        0: "tench",
        1: "goldfish",
        281: "tabby",
        985: "daisy",
        999: "toilet tissue",
    }
    assert {index: classes[index][1] for index in known} == known
    assert classes[281] == ("n02123045", "tabby")
    assert imagenet_labels()[281] == "tabby" and len(imagenet_labels()) == 1000


def test_logits_and_probabilities_give_the_same(random_images):
    logits = random_images(1000)[:, :] * 3
    probabilities = keras.ops.softmax(logits)
    decoded = decode_predictions(logits, top=3)
    assert [len(classes) for classes in decoded] == [3, 3]
    for row, best, again in zip(
        np.asarray(probabilities),
        decoded,
        decode_predictions(probabilities, 3),
        strict=True,
    ):
        order = row.argsort()[::-1][:3]
        assert [name for _, name, _ in best] == [imagenet_labels()[i] for i in order]
        np.testing.assert_allclose([p for *_, p in best], row[order], rtol=1e-5)
        assert [names for *names, _ in again] == [names for *names, _ in best]


def test_labels_of_ones_own():
    outputs = [[1.0, 3.0, 2.0], [0.0, 0.0, 9.0]]
    (first, second) = decode_predictions(outputs, labels=("ant", "bee", "cat"))
    assert [row[:2] for row in first] == [("1", "bee"), ("2", "cat"), ("0", "ant")]
    assert second[0][1] == "cat"
    assert sum(p for *_, p in first) == pytest.approx(1)
    assert first[0][2] == pytest.approx(np.exp(3) / np.exp([1, 2, 3]).sum())


def test_half_precision_and_the_labels_of_a_card():
    probabilities = np.full((1, 1000), 1e-3, "float16")
    probabilities[0, 985] += 0.01
    labels = keras_resnet.images.labels.imagenet_labels()
    ((best,),) = decode_predictions(probabilities, top=1, labels=labels)
    assert best[:2] == ("n11939491", "daisy")
    assert best[2] < 0.02  # it was not taken for logits and not sharpened


@pytest.mark.parametrize(
    "outputs, options, words",
    [
        (np.ones((2, 7)), {}, "labels: none for outputs of 7 classes.*1000"),
        (np.ones((2, 3)), {"labels": ["a", "b"]}, "labels: 2 for outputs of 3 classes"),
        (np.ones(1000), {}, r"outputs of \(1000,\).*\(batch, classes\)"),
        (np.full((1, 1000), np.nan), {}, "NaN"),
        ([["cat"]], {}, "array of numbers"),
        (np.ones((1, 3)), {"labels": "cat"}, "labels='cat'"),
        (np.ones((1, 3)), {"labels": 3}, "labels=3"),
        (np.ones((1, 1000)), {"top": 0}, "top=0"),
        (np.ones((1, 1000)), {"top": 2.5}, "top=2.5"),
    ],
)
def test_what_cannot_be_decoded(outputs, options, words):
    with pytest.raises(InputError, match=words):
        decode_predictions(outputs, **options)
