"""Whole groups are drawn, and left out."""

import numpy as np
import pytest
from scipy import stats

from fusion.evaluation import intervals, score
from fusion.evaluation.intervals import Scale
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


DRAWN = np.array([0.8, 0.7, 0.9])  # the value, then two draws: of deviation 0.1, of 5 groups of error 0.1 * sqrt(5 / 4)
REACH = stats.t.ppf(0.975, 4) * 0.1 * np.sqrt(1.25)


def test_an_interval_by_hand_on_each_scale():
    found = intervals.student(DRAWN, 5, 4, Scale())
    odds = np.array([-1, 1]) * REACH / (0.8 * 0.2) + np.log(0.8 / 0.2)
    assert (found.value, found.low, found.high) == pytest.approx((0.8, *1 / (1 + np.exp(-odds))))
    found = intervals.student(DRAWN, 5, 4, Scale(0, np.inf))
    assert (found.low, found.high) == pytest.approx((0.8 * np.exp(-REACH / 0.8), 0.8 * np.exp(REACH / 0.8)))
    found = intervals.student(DRAWN, 5, 4, Scale().differences())
    assert (found.low, found.high) == pytest.approx((0.8 - REACH, 1))
    drawn = np.array([0.45, 0.4, 0.6])  # 0.05 more in the mean of the draws
    found = intervals.student(drawn, 5, 4, Scale(binned=True))
    assert (found.low, found.high) == pytest.approx((0.35 - REACH, 0.45 + REACH))


def test_without_degrees_of_freedom_there_is_no_interval():
    found = intervals.student(DRAWN, 5, float("nan"), Scale())
    assert found.value == 0.8
    assert np.isnan([found.low, found.high]).all()
    assert np.isnan(intervals.p_value(DRAWN, 5, float("nan")))


def test_groups_without_an_error_are_not_sure_of_there_being_none():
    """Of G groups that are all right, a share of wrong ones of up to 1 - 0.025^(1 / G) would often show none."""
    perfect = intervals.student(np.ones(9), 10, 9, Scale())
    assert (perfect.low, perfect.high) == pytest.approx((0.025 ** (1 / 10), 1))
    nothing = intervals.student(np.zeros(9), 10, 9, Scale())
    assert (nothing.low, nothing.high) == pytest.approx((0, 1 - 0.025 ** (1 / 10)))
    same = intervals.student(np.zeros(9), 10, 9, Scale().differences())
    assert (same.low, same.high) == (0, 0)


def test_p_values_by_hand_agree_with_intervals():
    drawn = np.array([0.1, 0.0, 0.2])
    assert intervals.p_value(drawn, 5, 4) == pytest.approx(2 * stats.t.sf(0.1 / (0.1 * np.sqrt(1.25)), 4))
    assert intervals.p_value(-drawn, 5, 4) == intervals.p_value(drawn, 5, 4)
    assert [intervals.p_value(values, 5, 4) for values in (np.zeros(9), np.full(9, 0.1))] == [1, 0]
    for values in (drawn, drawn + 0.2, drawn + 0.21, drawn + 0.3):
        found = intervals.student(values, 5, 4, Scale().differences())
        assert (intervals.p_value(values, 5, 4) < 0.05) == (found.low > 0)


def test_degrees_of_freedom_by_hand():
    members = np.repeat(np.arange(12), 2)
    halves = np.stack([np.arange(24) % 2 == k for k in range(2)], axis=1)
    assert intervals.freedom(members, halves) == 11  # each group has both: never more than G - 1
    whole = np.stack([members < 4, members >= 4], axis=1)  # four groups are of the one class, eight of the other
    assert intervals.freedom(members, whole) == pytest.approx((1 / 4 + 1 / 8) ** 2 / (1 / 4**2 / 3 + 1 / 8**2 / 7))
    assert intervals.freedom(members, whole[:, :1]) == 3
    unlike = np.repeat(np.arange(12), [100] + [1] * 11)  # one group has nearly all images
    assert intervals.freedom(unlike, np.ones((111, 1), bool)) == 1


@pytest.mark.parametrize(
    ("groups", "carriers", "has"), [(5, 5, False), (6, 6, True), (12, 0, False), (12, 2, False), (12, 3, True)]
)
def test_degrees_of_freedom_of_too_few_groups_are_not_known(groups, carriers, has):
    members = np.repeat(np.arange(groups), 2)
    parts = np.stack([np.arange(2 * groups) % 2 == 0, (np.arange(2 * groups) % 2 == 1) & (members < carriers)], axis=1)
    assert np.isfinite(intervals.freedom(members, parts)) == has


def test_intervals_of_six_groups_hold_what_they_promise():
    """Of the mean of what groups score, as far as 600 runs can tell (standard error .009); percentiles hold .85."""
    rng, held, old = np.random.default_rng(0), [], []
    members = np.arange(6)
    free = intervals.freedom(members, np.ones((6, 1), bool))
    for _ in range(600):
        groups = rng.normal(0.5, 0.1, size=6)
        drawn = np.r_[groups.mean(), groups[rng.integers(6, size=(200, 6))].mean(1)]
        found = intervals.student(drawn, 6, free, Scale())
        held.append(found.low <= 0.5 <= found.high)
        low, high = np.quantile(drawn[1:], [0.025, 0.975])
        old.append(low <= 0.5 <= high)
    assert 0.92 <= np.mean(held) <= 0.98
    assert np.mean(old) < 0.9
