"""Heads solved to their optimum."""

import numpy as np
import pytest
from scipy.special import log_softmax

from fusion.heads import probe as probe_
from fusion.heads import solved
from fusion.heads.probe import OutOfFold
from fusion.heads.solved import SOLVED


def test_a_penalty_per_block_is_the_stated_objective(problem):
    blocks, y, folds, _ = problem
    head = solved.SolvedConcat().fit(blocks, y, folds, [1.0, 0.01])
    z = np.concatenate([(b - b.mean(0)) / b.std(0) for b in blocks], 1)
    penalty = np.repeat([1 / 1.0, 1 / 0.01], [6, 40])
    weight, bias = head.probe.weight, head.probe.bias
    residual = np.exp(log_softmax(z @ weight.T + bias, 1)) - np.eye(4)[y]  # balanced classes: every weight is 1
    np.testing.assert_allclose(residual.T @ z + penalty * weight, 0, atol=0.1)
    np.testing.assert_allclose(residual.sum(0), 0, atol=0.1)


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
    folded = OutOfFold(twice, y, folds)
    held = np.stack([folded.alone(e, 0.1) for e in range(2)])

    def loss(first, second):
        return probe_.log_loss(y, probe_.normalised(first * held[0] + second * held[1], False))

    assert loss(*head.weights) <= min(loss(w, 1 - w) for w in np.linspace(0, 1, 101)) + 1e-5


def test_convex_does_not_cool_by_noise():
    """Few images and a weak penalty: opinions too sure of themselves, which the loss would mix with noise."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x, noise = rng.normal(size=(60, 40)) + 0.9 * np.eye(3, 40)[y], rng.normal(size=(60, 256))
    folds = [
        (np.flatnonzero(np.arange(60) // 3 % 4 != k), np.flatnonzero(np.arange(60) // 3 % 4 == k)) for k in range(4)
    ]
    alone = SOLVED["convex"]().fit([x], y, folds, None).strengths
    cooled = SOLVED["convex"]().fit([x, noise], y, folds, [*alone, 0.01])
    assert cooled.weights[1] > 0.1
    found = SOLVED["convex"]().fit([x, noise], y, folds, None)
    assert found.strengths == (*alone, 0)
    assert found.weights.tolist() == [1, 0]
    np.testing.assert_allclose(found.log_proba([None, noise]), found.probes[1].log_proba(noise), atol=1e-6)


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
