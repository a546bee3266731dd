import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from fusion.heads import probe as probe_
from fusion.heads import solved
from fusion.heads.solved import SOLVED


@pytest.fixture
def problem():
    """Two encoders, the second of pure noise; four classes, ten groups."""
    rng = np.random.default_rng(0)
    y = np.arange(240) % 4
    good = rng.normal(size=(240, 6)) + 1.5 * np.eye(4, 6)[y]
    noise = rng.normal(size=(240, 40)) * 30 + 5
    groups = rng.integers(10, size=240)
    folds = list(StratifiedGroupKFold(4, shuffle=True, random_state=0).split(y, y, groups))
    return [good, noise], y, folds, groups


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


def test_a_penalty_per_block_is_the_stated_objective(problem):
    blocks, y, folds, _ = problem
    head = solved.SolvedConcat().fit(blocks, y, folds, [1.0, 0.01])
    z = np.concatenate([(b - b.mean(0)) / b.std(0) for b in blocks], 1)
    penalty = np.repeat([1 / 1.0, 1 / 0.01], [6, 40])
    weight, bias = head.probe.weight, head.probe.bias
    residual = np.exp(log_softmax(z @ weight.T + bias, 1)) - np.eye(4)[y]  # balanced classes: every weight is 1
    np.testing.assert_allclose(residual.T @ z + penalty * weight, 0, atol=0.1)
    np.testing.assert_allclose(residual.sum(0), 0, atol=0.1)


def test_out_of_fold_predictions_do_not_see_their_group(problem):
    (x, _), y, folds, groups = problem
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
    leaky = np.concatenate([x, np.eye(240)], axis=1)
    held = probe_.out_of_fold(leaky, y, folds, 10.0)
    assert np.isfinite(held).all()
    assert (held.argmax(1) == y).mean() < (probe_.fit_probe(leaky, y, 4, 10.0).log_proba(leaky).argmax(1) == y).mean()


def test_convex_weights_ignore_a_partner_that_does_not_help(problem):
    blocks, y, folds, _ = problem
    head = solved.SolvedConvex().fit(blocks, y, folds, [0.1, 0.1])
    assert head.weights.min() >= 0
    assert head.weights.sum() == pytest.approx(1)
    assert head.weights[0] > 0.9
    assert solved.SolvedMean().fit(blocks, y, folds, [0.1, 0.1]).weights.tolist() == [0.5, 0.5]


def test_convex_weights_are_the_best_on_the_simplex(problem):
    blocks, y, folds, _ = problem
    twice = [blocks[0][:, :2], blocks[0][:, 2:]]
    head = solved.SolvedConvex().fit(twice, y, folds, [0.1, 0.1])
    held = np.stack([probe_.out_of_fold(x, y, folds, 0.1) for x in twice])

    def loss(first, second):
        return probe_.log_loss(y, probe_.normalised(first * held[0] + second * held[1], False))

    assert loss(*head.weights) <= min(loss(w, 1 - w) for w in np.linspace(0, 1, 101)) + 1e-5


@pytest.mark.parametrize("name", SOLVED)
def test_every_head_learns_and_survives_its_arrays(name, problem):
    blocks, y, folds, _ = problem
    head = SOLVED[name]().fit(blocks, y, folds, None)
    proba = np.exp(head.log_proba(blocks))
    assert proba.shape == (240, 4)
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-3)
    assert (proba.argmax(1) == y).mean() > 0.6
    again = SOLVED[name].restore(head.arrays())
    np.testing.assert_array_equal(again.log_proba(blocks), head.log_proba(blocks))


@pytest.mark.parametrize("name", SOLVED)
def test_a_head_that_was_not_fitted_says_so(name, problem):
    with pytest.raises(ValueError, match="head must be fitted before it predicts"):
        SOLVED[name]().log_proba(problem[0])


def test_the_penalty_with_the_best_out_of_fold_auc_is_chosen(problem):
    (x, _), y, folds, _ = problem
    chosen = probe_.choose_penalty(x, y, folds)
    figures = {c: probe_.auc_of(y, probe_.out_of_fold(x, y, folds, c)) for c in probe_.GRID}
    assert figures[chosen] == max(figures.values())
