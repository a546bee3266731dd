"""Answers become probabilities: right on average, as sure as they are right."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from fusion.data.folds import folds as folds_of
from fusion.heads import calibration
from fusion.heads.losses import Weighting
from fusion.heads.solved import SOLVED

PLAIN = Weighting(balanced=False)


def drawn(prevalence, count, seed, width=16):
    rng = np.random.default_rng(seed)
    y = (np.arange(count) < prevalence * count).astype(np.int64)
    x = rng.normal(size=(count, width))
    x[:, :4] += 0.8 * y[:, None]
    return x, y


@pytest.mark.parametrize("prevalence", [0.2, 0.05])
def test_the_mean_probability_is_the_frequency(prevalence):
    x, y = drawn(prevalence, 800, 0)
    head = SOLVED["concat"]().fit([x], y, folds_of(y, None, 5, 0), None)
    found = calibration.calibrate(head.held, y, calibration.frequencies(y))
    fresh, _ = drawn(prevalence, 4000, 1)
    answers = head.log_proba([fresh])
    assert np.exp(answers)[:, 1].mean() > prevalence + 0.1  # for balanced classes
    assert np.exp(found.apply(answers))[:, 1].mean() == pytest.approx(prevalence, abs=0.02)
    np.testing.assert_allclose(found.undo(found.apply(answers)), answers, atol=1e-9)


def test_a_head_that_is_sure_and_wrong_becomes_less_sure():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(2000, 3))
    y = np.array([rng.choice(3, p=np.exp(row) / np.exp(row).sum()) for row in truth])
    sure = calibration.normalised(3 * truth, multilabel=False)
    found = calibration.calibrate(sure, y, calibration.frequencies(y), PLAIN, temperature=True)
    assert found.temperature == pytest.approx(3, rel=0.1)
    assert log_loss(y, np.exp(found.apply(sure))) < log_loss(y, np.exp(sure))
    np.testing.assert_allclose(found.undo(found.apply(sure)), sure, atol=1e-9)


def test_without_balance_and_temperature_answers_stay():
    x, y = drawn(0.2, 200, 0)
    held = SOLVED["concat"]().fit([x], y, folds_of(y, None, 5, 0), [0.1], PLAIN).held
    found = calibration.calibrate(held, y, calibration.frequencies(y), PLAIN)
    np.testing.assert_allclose(found.apply(held), held, atol=1e-9)


def test_another_prior_is_bayes_rule():
    proba = np.array([[0.7, 0.3], [0.1, 0.9]])
    found = np.exp(calibration.moved(np.log(proba), np.array([0.5, 0.5]), np.array([0.9, 0.1]), multilabel=False))
    by_hand = proba * [0.9, 0.1] / 0.5
    np.testing.assert_allclose(found, by_hand / by_hand.sum(1, keepdims=True))
    labels = np.exp(calibration.moved(np.log(proba), np.full(2, 0.5), np.array([0.9, 0.1]), multilabel=True))
    odds = proba / (1 - proba) * np.array([0.9 / 0.1, 0.1 / 0.9])
    np.testing.assert_allclose(labels, odds / (1 + odds))
    np.testing.assert_allclose(calibration.by_prior(np.array([0.9, 0.1])).apply(np.log(proba)), np.log(found))


def test_frequencies_count_images_as_they_count():
    y = np.array([0, 0, 1, 1])
    weighting = Weighting(images=np.array([1.0, 1.0, 0.0, 2.0]))
    assert calibration.frequencies(y).tolist() == [0.5, 0.5]
    assert calibration.frequencies(y, weighting).tolist() == [0.5, 0.5]
    assert calibration.frequencies(np.stack([y, 1 - y], axis=1), weighting).tolist() == [0.5, 0.5]


def test_images_from_elsewhere_give_the_shift_but_not_the_frequencies():
    x, y = drawn(0.2, 800, 0)
    head = SOLVED["concat"]().fit([x], y, folds_of(y, None, 5, 0), None)
    other, known = drawn(0.5, 800, 1)
    found = calibration.calibrate(head.log_proba([other]), known, calibration.frequencies(y))
    fresh, _ = drawn(0.2, 4000, 2)
    assert np.exp(found.apply(head.log_proba([fresh])))[:, 1].mean() == pytest.approx(0.2, abs=0.02)


def test_a_temperature_answers_for_the_frequencies_that_are_wanted():
    rng = np.random.default_rng(0)
    y = np.arange(2000) % 2
    logits = np.log(0.05 / 0.95) + 6 * y - 3 + rng.normal(size=2000)  # for classes of .95 and .05
    held = calibration.normalised(np.stack([0 * logits, logits], axis=1), multilabel=False)
    found = calibration.calibrate(held, y, np.array([0.95, 0.05]), PLAIN, temperature=True)
    shares = np.where(y == 1, 0.05, 0.95)
    assert np.average(np.exp(found.apply(held))[:, 1], weights=shares) == pytest.approx(0.05, abs=0.01)


def test_answers_that_are_all_right_are_not_made_surer_for_ever():
    y = np.arange(60) % 2
    held = np.log(np.where(np.eye(2)[y] == 1, 0.9, 0.1))
    assert calibration.calibrate(held, y, np.full(2, 0.5), temperature=True).temperature > 0.5
