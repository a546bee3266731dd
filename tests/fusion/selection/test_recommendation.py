"""From opinions to depths and a set, and how steady that is."""

import numpy as np
import pytest

from fusion.evaluation import metrics
from fusion.selection import by_fold
from fusion.selection.nesting import Nested
from fusion.selection.recommendation import Inside, Panel, Recommendation, stability


def opinions(y, sure, seed):
    """Log-probabilities that are right by `sure`."""
    scores = np.random.default_rng(seed).normal(size=(len(y), 2)) + sure * np.eye(2)[y]
    return np.log(np.exp(scores) / np.exp(scores).sum(1, keepdims=True))


def panel(opinions, y, folds=4):
    return Panel(opinions, y, np.arange(len(y)) // 2 % folds)


def test_a_partner_is_taken_where_it_adds():
    y = np.tile(np.arange(2), 100)
    shared = opinions(y, 1.0, 0)
    even = np.ones(len(y))
    good = panel({"a": {0.5: shared, 1.0: opinions(y, 0.2, 3)}, "b": {1.0: opinions(y, 1.0, 1)}}, y)
    found = good.recommend(even)
    assert found.depths == {"a": 0.5, "b": 1.0}
    assert set(found.names) == {"a", "b"}
    assert found.auc > max(good.auc([("a", 0.5)], even), good.auc([("b", 1.0)], even))
    twin = panel({"a": {0.5: shared}, "b": {1.0: shared.copy()}}, y)
    assert twin.recommend(even).names == ["a"]
    noise = panel({"a": {0.5: opinions(y, 3.0, 0)}, "b": {1.0: opinions(y, 0.0, 1)}}, y)
    assert noise.recommend(even).names == ["a"]


def test_stability_is_the_share_of_draws_that_agree():
    y = np.tile(np.arange(2), 100)
    clear = panel({"a": {0.5: opinions(y, 3.0, 0), 1.0: opinions(y, 0.0, 1)}}, y)
    assert stability(clear, clear.recommend(np.ones(200)), None) == {"a": 1.0, "set": 1.0}
    even = panel({"a": {0.5: opinions(y, 1.0, 0), 1.0: opinions(y, 1.0, 1)}}, y)
    best = even.recommend(np.ones(200))
    shares = stability(even, best, None)
    assert 0.2 < shares["a"] < 1.0
    other = Recommendation({"a": 1.5 - best.depths["a"]}, ["a"], best.auc)
    assert stability(even, other, None)["a"] == pytest.approx(1 - shares["a"])
    grouped = stability(even, best, np.repeat(np.arange(4), 50))
    assert grouped != shares


def test_draws_without_a_fold_or_a_class_of_it_are_judged_by_the_others():
    """Each group is a fold, so that most draws lack one."""
    y, groups = np.tile(np.arange(2), 20), np.repeat(np.arange(4), 10)
    judges = Panel({"a": {0.5: opinions(y, 6.0, 0), 1.0: opinions(y, 0.0, 1)}}, y, groups)
    assert stability(judges, judges.recommend(np.ones(40)), groups) == {"a": 1.0, "set": 1.0}


def test_ties_go_to_the_shallower_depth():
    y = np.tile(np.arange(2), 20)
    same = opinions(y, 1.0, 0)
    assert panel({"a": {1.0: same, 0.5: same}}, y).recommend(np.ones(40)).depths == {"a": 0.5}


def test_the_pair_is_judged_as_the_head_mean_judges():
    y = np.tile(np.arange(3), 20)
    logs = [np.log(np.random.default_rng(seed).dirichlet([1, 1, 1], 60)) for seed in (0, 1)]
    judges = panel({"a": {1.0: logs[0]}, "b": {1.0: logs[1]}}, y, folds=1)
    both = np.exp(logs[0] / 2 + logs[1] / 2)
    expected = metrics.auc_of(y, np.log(both / both.sum(1, keepdims=True)))
    assert judges.auc([("a", 1.0), ("b", 1.0)], np.ones(60)) == pytest.approx(expected)
    assert abs(metrics.auc_of(y, np.log(both)) - expected) > 1e-4


def inside(sure, y, folds=3, seed=0):
    """Of one encoder per row of `sure`, with a depth per column: how right each is in each fold, and without it."""
    fold = np.arange(len(y)) // 2 % folds
    split = [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(folds)]
    found, short = {}, {}
    for e, row in enumerate(sure):
        own = {}
        for d, by_fold_ in enumerate(row):
            said = opinions(y, np.array(by_fold_)[fold][:, None], seed + 10 * e + d)
            own[float(d)] = Nested(said, {i: np.where((fold != i)[:, None], said, np.nan) for i in range(folds)})
        found[f"e{e}"], short[f"e{e}"] = own, [set(own)] * folds
    return Inside(found, short, y, split), fold


def test_what_is_chosen_inside_a_fold_is_judged_on_it():
    """A depth that is best because of one fold is not chosen for that fold."""
    y = np.tile(np.arange(2), 600)
    judged, fold = inside([[[1, 1, 1], [8, 0.8, 0.8]]], y)
    assert [found.depths["e0"] for found in judged.chosen] == [0.0, 1.0, 1.0]
    answers = judged.recommended()
    for i, depth in enumerate([0.0, 1.0, 1.0]):
        np.testing.assert_allclose(answers[fold == i], judged.outer.opinions["e0"][depth][fold == i])
    areas = [metrics.auc_of(y[fold == i], answers[fold == i]) for i in range(3)]
    assert judged.auc(answers) == pytest.approx(np.mean(areas))
    assert judged.spread(answers) == pytest.approx(np.std(areas, ddof=1) * np.sqrt(1 / 3 + 1 / 2))
    assert judged.auc(answers) < judged.outer.recommend(np.ones(1200)).auc - 0.03


def test_a_pair_and_the_better_of_both_are_chosen_inside_the_folds():
    y = np.tile(np.arange(2), 600)
    judged, fold = inside([[[0, 0, 0], [0.4, 0.4, 0.4]], [[8, 0, 0], [0, 0.2, 0.2]]], y)
    assert [found.depths for found in judged.chosen] == [{"e0": 1.0, "e1": d} for d in (1.0, 0.0, 0.0)]
    both, better = judged.together(["e0", "e1"]), judged.better(["e0", "e1"])
    own = judged.outer.opinions
    for i, (depth, best) in enumerate([(1.0, own["e0"][1.0]), (0.0, own["e1"][0.0]), (0.0, own["e1"][0.0])]):
        rows = fold == i
        expected = judged.outer.mean([("e0", 1.0), ("e1", depth)])
        np.testing.assert_allclose(both[rows], expected[rows])
        np.testing.assert_allclose(better[rows], best[rows])


def test_depths_off_the_short_list_of_a_fold_are_not_chosen_for_it():
    y, fold = np.tile(np.arange(2), 60), np.arange(120) // 2 % 3
    split = [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(3)]
    weak, strong = (Nested(opinions(y, sure, 0), dict.fromkeys(range(3), opinions(y, sure, 0))) for sure in (0.5, 4))
    judged = Inside({"a": {0.5: weak, 1.0: strong}}, {"a": [{0.5}, {0.5, 1.0}, {1.0}]}, y, split)
    assert [found.depths["a"] for found in judged.chosen] == [0.5, 1.0, 1.0]
    assert judged.auc(judged.recommended()) < by_fold.auc(y, strong.outer, fold)(np.ones(120))


@pytest.mark.parametrize("candidates", [(2, 8), (4, 4)])
def test_the_best_of_many_that_know_nothing_is_chance(candidates):
    y = np.tile(np.arange(2), 30)
    scans = [inside(np.zeros((*candidates, 5)), y, folds=5, seed=10**6 + 100 * seed)[0] for seed in range(40)]
    honest = [one.auc(one.recommended()) for one in scans]
    assert abs(np.mean(honest) - 0.5) < 2 * np.std(honest, ddof=1) / np.sqrt(40)
    assert np.mean([one.outer.recommend(np.ones(60)).auc for one in scans]) > 0.6  # what was reported once
    names = [f"e{e}" for e in range(2)]
    gains = [one.auc(one.together(names)) - one.auc(one.better(names)) for one in scans]
    assert abs(np.mean(gains)) < 2 * np.std(gains, ddof=1) / np.sqrt(40)


def test_one_is_taken_even_where_all_are_always_wrong():
    y = np.tile(np.arange(2), 10)
    wrong = np.log(np.where(np.eye(2)[y] == 1, 0.1, 0.9))
    assert panel({"a": {0.5: wrong}, "b": {1.0: wrong.copy()}}, y).recommend(np.ones(len(y))).names == ["a"]
