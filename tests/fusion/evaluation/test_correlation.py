"""Whether similarity goes with gain."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy.stats import pearsonr, spearmanr, t

from fusion.evaluation.correlation import correlation, gain
from tests.conftest import ROOT
from tests.fusion.evaluation.small_answers import SEEDS, ends, width


def scattered(seed, groups=7, per=5, r=0.5, within=0.2):
    """Points whose part `1 - within` is that of their group, with correlation `r` in both parts."""
    rng = np.random.default_rng(seed)
    mixed = np.linalg.cholesky([[1, r], [r, 1]]).T
    shared = (rng.normal(size=(groups, 2)) @ mixed).repeat(per, axis=0)
    own = rng.normal(size=(groups * per, 2)) @ mixed
    x, y = (np.sqrt(1 - within) * shared + np.sqrt(within) * own).T
    return x, y, np.arange(groups).repeat(per)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, groups=some.integers(4, 9), r=some.floats(-0.95, 0.95))
def test_correlations_are_scipys(seed, groups, r):
    x, y, _ = scattered(seed, groups, 3, r)
    found = correlation(x, y)
    expected = pearsonr(x, y)
    assert found.pearson.value == pytest.approx(expected.statistic)
    assert ends(found.pearson) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.spearman.value == pytest.approx(spearmanr(x, y).statistic)
    assert (found.points, found.groups) == (3 * groups, 3 * groups)


def test_spearmans_interval_is_that_of_bonett():
    # The example of ci.spear in Bonett's R package statpsych, with its result.
    x = [67, 28, 30, 28, 52, 40, 25, 37, 44, 10, 14, 20, 28, 40, 51]
    y = [21, 4, 9, 12, 35, 18, 10, 22, 24, 1, 6, 8, 13, 16, 19]
    found = correlation(x, y).spearman
    assert (found.value, *ends(found)) == pytest.approx((0.8699639, 0.5840951, 0.9638297), abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, grouped=some.booleans())
def test_correlation_is_symmetric_turns_with_the_sign_and_stays_in_range(seed, grouped):
    x, y, groups = scattered(seed)
    groups = groups if grouped else None
    found, turned, minus = correlation(x, y, groups), correlation(3 * y + 1, x, groups), correlation(x, -y, groups)
    for name in ("pearson", "spearman"):
        one, same, other = (getattr(part, name) for part in (found, turned, minus))
        assert ends(one) == pytest.approx(ends(same))
        assert ends(one) == pytest.approx((-other.high, -other.low))
        assert -1 <= one.low <= one.value <= one.high <= 1
    assert correlation(x, np.exp(y), groups).spearman.value == pytest.approx(found.spearman.value)


def test_one_group_at_a_time_is_left_out_in_z():
    x, y, groups = scattered(0)
    found = correlation(x, y, [f"target {g}" for g in groups])
    for interval, measure in ((found.pearson, pearsonr), (found.spearman, spearmanr)):
        left = np.arctanh([measure(x[groups != g], y[groups != g]).statistic for g in range(7)])
        reach = t.ppf(0.975, 6) * np.sqrt(6 / 7 * ((left - left.mean()) ** 2).sum())  # groups of the same size
        z = np.arctanh(measure(x, y).statistic)
        assert (interval.value, *ends(interval)) == pytest.approx(tuple(np.tanh([z, z - reach, z + reach])))
    assert (found.points, found.groups) == (35, 7)


def test_a_group_counts_by_its_size():
    x, y, _ = scattered(2, 30, 1)
    groups = np.repeat([0, 1, 2, 3, 4], [2, 4, 6, 8, 10])
    z = np.arctanh(pearsonr(x, y).statistic)
    pseudo, weights = [], []
    for g in range(5):
        h = 30 / (groups == g).sum()
        pseudo.append(h * z - (h - 1) * np.arctanh(pearsonr(x[groups != g], y[groups != g]).statistic))
        weights.append(1 / h)
    centre = np.dot(weights, pseudo)
    variance = sum((p - centre) ** 2 * w / (1 - w) for p, w in zip(pseudo, weights, strict=True)) / 5
    low, high = np.tanh(z + np.array([-1, 1]) * t.ppf(0.975, 4) * np.sqrt(variance))
    assert ends(correlation(x, y, groups).pearson) == pytest.approx((low, high))


def test_copies_of_a_point_are_no_evidence():
    x, y, _ = scattered(1, 12, 1)
    groups = np.arange(12)
    few = correlation(x, y, groups)
    copied = [np.repeat(part, 10) for part in (x, y, groups)]
    many, naive = correlation(*copied), correlation(*copied[:2])
    assert ends(many.pearson) == pytest.approx(ends(few.pearson))
    assert width(naive.pearson) < 0.5 * width(many.pearson)
    assert width(naive.spearman) < 0.5 * width(many.spearman)


def test_a_perfect_correlation_has_no_width():
    for groups in (None, np.arange(6)):
        found = correlation(np.arange(6), -2.0 * np.arange(6), groups)
        for interval in (found.pearson, found.spearman):
            assert (interval.value, *ends(interval)) == pytest.approx((-1, -1, -1))


@pytest.mark.parametrize(("groups", "per", "r"), [(7, 5, 0.0), (7, 5, 0.8)])
def test_intervals_of_correlation_cover(groups, per, r):
    truth = {"pearson": r, "spearman": 6 / np.pi * np.arcsin(r / 2)}  # of a normal distribution
    hits, naive = dict.fromkeys(truth, 0), dict.fromkeys(truth, 0)
    for seed in range(150):
        x, y, members = scattered(seed, groups, per, r)
        for count, found in ((hits, correlation(x, y, members)), (naive, correlation(x, y))):
            for name, value in truth.items():
                count[name] += getattr(found, name).low <= value <= getattr(found, name).high
    assert all(0.9 <= count / 150 <= 0.99 for count in hits.values()), hits
    assert all(count / 150 < 0.85 for count in naive.values()), naive


X, Y = np.arange(8.0), np.array([1.0, 0, 3, 2, 5, 4, 7, 6])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X[:3], Y[:3]), r"x and y must be \(N,\) of the same points, N >= 4 \(got shapes \(3,\) and \(3,\)\)\. Add"),
        ((X, Y[:7]), r"x and y must be \(N,\) of the same points, N >= 4 \(got shapes \(8,\) and \(7,\)\)"),
        ((X[:, None], Y[:, None]), r"x and y must be \(N,\).*\(8, 1\)"),
        ((np.where(X == 3, np.nan, X), Y), r"x must be finite \(got NaN or infinity in points \[3\]\)\. Leave"),
        ((X, np.where(X > 6, np.inf, Y)), r"y must be finite \(got NaN or infinity in points \[7\]\)"),
        ((np.full(8, 0.1), Y), r"x must differ between points, .*\(got 0\.1 in all 8\): no correlation is defined\."),
        ((X, 5 + 1e-15 * Y), r"y must differ between points"),
        ((X == 7, Y, X), r"x must differ between points, also with one group left out \(got 0\.0 in all 7\)"),
        ((X, Y, [1, 2, 3, 4]), r"groups must be as many as points \(got 4 for 8\)\. Give one per point\."),
        ((X, Y, [1, 1, 1, 2, 2, 2, 3, 3]), r"groups must be at least 4 for an interval \(got 3\)\. Add other groups\."),
    ],
)
def test_what_correlation_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        correlation(*arguments)


def test_gain_by_hand():
    assert gain(0.9, 0.6) == pytest.approx(0.5)
    assert isinstance(gain(0.9, 0.6), float)
    assert gain([0.9, 0.5, 0], [0.6, 1, 0.5]) == pytest.approx([0.5, -0.5, -1])
    assert gain(np.array([0.9, 0.3]), 0.6) == pytest.approx([0.5, -0.5])


@pytest.mark.parametrize(
    ("tuned", "scratch", "message"),
    [
        (90.5, 0.5, r"fine_tuned must be in \[0, 1\] \(got 90\.5\)\. Divide percentages by 100\."),
        ([0.5, -0.1], [0.5, 0.5], r"fine_tuned must be in \[0, 1\] \(got -0\.1\)"),
        (np.nan, 0.5, r"fine_tuned must be in \[0, 1\] \(got nan\)"),
        (0.9, 0, r"scratch must be in \(0, 1\] \(got 0\.0\)"),
        ([0.9, 0.9], [0.5, 51.2], r"scratch must be in \(0, 1\] \(got 51\.2\)"),
        (
            [0.9, 0.8],
            [0.5],
            r"fine_tuned and scratch must be as many \(got shapes \(2,\) and \(1,\)\)\. Give one of each\.",
        ),
        (0.9, [0.5, 0.6], r"fine_tuned and scratch must be as many \(got shapes \(\) and \(2,\)\)"),
    ],
)
def test_what_gain_refuses(tuned, scratch, message):
    with pytest.raises(ValueError, match=message):
        gain(tuned, scratch)


def test_the_simulations_that_are_cited_are_there():
    (cited,) = re.findall(r"`(tests/[\w/]+\.py)`", correlation.__doc__)
    assert "def test_intervals_of_correlation_cover(" in (ROOT / cited).read_text()
