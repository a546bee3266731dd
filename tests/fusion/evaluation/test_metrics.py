"""Figures of weighted images equal scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, log_loss, recall_score, roc_auc_score

from fusion.evaluation import metrics
from tests.fusion.evaluation.small_answers import CLASSES


def test_figures_equal_scikit_learns_with_weights(judged):
    labels, proba, _ = judged
    y = np.searchsorted(CLASSES, labels)
    weights = np.random.default_rng(1).integers(1, 4, 300).astype(float)
    areas = [roc_auc_score(y == k, proba[:, k], sample_weight=weights) for k in range(3)]
    assert metrics.auc(y, proba)(weights) == pytest.approx(np.mean(areas), abs=1e-12)
    expected = balanced_accuracy_score(y, proba.argmax(1), sample_weight=weights)
    assert metrics.balanced_accuracy(y, proba)(weights) == pytest.approx(expected, abs=1e-12)


def test_two_classes_have_the_usual_auc():
    y, p = np.array([0, 0, 1, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8, 0.4])
    assert metrics.auc(y, np.stack([1 - p, p], 1))(np.ones(5)) == pytest.approx(roc_auc_score(y, p))


def test_calibration_error_by_hand():
    proba = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    y = np.array([0, 1, 0, 1])
    # bins: 0.9 twice (accuracy 0.5), 0.6 once (1), 0.8 once (1)
    assert metrics.calibration_error(y, proba)(np.ones(4)) == pytest.approx((2 * 0.4 + 0.4 + 0.2) / 4)


def test_figures_of_several_labels_equal_scikit_learns_with_weights(several):
    y, proba, _ = several
    weights = np.random.default_rng(1).integers(1, 4, 240).astype(float)
    area = roc_auc_score(y, proba, average="macro", sample_weight=weights)
    assert metrics.auc(y, proba)(weights) == pytest.approx(area, abs=1e-12)
    shares = [balanced_accuracy_score(y[:, k], proba[:, k] > 0.5, sample_weight=weights) for k in range(3)]
    assert metrics.balanced_accuracy(y, proba)(weights) == pytest.approx(np.mean(shares), abs=1e-12)


def test_calibration_error_of_several_labels_by_hand():
    y = np.array([[1, 0], [0, 0], [1, 1], [0, 1]])
    proba = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.1], [0.0, 1.0]])
    # first label: 0.9 twice (half have it), 0.6 once (has it), 0 once (has not); second: 0.1 thrice (one has it), 1
    first, second = (2 * 0.4 + 0.4 + 0) / 4, (3 * abs(0.1 - 1 / 3) + 0) / 4
    assert metrics.calibration_error(y, proba)(np.ones(4)) == pytest.approx((first + second) / 2)
    doubled = metrics.calibration_error(np.repeat(y, 2, axis=0), np.repeat(proba, 2, axis=0))(np.ones(8))
    assert doubled == pytest.approx((first + second) / 2)


def test_figures_of_probabilities_equal_scikit_learns_with_weights(judged):
    labels, proba, _ = judged
    y = np.searchsorted(CLASSES, labels)
    proba = np.where(proba.min(1, keepdims=True) < 0.02, np.eye(3)[y[::-1]], proba)  # some are 0, where they are wrong
    weights = np.random.default_rng(1).integers(1, 4, 300).astype(float)
    brier = brier_score_loss(y, proba, sample_weight=weights, scale_by_half=True, labels=[0, 1, 2])
    assert metrics.brier_score(y, proba)(weights) == pytest.approx(brier, abs=1e-12)
    loss = log_loss(y, proba, sample_weight=weights, labels=[0, 1, 2])
    assert metrics.log_loss(y, proba)(weights) == pytest.approx(loss)
    assert loss > 1


def test_figures_of_several_probabilities_equal_scikit_learns(several):
    y, proba, _ = several
    weights = np.random.default_rng(1).integers(1, 4, 240).astype(float)
    own = [brier_score_loss(y[:, k], proba[:, k], sample_weight=weights) for k in range(3)]
    assert metrics.brier_score(y, proba)(weights) == pytest.approx(np.mean(own), abs=1e-12)
    own = [log_loss(y[:, k], proba[:, k], sample_weight=weights) for k in range(3)]
    assert metrics.log_loss(y, proba)(weights) == pytest.approx(np.mean(own))


def test_sensitivity_and_specificity_equal_scikit_learns_recall(judged, several):
    for y, proba, decided in (
        (np.searchsorted(CLASSES, judged[0]), judged[1], judged[1].argmax(1)),
        (several[0], several[1], several[1] > 0.3),
    ):
        weights = np.random.default_rng(1).integers(1, 4, len(y)).astype(float)
        positive, found = metrics.sides(y, 3), metrics.sides(decided.astype(int), 3)
        for k in range(3):
            for function, side in ((metrics.sensitivity, 1), (metrics.specificity, 0)):
                expected = recall_score(positive[:, k], found[:, k], pos_label=side, sample_weight=weights)
                assert function(y, decided.astype(int), 3)(weights)[k] == pytest.approx(expected)
        share = metrics.balanced_accuracy(y, proba, decided.astype(int))(weights)
        recalls = [recall_score(positive[:, k], found[:, k], sample_weight=weights) for k in range(3)]
        others = [recall_score(~positive[:, k], ~found[:, k], sample_weight=weights) for k in range(3)]
        assert share == pytest.approx(np.mean(recalls if y.ndim == 1 else [recalls, others]))


def test_what_cancels_between_classes_shows_class_by_class():
    """Answers that are sure of either class by the same too much: the likeliest is right as often as it says."""
    y = np.repeat([0, 0, 1, 1], [60, 40, 20, 80])
    said = np.repeat([0, 1, 0, 1], [60, 40, 20, 80])  # right in 60 of 100, and in 80 of 100
    proba = np.where(said[:, None] == np.arange(2), 0.7, 0.3)
    ones = np.ones(200)
    assert metrics.calibration_error(y, proba)(ones) == pytest.approx(0)
    # of what is said to be 0 with .7, 60 of 80 are; of what is with .3, 40 of 120
    error = (80 * abs(0.7 - 60 / 80) + 120 * abs(0.3 - 40 / 120)) / 200
    assert metrics.classwise_calibration_error(y, proba)(ones) == pytest.approx(error)


def test_the_classwise_error_is_the_mean_over_classes(judged):
    labels, proba, _ = judged
    y, ones = np.searchsorted(CLASSES, labels), np.ones(300)
    own = [metrics.calibration_error((y == k)[:, None].astype(int), proba[:, [k]])(ones) for k in range(3)]
    assert metrics.classwise_calibration_error(y, proba)(ones) == pytest.approx(np.mean(own))
