"""Measures of similarity equal what scipy and scikit-learn give for the same arrays.

Other packages: tests/benchmarks/test_similarity.py.
"""

from functools import partial

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes, subspace_angles
from scipy.spatial import KDTree, procrustes
from scipy.spatial.distance import cdist, cosine, pdist
from scipy.stats import pearsonr, rankdata
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA
from sklearn.gaussian_process.kernels import RBF, DotProduct
from sklearn.metrics import euclidean_distances
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import KernelCenterer, normalize

from fusion.similarity import measures
from fusion.similarity.canonical import cca, pwcca, svcca
from fusion.similarity.measures import cka, knn_overlap, minibatch_cka, rbf_cka, rsa


def centred(values):
    return values - values.mean(0)


def of_kernels(kernel, x, y):
    """Biased CKA: the cosine of two centred Gram matrices."""
    first, second = (KernelCenterer().fit_transform(kernel(values)).ravel() for values in (x, y))
    return 1 - cosine(first, second)


def gaussian(values):
    return RBF(np.median(pdist(values)))(values)


def off_diagonal(values):
    """A Gram matrix centred by Szekely and Rizzo 2014 (Annals of Statistics 42), without its diagonal: (N (N - 1),)."""
    n = len(values)
    kernel = DotProduct(0)(values) * (1 - np.eye(n))
    rows = kernel.sum(0)
    kernel += rows.sum() / ((n - 1) * (n - 2)) - (rows + rows[:, None]) / (n - 2)
    return kernel[~np.eye(n, dtype=bool)]


def u_centred(x, y):
    return 1 - cosine(off_diagonal(x), off_diagonal(y))


def in_batches(size, x, y):
    """Batches of one size: the cosine of all their centred Gram matrices, end to end."""
    starts = range(0, len(x), size)
    return 1 - cosine(*(np.concatenate([off_diagonal(v[start : start + size]) for start in starts]) for v in (x, y)))


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


def angle_by_rotation(x, y):
    a, b = same_width(x, y)
    turn, scale = orthogonal_procrustes(a / np.linalg.norm(a), b / np.linalg.norm(b))
    np.testing.assert_allclose(turn @ turn.T, np.eye(len(turn)), atol=1e-9)
    return np.arccos(scale)


def angle_by_disparity(x, y):
    """Its disparity, after the best scale too, is the squared sine."""
    return np.arcsin(np.sqrt(procrustes(*same_width(x, y))[2]))


def same_width(x, y):
    width = max(x.shape[1], y.shape[1])
    return [np.pad(centred(values), ((0, 0), (0, width - values.shape[1]))) for values in (x, y)]


def ranked(distances, x, y):
    above = np.triu_indices(len(x), 1)
    return pearsonr(*(rankdata(distances(values)[above]) for values in (x, y))).statistic


def shared(nearest, x, y):
    """`nearest` of all rows, themselves first."""
    pairs = zip(nearest(x)[:, 1:], nearest(y)[:, 1:], strict=True)
    return np.mean([len({*a} & {*b}) / 10 for a, b in pairs])


def by_search(values):
    return NearestNeighbors(n_neighbors=11).fit(values).kneighbors(values, return_distance=False)


ALL = [
    (cka, u_centred),
    (partial(minibatch_cka, batch=20), partial(in_batches, 20)),
    (partial(cka, debiased=False), partial(of_kernels, DotProduct(0))),
    (partial(cka, debiased=False), partial(of_kernels, lambda values: -(cdist(values, values) ** 2) / 2)),
    (partial(rbf_cka, debiased=False), partial(of_kernels, gaussian)),
    (measures.procrustes, angle_by_rotation),
    (measures.procrustes, angle_by_disparity),
    (rsa, partial(ranked, euclidean_distances)),
    (rsa, partial(ranked, lambda values: cdist(values, values))),
    (knn_overlap, partial(shared, by_search)),
    (knn_overlap, partial(shared, lambda values: KDTree(values).query(values, 11)[1])),
]
NARROW = [
    (cca, by_angles),
    (cca, lambda x, y: iterated(x, y)[2].mean()),
    (svcca, partial(reduced, by_angles)),
    (svcca, partial(reduced, lambda x, y: iterated(x, y)[2].mean())),
    (pwcca, projection_weighted),
]


CASES = [
    *((*both, sizes) for both in ALL for sizes in ((60, 8, 5), (60, 300, 512))),
    *((*both, sizes) for both in NARROW for sizes in ((250, 8, 5), (250, 6, 12), (100, 7, 7))),
]


def draw(n, d, e):
    """Two representations with a common part, off the origin."""
    rng = np.random.default_rng(n + d)
    common = rng.normal(size=(n, 4))
    return [2 + common @ rng.normal(size=(4, width)) + rng.normal(size=(n, width)) for width in (d, e)]


@pytest.mark.parametrize(("measure", "other", "sizes"), CASES)
def test_agreement(measure, other, sizes):
    x, y = draw(*sizes)
    found = measure(x, y)
    assert 0.05 < found < 1.2
    assert found == pytest.approx(other(x, y), abs=1e-6)
