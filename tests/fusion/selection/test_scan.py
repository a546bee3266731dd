"""Which encoders to fuse, cut where: judged on images that no probe has seen."""

import numpy as np
import pytest

import fusion
import zoo
from fusion.data import folds as folds_
from fusion.selection import nesting
from fusion.selection import scan as scan_
from fusion.selection.scan import scan
from fusion.tuning import network
from tests.fusion.selection.small_task import TRAIN, best_of, noise
from tests.small_fits import own


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
    assert 0.5 < scanned.auc < 1
    assert 0 < scanned.spread < 0.1
    (pair,) = scanned.pairs
    assert 0.5 < pair.auc < 1
    assert -0.2 < pair.gain < 0.2
    assert pair.cka.low < pair.cka.value < min(1, pair.cka.high)
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
    network.disown(tuned)
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
    for module in (scan_, nesting):
        monkeypatch.setattr(module, "logme", lambda x, y: x.shape[1])  # any three depths
    found = scan(["mocov2-mini@0.5", "mae-mini@0.5"], TRAIN.images, TRAIN.labels, groups, folds=3)
    (pair,) = found.pairs
    assert 0 < pair.cka.value < 1
    assert np.isnan([pair.cka.low, pair.cka.high]).all()
    assert -1 <= pair.kappa.value <= 1
    assert np.isnan(pair.kappa.low) == (len(np.unique(groups)) < 4)
    assert found.folds == 3


def test_few_images_whose_folds_lack_a_class_are_judged():
    few = fusion.brain_regions("train", labels=60)
    found = scan(["mae-mini@0.125"], few.images, few.labels, few.groups, folds=3)
    assert 0.5 < found.levels[0].auc < 1


def test_noise_is_about_chance():
    """The best of many on the same images would be above it; tests/benchmarks/test_select.py measures by how much."""
    found = [noise((3, 3), seed, count=48, folds=3) for seed in range(4)]
    aucs = [one.auc for one in found]
    assert abs(np.mean(aucs) - 0.5) < 2 * np.std(aucs, ddof=1) / np.sqrt(4)
    assert np.mean([best_of(one) for one in found]) > np.mean(aucs) + 0.05


def test_what_is_said_of_a_fold_does_not_hang_on_its_labels():
    """Short list, penalties, depths and set: all of them are chosen without it."""
    rng = np.random.default_rng(0)
    y = np.tile(np.arange(2), 15)
    folds = folds_.folds(y, None, 3, 0)
    blocks = {name: [rng.normal(size=(30, 6)) + signal * y[:, None] for signal in (0, 0.2, 0.1, 0)] for name in "ab"}
    depths, short = dict.fromkeys(blocks, (0.25, 0.5, 0.75, 1.0)), {name: {0, 1, 2} for name in blocks}
    wrong, held = y.copy(), folds[0][1]
    wrong[held] = 1 - y[held]
    first, second = (scan_._probed(blocks, depths, short, known, folds, 1) for known in (y, wrong))
    assert first.chosen[0] == second.chosen[0]
    np.testing.assert_array_equal(first.recommended()[held], second.recommended()[held])
    np.testing.assert_array_equal(first.better("ab")[held], second.better("ab")[held])
    assert first.chosen[1:] != second.chosen[1:]


def test_where_no_fold_has_two_classes_all_are_judged_together():
    """As with patients of one class each, and as many folds."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(6), 5)
    y = groups % 2
    blocks = {"a": [rng.normal(size=(30, 4)) + 2 * y[:, None], rng.normal(size=(30, 4))]}
    found = scan_._judged(blocks, {"a": (0.5, 1.0)}, y, groups, folds_.folds(y, groups, 6, 0), np.arange(len(y)))
    assert found.recommended == ["a@0.5"]
    assert found.auc > 0.9
    assert np.isnan(found.spread)


def test_it_judges_on_shifted_copies_where_asked(monkeypatch):
    seen = []
    judged = scan_._judged
    monkeypatch.setattr(scan_, "_judged", lambda *given: seen.append(given) or judged(*given))
    some = TRAIN.take(np.arange(0, len(TRAIN.labels), 3))
    found = scan(["mae-mini@0.25"], some.images, some.labels, folds=3, select="shifted")
    assert 0.5 < found.auc < 1
    _, _, y, groups, split, plain = seen[0]
    assert plain.tolist() == list(range(len(some.labels)))
    assert y.tolist() == np.tile(np.unique(some.labels, return_inverse=True)[1], 6).tolist()
    assert not any(set(groups[train]) & set(groups[test]) for train, test in split)
    assert len(set(groups)) == len(some.labels)


def test_auto_scans_as_it_fits():
    some = TRAIN.take(np.arange(0, len(TRAIN.labels), 3))
    model = fusion.FusionClassifier(
        "auto", candidates=["mae-mini@0.25"], folds=3, C=0.1, select="shifted", compare_baselines=False
    )
    model.fit(some.images, some.labels)
    wanted = scan(["mae-mini@0.25"], some.images, some.labels, folds=3, select="shifted")
    assert model.scan_.auc == pytest.approx(wanted.auc, abs=1e-6)


def test_copies_do_not_make_encoders_look_alike():
    some = TRAIN.take(np.arange(0, len(TRAIN.labels), 3))
    names = ["mae-mini@0.125", "mocov2-mini@0.125"]
    clean, shifted = (scan(names, some.images, some.labels, folds=3, select=way) for way in ("clean", "shifted"))
    assert shifted.select == "shifted"
    assert clean.depths == shifted.depths  # there is one
    assert shifted.pairs[0].cka.value == pytest.approx(clean.pairs[0].cka.value, abs=1e-4)
    assert shifted.pairs[0].cka.high - shifted.pairs[0].cka.low == pytest.approx(
        clean.pairs[0].cka.high - clean.pairs[0].cka.low, abs=1e-3
    )


def test_copies_count_as_much_less_as_there_are(monkeypatch):
    monkeypatch.setattr(nesting, "GRID", (0.1,))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 4)), np.arange(60) % 2
    x[y == 1, 0] += 1
    folds = folds_.folds(y, None, 3, 0)
    rows = np.tile(np.arange(60), 6)
    once = nesting.nested(x, y, folds)
    copied = nesting.nested(x[rows], y[rows], folds_.of_copies(folds, rows), copies=6)
    np.testing.assert_allclose(copied.outer[:60], once.outer, atol=1e-3)
