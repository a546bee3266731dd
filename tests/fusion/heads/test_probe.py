"""The linear probe, and its opinions out of fold."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fusion.evaluation.metrics import auc_of
from fusion.heads import probe as probe_
from fusion.heads.losses import Weighting
from fusion.heads.probe import OutOfFold
from fusion.heads.solved import SOLVED


def test_a_probe_is_scikit_learns_optimum(problem):
    (x, _), y, _, _ = problem
    probe = probe_.fit_probe(x, y, 4, 0.1)
    z = (x - x.mean(0)) / x.std(0)
    reference = LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000).fit(z, y)
    np.testing.assert_allclose(np.exp(probe.log_proba(x)), reference.predict_proba(z), atol=1e-3)


def test_a_probe_of_two_classes(problem):
    (x, _), y, _, _ = problem
    z = (x - x.mean(0)) / x.std(0)
    reference = LogisticRegression(C=0.1, class_weight="balanced").fit(z, y % 2)
    found = probe_.fit_probe(x, y % 2, 2, 0.1).log_proba(x)
    np.testing.assert_allclose(np.exp(found), reference.predict_proba(z), atol=1e-3)


def test_a_class_that_was_not_seen_gets_the_floor(problem):
    (x, _), y, _, _ = problem
    for seen in (y < 3, y < 2, y < 1):
        proba = probe_.fit_probe(x[seen], y[seen], 4, 0.1).log_proba(x)
        assert proba.shape == (240, 4)
        assert (proba[:, 3] < -8).all()
        assert np.isfinite(proba).all()


def test_answers_are_those_of_probes_that_have_not_seen_the_group(problem, monkeypatch):
    monkeypatch.setattr(probe_, "ROUGH", 1e-6)
    (x, other), y, folds, groups = problem
    wide = np.concatenate([x, np.eye(240)], axis=1)  # more columns than rows to fit on
    folded = OutOfFold([wide, other], y, folds)
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
        own = probe_.fit_probe(wide[train], y[train], 4, 0.1, tolerance=1e-6).log_proba(wide[test])
        np.testing.assert_allclose(folded.alone(0, 0.1)[test], own, atol=2e-3)
        both, stretch = (
            np.concatenate([wide, other], axis=1),
            np.repeat(np.sqrt([0.1, 10]), [wide.shape[1], other.shape[1]]),
        )
        own = probe_.fit_probe(both[train], y[train], 4, 1.0, stretch, tolerance=1e-6).log_proba(both[test])
        np.testing.assert_allclose(folded.together((0.1, 10.0))[test], own, atol=2e-2)


def test_labels_and_weights_reach_the_fits(problem):
    (x, _), y, folds, _ = problem
    labels = np.stack([y < 2, y % 2 == 0], axis=1).astype(np.int64)
    assert OutOfFold([x], labels, folds).alone(0, 0.1).shape == (240, 2)
    weighting = Weighting(balanced=False, images=(np.arange(240) % 3).astype(np.float64))
    assert not np.allclose(
        OutOfFold([x], y, folds, weighting).alone(0, 0.1), OutOfFold([x], y, folds).alone(0, 0.1), atol=1e-3
    )


def test_the_strength_of_a_block_alone_is_the_one_with_the_best_auc(problem):
    (x, _), y, folds, _ = problem
    folded = OutOfFold([x], y, folds)
    figures = {c: auc_of(y, folded.alone(0, c)) for c in probe_.GRID}
    assert figures[folded.best_alone()[0]] == max(figures.values())
    assert probe_.choose(folded, lambda _: 0.0) == (folded.best_alone()[0],)


def test_blocks_that_say_the_same_share_the_strength_of_one(problem):
    (x, _), y, folds, _ = problem
    folded = OutOfFold([x] * 4, y, folds)
    both = folded.together((0.25,) * 4, 1e-6), folded.alone(0, 1.0, 1e-6)
    np.testing.assert_allclose(*both, atol=1e-2)
    assert probe_.shared((1.0, 0.5, 0.0, 2.0)) == (1 / 3, 0.5 / 3, 0.0, 2 / 3)
    assert probe_.shared((3.0,)) == (3.0,)
    eight, alone = (SOLVED["concat"]().fit([x] * count, y, folds, None) for count in (8, 1))
    assert eight.strengths == (alone.strengths[0] / 8,) * 8
    np.testing.assert_allclose(eight.log_proba([x] * 8), alone.log_proba([x]), atol=0.05)


@pytest.mark.parametrize("head", ["concat", "mean"])
def test_a_partner_of_noise_is_left_out_and_a_good_one_is_kept(head, problem):
    (x, _), y, folds, _ = problem
    noise = np.random.default_rng(0).normal(size=(240, 512))
    found = SOLVED[head]().fit([x, noise], y, folds, None)
    assert found.strengths[0] > 0
    assert found.strengths[1] == 0
    np.testing.assert_allclose(found.log_proba([x, noise]), found.log_proba([x, noise[::-1]]), atol=1e-9)
    halves = [x[:, :2], x[:, 2:]]
    assert all(c > 0 for c in SOLVED[head]().fit(halves, y, folds, None).strengths)
