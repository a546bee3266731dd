"""AUCs fold by fold, against scikit-learn's of each fold."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fusion.evaluation import metrics
from fusion.selection import by_fold


def answers(count, classes, seed, ties=False):
    rng = np.random.default_rng(seed)
    y, fold = rng.integers(classes, size=count), rng.integers(4, size=count)
    scores = rng.normal(size=(count, classes)) + np.eye(classes)[y]
    return y, np.round(scores) if ties else scores, fold


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [2, 5])
def test_areas_are_those_of_each_fold_by_itself(classes, ties):
    y, scores, fold = answers(160, classes, 0, ties)
    weights = np.random.default_rng(1).integers(0, 3, size=160).astype(float)
    for own in (np.ones(160), weights):
        expected = []
        for k in range(4):
            rows = fold == k
            each = [roc_auc_score(y[rows] == c, scores[rows, c], sample_weight=own[rows]) for c in range(classes)]
            expected.append(np.mean(each))
        found = by_fold.areas(y, scores, fold)(own)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert by_fold.auc(y, scores, fold)(own) == pytest.approx(np.mean(expected))


def test_folds_of_different_scale_are_not_ranked_against_each_other():
    """Each probe ranks its own images well; pooled, what they are off by hides it."""
    rng = np.random.default_rng(0)
    y, fold = np.tile(np.arange(2), 200), np.repeat(np.arange(4), 100)
    right = 2 * y + rng.normal(size=400)
    scores = np.stack([0 * right, right + np.array([-6.0, 6, 0, -3])[fold]], axis=1)
    scores[:, 0] = -scores[:, 1]
    alone = [roc_auc_score(y[fold == k], right[fold == k]) for k in range(4)]
    assert by_fold.auc(y, scores, fold)(np.ones(400)) == pytest.approx(np.mean(alone))
    assert np.mean(alone) > 0.9
    assert metrics.auc_of(y, scores) < 0.7


def test_a_class_counts_in_the_folds_that_have_it_and_others():
    y, scores, _ = answers(60, 3, 2)
    fold = np.repeat(np.arange(3), 20)
    y[fold == 1], y[fold == 2] = np.tile([0, 1], 10), 2
    areas = by_fold.areas(y, scores, fold)(np.ones(60))
    rows = fold == 1
    assert areas[1] == pytest.approx(np.mean([roc_auc_score(y[rows] == c, scores[rows, c]) for c in (0, 1)]))
    assert np.isnan(areas[2])
    assert by_fold.auc(y, scores, fold)(np.ones(60)) == pytest.approx(areas[:2].mean())
    undrawn = np.where(fold == 1, 0.0, 1.0)  # a draw without any image of the fold
    assert by_fold.auc(y, scores, fold)(undrawn) == pytest.approx(areas[0])


def test_folds_of_one_class_each_are_pooled():
    y = np.repeat(np.arange(2), 20)
    scores = np.random.default_rng(0).normal(size=(40, 2)) + np.eye(2)[y]
    assert by_fold.auc(y, scores, y)(np.ones(40)) == pytest.approx(metrics.auc_of(y, scores))


def test_spread_is_the_corrected_standard_error_over_folds_that_have_an_auc():
    """Of four folds each is a third of the others."""
    assert by_fold.spread(np.array([0.6, np.nan, 0.8, 0.7])) == pytest.approx(0.1 * np.sqrt(1 / 3 + 1 / 3))
    assert np.isnan(by_fold.spread(np.array([0.6, np.nan])))


def test_places_are_the_folds_that_hold_out():
    held = [np.array([1, 4]), np.array([0, 3]), np.array([2])]
    folds = [(np.setdiff1d(np.arange(5), test), test) for test in held]
    assert by_fold.places(folds, 5).tolist() == [1, 0, 2, 1, 0]
