"""What probes say of images that they have not seen, against fits that share nothing."""

import numpy as np
import pytest

import zoo
from fusion.data import folds as folds_
from fusion.evaluation import metrics
from fusion.features import extract
from fusion.heads import probe as probe_
from fusion.selection import nesting
from tests.fusion.selection.small_task import TRAIN


def test_nested_chooses_the_penalty_of_a_fold_without_it(monkeypatch):
    """By hand, fit by fit; what is said inside a fold is of the penalty that its probe has."""
    monkeypatch.setattr(probe_, "ROUGH", probe_.EXACT)  # rough fits depend on how features are turned
    x = extract.extract(zoo.load("mae-mini", 0.25), TRAIN.images)
    y = np.unique(TRAIN.labels, return_inverse=True)[1]
    folds = folds_.folds(y, TRAIN.groups, 4, 0)
    found = nesting.nested(x, y, folds)
    for k, (train, test) in enumerate(folds):
        inner = {penalty: np.full((len(y), 6), np.nan) for penalty in probe_.GRID}
        figures = []
        for penalty, opinions in inner.items():
            each = []
            for j, (_, held) in enumerate(folds):
                if j != k:
                    rest = np.setdiff1d(train, held)
                    probe = probe_.fit_probe(x[rest], y[rest], 6, penalty, tolerance=probe_.EXACT)
                    opinions[held] = probe.opinions(x[held])
                    each.append(metrics.auc_of(y[held], opinions[held]))
            figures.append(np.mean(each))
        best = probe_.GRID[int(np.argmax(figures))]
        expected = probe_.fit_probe(x[train], y[train], 6, best).opinions(x[test])
        np.testing.assert_allclose(found.outer[test], expected, atol=1e-6)
        np.testing.assert_allclose(found.inner[k], inner[best], atol=1e-3)
        assert np.isnan(found.inner[k][test]).all()


def test_only_the_folds_that_are_asked_for_are_answered():
    rng = np.random.default_rng(0)
    y = np.tile(np.arange(3), 20)
    x, folds = rng.normal(size=(60, 5)) + np.eye(5)[y], folds_.folds(y, None, 5, 0)
    whole, part = nesting.nested(x, y, folds), nesting.nested(x, y, folds, [1, 3])
    asked = np.concatenate([folds[1][1], folds[3][1]])
    np.testing.assert_array_equal(part.outer[asked], whole.outer[asked])
    assert np.isnan(np.delete(part.outer, asked, axis=0)).all()
    assert set(part.inner) == {1, 3}
    np.testing.assert_array_equal(part.inner[3], whole.inner[3])


def test_inside_a_fold_nothing_is_known_of_it():
    """Other features and labels in the fold change nothing that is said inside it, nor labels what is said of it."""
    rng = np.random.default_rng(0)
    y = np.tile(np.arange(2), 30)
    x, folds = rng.normal(size=(60, 4)) + y[:, None], folds_.folds(y, None, 3, 0)
    other, wrong = x.copy(), y.copy()
    held = folds[1][1]
    other[held], wrong[held] = rng.normal(size=(len(held), 4)), 1 - y[held]
    first, second = nesting.nested(x, y, folds), nesting.nested(other, wrong, folds)
    np.testing.assert_array_equal(first.inner[1], second.inner[1])
    assert not np.allclose(first.inner[0], second.inner[0], equal_nan=True)
    np.testing.assert_array_equal(nesting.nested(x, wrong, folds).outer[held], first.outer[held])
    blocks = [x * np.linspace(0.1, k, 4) + k for k in range(1, 6)]
    assert nesting.short_list(blocks, y, folds[1][0]) == nesting.short_list(blocks, wrong, folds[1][0])


def test_the_short_list_is_of_the_highest_scores_without_classes_of_one_image():
    assert nesting.shortlisted([0.1, 0.5, 0.2, 0.9, 0.3]) == {1, 3, 4}
    rng = np.random.default_rng(0)
    y = np.r_[np.tile(np.arange(2), 10), 2]
    blocks = [rng.normal(size=(21, 3)) + signal * y[:, None] for signal in (0, 3, 2, 1, 0)]
    assert nesting.short_list(blocks, y, np.arange(21)) == nesting.short_list(blocks, y, np.arange(20))
    assert 1 in nesting.short_list(blocks, y, np.arange(20))
    assert nesting.short_list(blocks, y, np.array([0, 2, 4, 20])) == set(range(5))  # one class is left


def test_folds_that_lack_a_class_are_answered():
    y = np.repeat(np.arange(4), 4)
    x = np.random.default_rng(0).normal(size=(16, 3)) + 3 * np.eye(4)[y][:, :3]
    by_class = [(np.setdiff1d(np.arange(16), held), held) for held in np.arange(16).reshape(4, 4)]
    assert np.isfinite(nesting.nested(x, y, by_class).outer).all()


def test_folds_must_leave_two_classes():
    y = np.repeat(np.arange(3), 4)
    by_class = [(np.setdiff1d(np.arange(12), held), held) for held in np.arange(12).reshape(3, 4)]
    with pytest.raises(ValueError, match="two classes when two of them are held out"):
        nesting.check(y, by_class)
    nesting.check(y, folds_.folds(y, None, 3, 0))
