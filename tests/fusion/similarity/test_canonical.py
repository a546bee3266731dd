import numpy as np
import pytest
from hypothesis import given, settings

from fusion.similarity.canonical import cca, pwcca, svcca
from fusion.similarity.measures import cka
from tests.fusion.similarity.drawn import SEEDS, draw


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
