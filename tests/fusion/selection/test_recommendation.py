"""From opinions to depths and a set, and how steady that is."""

import numpy as np
import pytest

import fusion
from fusion.data import folds as folds_
from fusion.evaluation import metrics
from fusion.features import extract
from fusion.heads import probe as probe_
from fusion.selection import recommendation
from fusion.selection.recommendation import Bench, Recommendation, stability
from tests.fusion.selection.small_task import TRAIN


def test_nested_chooses_the_penalty_of_a_fold_without_it():
    """By hand, with fits that share nothing."""
    x = extract.extract(fusion.selection.scan.zoo.load("mae-mini", 0.25), TRAIN.images)
    y = np.unique(TRAIN.labels, return_inverse=True)[1]
    folds = folds_.folds(y, TRAIN.groups, 4, 0)
    found = recommendation.nested(x, y, folds)
    for k, (train, test) in enumerate(folds):
        inner = []
        for penalty in probe_.GRID:
            opinions = np.full((len(y), 6), np.nan)
            for j, (_, held) in enumerate(folds):
                if j != k:
                    rest = np.setdiff1d(train, held)
                    probe = probe_.fit_probe(x[rest], y[rest], 6, penalty, tolerance=recommendation.ROUGH)
                    opinions[held] = probe.opinions(x[held])
            inner.append(metrics.auc(y[train], np.exp(opinions[train]))(np.ones(len(train))))
        best = probe_.GRID[int(np.argmax(inner))]
        expected = probe_.fit_probe(x[train], y[train], 6, best).opinions(x[test])
        np.testing.assert_allclose(found[test], expected, atol=1e-6)


def test_nested_does_not_find_what_is_not_there():
    """Many features of noise: choosing on the judged folds would look better than chance."""
    rng = np.random.default_rng(0)
    y = np.tile(np.arange(2), 30)
    found = []
    for _ in range(10):
        x = rng.normal(size=(60, 30))
        found.append(probe_.auc_of(y, recommendation.nested(x, y, folds_.folds(y, None, 5, 0))))
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


def opinions(y, sure, seed):
    """Log-probabilities that are right by `sure`."""
    scores = np.random.default_rng(seed).normal(size=(len(y), 2)) + sure * np.eye(2)[y]
    return np.log(np.exp(scores) / np.exp(scores).sum(1, keepdims=True))


def test_a_partner_is_taken_where_it_adds():
    y = np.tile(np.arange(2), 100)
    shared = opinions(y, 1.0, 0)
    even = np.ones(len(y))
    good = Bench({"a": {0.5: shared, 1.0: opinions(y, 0.2, 3)}, "b": {1.0: opinions(y, 1.0, 1)}}, y)
    found = good.recommend(even)
    assert found.depths == {"a": 0.5, "b": 1.0}
    assert set(found.names) == {"a", "b"}
    assert found.auc > max(good.auc([("a", 0.5)], even), good.auc([("b", 1.0)], even))
    twin = Bench({"a": {0.5: shared}, "b": {1.0: shared.copy()}}, y)
    assert twin.recommend(even).names == ["a"]
    noise = Bench({"a": {0.5: opinions(y, 3.0, 0)}, "b": {1.0: opinions(y, 0.0, 1)}}, y)
    assert noise.recommend(even).names == ["a"]


def test_stability_is_the_share_of_draws_that_agree():
    y = np.tile(np.arange(2), 100)
    clear = Bench({"a": {0.5: opinions(y, 3.0, 0), 1.0: opinions(y, 0.0, 1)}}, y)
    assert stability(clear, clear.recommend(np.ones(200)), None) == {"a": 1.0, "set": 1.0}
    even = Bench({"a": {0.5: opinions(y, 1.0, 0), 1.0: opinions(y, 1.0, 1)}}, y)
    best = even.recommend(np.ones(200))
    shares = stability(even, best, None)
    assert 0.2 < shares["a"] < 1.0
    other = Recommendation({"a": 1.5 - best.depths["a"]}, ["a"], best.auc)
    assert stability(even, other, None)["a"] == pytest.approx(1 - shares["a"])
    grouped = stability(even, best, np.repeat(np.arange(4), 50))
    assert grouped != shares


def test_ties_go_to_the_shallower_depth():
    y = np.tile(np.arange(2), 20)
    same = opinions(y, 1.0, 0)
    assert Bench({"a": {1.0: same, 0.5: same}}, y).recommend(np.ones(40)).depths == {"a": 0.5}


def test_the_pair_is_judged_as_the_head_mean_judges():
    """By a fold of its own, with the penalty that the head chooses."""
    y = np.tile(np.arange(3), 20)
    logs = [np.log(np.random.default_rng(seed).dirichlet([1, 1, 1], 60)) for seed in (0, 1)]
    bench = Bench({"a": {1.0: logs[0]}, "b": {1.0: logs[1]}}, y)
    both = np.exp(logs[0] / 2 + logs[1] / 2)
    expected = probe_.auc_of(y, np.log(both / both.sum(1, keepdims=True)))
    assert bench.auc([("a", 1.0), ("b", 1.0)], np.ones(60)) == pytest.approx(expected)
    assert abs(probe_.auc_of(y, np.log(both)) - expected) > 1e-4
