"""Whole groups are drawn, and left out."""

import numpy as np
import pytest

from fusion.evaluation import intervals, score
from tests.fusion.evaluation.small_answers import CLASSES


def test_of_a_mean_it_is_the_textbook_interval():
    """A mean has nothing between its rows: Student's t of the rows, or of unequal groups near that of their sums."""
    values = np.random.default_rng(0).normal(size=40)
    found = intervals.jackknife(lambda rows: float(values[rows].mean()), np.arange(40))
    reach = 2.0227 * values.std(ddof=1) / np.sqrt(40)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.value == pytest.approx(reach, rel=1e-3)
    assert found.value - found.low == pytest.approx(found.high - found.value)


def test_images_without_groups_are_dealt_evenly():
    assert np.bincount(intervals.blocks(120)).tolist() == [3] * 20 + [2] * 30
    assert sorted(intervals.blocks(7)) == list(range(7))


def test_whole_groups_are_drawn(judged):
    labels, _, groups = judged
    y = np.searchsorted(CLASSES, labels)
    for weights in intervals.draws(y, groups, 3, 50, 0):
        assert all(len(set(weights[groups == g])) == 1 for g in range(20))
        assert weights.reshape(20, 15)[:, 0].sum() == 20


def test_a_class_in_one_of_very_many_groups_is_not_drawn_for_ever(monkeypatch):
    monkeypatch.setattr(intervals, "_REDRAWS", 1)
    y = np.array(["a", "a", "a", "b"])
    with pytest.raises(ValueError, match=r"each class must be in enough groups to be drawn \(got 4 groups\)"):
        score.score(y, np.full((4, 2), 0.5), ["a", "b"])


def test_every_draw_holds_each_label_and_its_absence():
    y = np.zeros((30, 2), dtype=int)
    y[:10, 0] = 1
    y[3:, 1] = 1  # absent in three images only
    draws = list(intervals.draws(y, np.arange(30), 2, 200, 0))
    assert all((weights @ y > 0).all() and (weights @ (1 - y) > 0).all() for weights in draws)
    assert np.isfinite(score.score(y, np.random.default_rng(0).random((30, 2)), ["a", "b"]).auc.low)


def test_a_label_of_one_in_very_many_groups_is_not_drawn_for_ever(monkeypatch):
    monkeypatch.setattr(intervals, "_REDRAWS", 1)
    with pytest.raises(ValueError, match=r"each label, and its absence, must be in enough groups .*got 4 groups"):
        score.score(np.eye(4, dtype=int), np.full((4, 4), 0.5), ["a", "b", "c", "d"])
