"""The linear probe, and its opinions out of fold."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from fusion.heads import probe as probe_


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
    for seen in (y < 3, y < 2):
        proba = probe_.fit_probe(x[seen], y[seen], 4, 0.1).log_proba(x)
        assert proba.shape == (240, 4)
        assert (proba[:, 3] < -8).all()
        assert np.isfinite(proba).all()


def test_out_of_fold_predictions_do_not_see_their_group(problem):
    (x, _), y, folds, groups = problem
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
    leaky = np.concatenate([x, np.eye(240)], axis=1)
    held = probe_.out_of_fold(leaky, y, folds, 10.0)
    assert np.isfinite(held).all()
    assert (held.argmax(1) == y).mean() < (probe_.fit_probe(leaky, y, 4, 10.0).log_proba(leaky).argmax(1) == y).mean()


def test_the_penalty_with_the_best_out_of_fold_auc_is_chosen(problem):
    (x, _), y, folds, _ = problem
    chosen = probe_.choose_penalty(x, y, folds)
    figures = {c: probe_.auc_of(y, probe_.out_of_fold(x, y, folds, c)) for c in probe_.GRID}
    assert figures[chosen] == max(figures.values())
