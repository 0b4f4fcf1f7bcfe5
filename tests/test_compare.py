"""Comparison of outputs: decibels, shares of the spread, classes."""

import math

import numpy as np
import pytest

from export.parity.compare import (
    Differences,
    log_softmax,
    max_rel,
    output_snr_db,
    snr_db,
    top1_agreement,
    top1_classes,
)

GENERATOR = np.random.default_rng(0)
EXPECTED = GENERATOR.normal(size=(64, 10)).astype("float32")


def test_snr_is_of_powers():
    noise = GENERATOR.normal(size=EXPECTED.shape) / 10
    assert snr_db(EXPECTED, EXPECTED + noise) == pytest.approx(20, abs=0.5)
    assert snr_db(EXPECTED, EXPECTED) == math.inf
    assert snr_db(0 * EXPECTED, EXPECTED) == -math.inf
    for bad in (np.nan, np.inf):
        assert snr_db(EXPECTED, EXPECTED * np.float32(bad)) == -math.inf
        assert snr_db(EXPECTED, EXPECTED + bad, centered=True) == -math.inf


def test_softmax_sees_no_shift_of_an_image():
    assert snr_db(EXPECTED, EXPECTED + 7) < 0
    assert snr_db(EXPECTED, EXPECTED.astype("float64") + 7, centered=True) > 200
    assert output_snr_db("logits", EXPECTED, EXPECTED.astype("float64") + 7) > 200


def test_probabilities_and_logits_have_the_same_snr():
    actual = EXPECTED + GENERATOR.normal(size=EXPECTED.shape) / 10
    shares = [np.exp(log_softmax(logits)) for logits in (EXPECTED, actual)]
    of_logits = output_snr_db("logits", EXPECTED, actual)
    assert output_snr_db("probabilities", *shares) == pytest.approx(of_logits, abs=0.01)


def test_largest_differences():
    expected, actual = np.array([[-1.0, 3.0]]), np.array([[-1.0, 3.5]])
    assert Differences.between(expected, actual).max_abs == 0.5
    assert max_rel(expected, actual) == 0.125
    assert max_rel(np.full((1, 2), 2.0), np.full((1, 2), 3.0)) == 0.5
    assert max_rel(np.zeros((1, 2)), np.zeros((1, 2))) == 0
    assert max_rel(np.zeros((1, 2)), np.ones((1, 2))) == math.inf
    assert math.isnan(max_rel(expected, actual * np.nan))


def test_classes():
    other = EXPECTED.copy()
    other[0, (EXPECTED[0].argmax() + 1) % 10] = 9
    assert top1_agreement(EXPECTED, other) == 63 / 64
    best = EXPECTED.argmax(-1)
    np.testing.assert_array_equal(top1_classes({"logits": EXPECTED}), best)
    ranked = np.argsort(-EXPECTED, -1)[:, :3]
    outputs = {"scores": np.sort(-EXPECTED, -1)[:, :3], "classes": ranked}
    np.testing.assert_array_equal(top1_classes(outputs), best)
    assert top1_classes({"C2": EXPECTED}) is None


def test_batches_add_up():
    actual = EXPECTED + GENERATOR.normal(size=EXPECTED.shape)
    total = Differences()
    for part in (slice(0, 50), slice(50, 64)):
        expected = EXPECTED[part].astype("float64")
        total.add(expected, actual[part] - expected, centered=True)
    assert total.snr_db == pytest.approx(snr_db(EXPECTED, actual, centered=True))
    assert total.max_rel == pytest.approx(max_rel(EXPECTED, actual))


def test_ties_are_what_the_differences_explain():
    total = Differences.between(EXPECTED, EXPECTED + 0.1)
    assert total.is_tie(np.array([0.0, 0.59, 0.61])).tolist() == [True, True, False]
