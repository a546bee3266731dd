"""Figures of weighted images equal scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

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
