"""Which encoders to fuse, cut where: judged on images that no probe has seen."""

import numpy as np
import pytest

import fusion
import zoo
from fusion.data import folds as folds_
from fusion.estimators import saving
from fusion.evaluation import metrics
from fusion.features import extract
from fusion.heads import probe as probe_
from fusion.selection import recommendation
from fusion.selection import scan as scan_
from fusion.selection.recommendation import Bench, Recommendation, stability
from fusion.selection.scan import scan
from tests.small_fits import own

TRAIN = fusion.brain_regions("train", labels=180)


@pytest.fixture(scope="module")
def scanned():
    return scan(scan_.EMBEDDED, TRAIN.images, TRAIN.labels, TRAIN.groups)


def test_every_depth_is_judged_and_three_are_probed(scanned):
    for name in scan_.EMBEDDED:
        levels = [level for level in scanned.levels if level.encoder == name]
        assert [level.depth for level in levels] == [k / 8 for k in range(1, 9)]
        best = sorted(levels, key=lambda level: -level.logme)[:3]
        assert {level.depth for level in levels if level.auc is not None} == {level.depth for level in best}
        assert scanned.depths[name] == max(best, key=lambda level: level.auc).depth
        assert all(0.5 < level.knn < 1 for level in levels)


def test_the_recommendation_is_of_the_probed_depths(scanned):
    assert set(scanned.recommended) <= {f"{name}@{depth:g}" for name, depth in scanned.depths.items()}
    singles = [max(lv.auc for lv in scanned.levels if lv.encoder == n and lv.auc) for n in scan_.EMBEDDED]
    assert scanned.auc >= max(singles)
    (pair,) = scanned.pairs
    assert pair.gain == pytest.approx(pair.auc - max(singles))
    assert (len(scanned.recommended) == 2) == (pair.gain > 0)
    assert pair.cka.low < pair.cka.value < pair.cka.high < 1
    assert -1 <= pair.kappa.value <= 1
    assert set(scanned.stability) == {*scan_.EMBEDDED, "set"}
    assert all(0 <= share <= 1 for share in scanned.stability.values())
    assert 0.5 < scanned.concat < 1


def test_levels_are_those_of_truncated_encoders(scanned):
    """The one pass says the same as a scan of the encoder cut there."""
    alone = scan(["mae-mini@0.25"], TRAIN.images, TRAIN.labels, TRAIN.groups)
    whole = {level.depth: level for level in scanned.levels if level.encoder == "mae-mini"}
    assert [level.depth for level in alone.levels] == [0.125, 0.25]
    for level in alone.levels:
        assert level.logme == pytest.approx(whole[level.depth].logme, abs=1e-4)
        assert level.knn == pytest.approx(whole[level.depth].knn, abs=0.01)
    assert alone.pairs == []
    assert len(alone.recommended) == 1


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


def test_an_encoder_object_is_scanned_as_it_is(tmp_path):
    encoder = own(tmp_path, depth=0.5)
    found = scan([encoder], TRAIN.images, TRAIN.labels, folds=3)
    assert [level.depth for level in found.levels] == [0.125, 0.25, 0.375, 0.5]
    assert found.recommended[0].startswith("tiny@")


def test_what_no_name_loads_is_not_recommended_by_one_that_does():
    control = zoo.untrained("mae-mini", 0.25)
    found = scan([control, "mae-mini@0.25"], TRAIN.images, TRAIN.labels, folds=3)
    assert set(found.depths) == {"untrained-mae-mini#0", "mae-mini"}
    tuned = zoo.load("mae-mini", 0.25)
    saving.disown(tuned)
    assert set(scan([tuned], TRAIN.images, TRAIN.labels, folds=3).depths) == {"mae-mini, fine-tuned"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoders": ["mae-mini", "mae-mini@0.5"]}, "encoders must be given once each"),
        ({"labels": TRAIN.labels[:-1]}, "one label per image"),
        ({"labels": np.r_[["rare"] * 4, TRAIN.labels[4:]]}, "folds must be from 2"),
        ({"labels": np.eye(2, dtype=int)[np.arange(180) % 2]}, "one per image to select"),
        ({"groups": TRAIN.groups[:-1]}, "groups must be one per image"),
        ({"groups": np.arange(180) % 3}, "folds must not exceed the groups"),
        ({"folds": 2}, r"folds must be at least 3 \(got 2\)"),
        ({"encoders": "mae-mini"}, "must be a list of names or encoders .*'mae-mini'"),
        ({"encoders": []}, "must be a list of names or encoders"),
        ({"labels": np.r_[["rare"] * 2, TRAIN.labels[2:]]}, r"3 images of each class \(got 2 of 'rare'\)"),
        ({"labels": np.arange(180) % 12 < 2, "groups": np.arange(180) % 12}, "of three at least for each class"),
    ],
)
def test_bad_input(change, said):
    given = {"encoders": ["mae-mini"], "labels": TRAIN.labels, "groups": TRAIN.groups, "folds": 5, **change}
    with pytest.raises(ValueError, match=said):
        scan(given.pop("encoders"), TRAIN.images, **given)


@pytest.mark.parametrize("groups", [np.arange(180) % 3, np.r_[np.arange(3), 3 + np.arange(177) % 3]])
def test_few_patients_or_few_images_of_some_give_no_interval(groups, monkeypatch):
    """Never one of images that are taken for independent."""
    monkeypatch.setattr(scan_, "logme", lambda x, y: x.shape[1])  # any three depths
    found = scan(["mocov2-mini@0.5", "mae-mini@0.5"], TRAIN.images, TRAIN.labels, groups, folds=3)
    (pair,) = found.pairs
    assert 0 < pair.cka.value < 1
    assert np.isnan([pair.cka.low, pair.cka.high]).all()
    assert -1 <= pair.kappa.value <= 1
    assert np.isnan(pair.kappa.low) == (len(np.unique(groups)) < 4)
    assert found.folds == 3


def test_the_pair_is_judged_as_the_head_mean_judges():
    """By a fold of its own, with the penalty that the head chooses."""
    y = np.tile(np.arange(3), 20)
    logs = [np.log(np.random.default_rng(seed).dirichlet([1, 1, 1], 60)) for seed in (0, 1)]
    bench = Bench({"a": {1.0: logs[0]}, "b": {1.0: logs[1]}}, y)
    both = np.exp(logs[0] / 2 + logs[1] / 2)
    expected = probe_.auc_of(y, np.log(both / both.sum(1, keepdims=True)))
    assert bench.auc([("a", 1.0), ("b", 1.0)], np.ones(60)) == pytest.approx(expected)
    assert abs(probe_.auc_of(y, np.log(both)) - expected) > 1e-4


def test_few_images_whose_folds_lack_a_class_are_judged():
    few = fusion.brain_regions("train", labels=60)
    found = scan(["mae-mini@0.125"], few.images, few.labels, few.groups, folds=3)
    assert 0.5 < found.levels[0].auc < 1
    y = np.repeat(np.arange(4), 4)
    x = np.random.default_rng(0).normal(size=(16, 3)) + 3 * np.eye(4)[y][:, :3]
    by_class = [(np.setdiff1d(np.arange(16), held), held) for held in np.arange(16).reshape(4, 4)]
    assert np.isfinite(recommendation.nested(x, y, by_class)).all()
