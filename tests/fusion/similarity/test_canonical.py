"""CCA and its kin: their mathematics, and that scipy and scikit-learn give the same for the same arrays."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.linalg import subspace_angles
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from fusion.similarity.canonical import cca, pwcca, svcca
from fusion.similarity.measures import cka
from tests.fusion.similarity.drawn import SEEDS, assert_agreement, centred, draw


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_no_invertible_map_changes_cca(seed):
    x, y = draw(seed, shared=1.0)
    rng = np.random.default_rng(seed)
    stretched = x @ (rng.normal(size=(6, 6)) + 3 * np.eye(6)) + rng.normal(size=6)
    if np.linalg.cond(stretched - stretched.mean(0)) > 1e4:
        return
    assert cca(stretched, y) == pytest.approx(cca(x, y), abs=1e-8)
    assert pwcca(x, y @ (rng.normal(size=(9, 9)) + 4 * np.eye(9))) == pytest.approx(pwcca(x, y), abs=1e-8)


def test_known_correlation():
    """Columns with correlation r: mean CCA is r, CKA of equally long independent columns is r squared."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 8))
    y = 0.6 * x + 0.8 * rng.normal(size=x.shape)
    assert cca(x, y) == pytest.approx(0.6, abs=0.01)
    assert cka(x, y) == pytest.approx(0.36, abs=0.01)
    assert pwcca(x, y) == pytest.approx(0.6, abs=0.01)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_cca_by_svd_is_cca_by_qr_and_by_covariances(seed):
    x, y = (values - values.mean(0) for values in draw(seed, shared=1.0))
    by_qr = np.linalg.svd(np.linalg.qr(x)[0].T @ np.linalg.qr(y)[0], compute_uv=False)
    roots = [np.linalg.cholesky(v.T @ v) for v in (x, y)]
    by_covariances = np.linalg.svd(np.linalg.solve(roots[0], x.T @ y) @ np.linalg.inv(roots[1]).T, compute_uv=False)
    assert cca(x, y) == pytest.approx(by_qr.mean(), abs=1e-9)
    assert cca(x, y) == pytest.approx(by_covariances.mean(), abs=1e-7)


def test_svcca_leaves_small_directions_out():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 5))
    noisy = [np.hstack([x, 0.01 * rng.normal(size=(500, 20))]) for _ in range(2)]
    assert svcca(*noisy) > 0.999
    assert cca(*noisy) < 0.5
    assert svcca(*noisy, kept=1.0) == pytest.approx(cca(*noisy))


def test_pwcca_weighs_what_the_narrower_one_spends_its_variance_on():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 2)) * [10, 0.1]
    y = np.hstack([x[:, :1], rng.normal(size=(4000, 3))])  # shares the large direction, not the small one
    assert cca(x, y) == pytest.approx(0.51, abs=0.02)
    assert pwcca(x, y) == pytest.approx(0.99, abs=0.02)


def by_angles(x, y):
    return np.cos(subspace_angles(centred(x), centred(y))).mean()


def iterated(x, y):
    """Canonical directions (N, R) of both and their correlations, one after another by power iteration."""
    found = CCA(min(x.shape[1], y.shape[1]), scale=False, max_iter=100_000, tol=1e-18)
    first, second = (normalize(side, axis=0) for side in found.fit_transform(x, y))
    return first, second, (first * second).sum(0)


def projection_weighted(x, y):
    first, second, found = iterated(x, y)
    narrow, directions = (x, first) if x.shape[1] <= y.shape[1] else (y, second)
    return np.average(found, weights=np.abs(directions.T @ centred(narrow)).sum(1))


def reduced(measure, x, y):
    return measure(*(PCA(0.99, svd_solver="full").fit_transform(values) for values in (x, y)))


NARROW = [
    (cca, by_angles),
    (cca, lambda x, y: iterated(x, y)[2].mean()),
    (svcca, partial(reduced, by_angles)),
    (svcca, partial(reduced, lambda x, y: iterated(x, y)[2].mean())),
    (pwcca, projection_weighted),
]


@pytest.mark.parametrize(("measure", "other"), NARROW)
@pytest.mark.parametrize("sizes", [(250, 8, 5), (250, 6, 12), (100, 7, 7)])
def test_agreement(measure, other, sizes):
    assert_agreement(measure, other, sizes)
