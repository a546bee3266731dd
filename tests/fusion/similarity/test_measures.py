"""Measures of similarity: their mathematics, on arrays; and that scipy and scikit-learn give the same for these.

Other packages: tests/benchmarks/test_similarity.py.
"""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import spatial
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import cdist, cosine, pdist
from scipy.stats import ortho_group, pearsonr, rankdata
from sklearn.gaussian_process.kernels import RBF, DotProduct
from sklearn.metrics import euclidean_distances
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import KernelCenterer

from fusion.similarity import measures
from fusion.similarity.canonical import cca, pwcca, svcca
from fusion.similarity.measures import cka, knn_overlap, minibatch_cka, procrustes, rbf_cka, rsa
from tests.fusion.similarity.drawn import SEEDS, assert_agreement, centred, draw

SIMILARITIES = [cka, partial(cka, debiased=False), rbf_cka, cca, svcca, pwcca, rsa, partial(minibatch_cka, batch=16)]
ROTATION_BLIND = [m for m in SIMILARITIES if m is not pwcca] + [procrustes, knn_overlap]


def name(measure):
    return getattr(measure, "__name__", None) or f"{measure.func.__name__}-{measure.keywords}"


@pytest.mark.parametrize("measure", [*SIMILARITIES, knn_overlap], ids=name)
@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_a_representation_is_like_itself(measure, seed):
    x, _ = draw(seed)
    assert measure(x, x) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("measure", ROTATION_BLIND, ids=name)
@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, scale=some.floats(1e-3, 1e3))
def test_rotation_scale_and_shift_change_nothing(measure, seed, scale):
    x, y = draw(seed, shared=1.0)
    turned = scale * (x - 5) @ ortho_group.rvs(6, random_state=seed)
    assert measure(turned, y) == pytest.approx(measure(x, y), abs=1e-9)


@pytest.mark.parametrize("measure", [cka, rbf_cka, procrustes, rsa], ids=name)
def test_a_general_linear_map_changes_what_sees_it(measure):
    x, y = draw(0, shared=1.0)
    assert abs(measure(x * [10, 1, 1, 1, 1, 0.1], y) - measure(x, y)) > 0.02


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_measures_are_symmetric_and_bounded(seed):
    x, y = draw(seed, shared=1.0)
    for measure in (*SIMILARITIES, procrustes, knn_overlap):
        assert measure(x, y) == pytest.approx(measure(y, x), abs=1e-9)
    for measure in (partial(cka, debiased=False), cca, svcca, pwcca, knn_overlap):
        assert 0 <= measure(x, y) <= 1


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_procrustes_is_a_metric(seed):
    x, y = draw(seed, n=20)
    z = np.random.default_rng(seed + 1).normal(size=(20, 30))
    assert procrustes(x, z) <= procrustes(x, y) + procrustes(y, z) + 1e-9
    assert procrustes(x, x) == pytest.approx(0, abs=1e-6)
    assert 0 <= procrustes(x, z) <= np.pi / 2


def test_cka_has_one_value_by_gram_matrices_and_by_the_cross_matrix():
    """N above D + D' takes the one, N below takes the other; padding with constant columns moves the border."""
    x, y = draw(3, n=40, shared=1.0)
    padded = np.hstack([x, np.ones((40, 60))])
    for debiased in (True, False):
        assert cka(padded, y, debiased=debiased) == pytest.approx(cka(x, y, debiased=debiased), abs=1e-12)


def test_biased_cka_is_the_textbook_ratio():
    x, y = (values - values.mean(0) for values in draw(4, shared=0.5))
    norms = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    assert cka(x, y, debiased=False) == pytest.approx(np.linalg.norm(x.T @ y) ** 2 / norms, abs=1e-12)


def test_unbiased_hsic_by_its_definition_over_four_different_rows():
    """Song et al., equation 4: the mean over all ordered quadruples of different rows."""
    rng = np.random.default_rng(0)
    k, m = (measures.gram(rng.normal(size=(7, 3))) for _ in range(2))
    rows = range(7)
    terms = [
        k[i, j] * m[i, j] + k[i, j] * m[q, r] - 2 * k[i, j] * m[i, q]
        for i in rows
        for j in rows
        for q in rows
        for r in rows
        if len({i, j, q, r}) == 4
    ]
    assert measures.hsic(k, m) == pytest.approx(np.mean(terms), abs=1e-12)


def test_the_last_term_is_over_n_minus_2_not_over_n_minus_1_as_s2_prints():
    """Independent normals of mean 0.5, d = 20, n = 16: the true HSIC is 0."""
    rng = np.random.default_rng(0)
    found, printed = [], []
    for _ in range(400):
        x, y = rng.normal(0.5, 1, (2, 16, 20))
        k, m = x @ x.T, y @ y.T
        np.fill_diagonal(k, 0)
        np.fill_diagonal(m, 0)
        found.append(measures.hsic(x @ x.T, y @ y.T))
        sums = k.sum(0) @ m.sum(0) / (16 * 13)
        printed.append(found[-1] + (2 / 14 - 2 / 15) * sums)
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 4 * error
    assert np.mean(printed) > 3


@pytest.mark.parametrize(("n", "d"), [(16, 20), (16, 2048), (64, 2048), (512, 64)])
def test_debiased_cka_of_noise_is_0_and_biased_is_not(n, d):
    rng = np.random.default_rng(n + d)
    found = [cka(rng.normal(size=(n, d)), rng.normal(size=(n, d))) for _ in range(20)]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(20)
    if d == 2048:
        assert cka(rng.normal(size=(n, d)), rng.normal(size=(n, d)), debiased=False) > 0.9


def test_constant_and_repeated_columns_say_nothing():
    x, y = draw(5, n=128, shared=1.0)
    for measure in (cka, cca, pwcca, svcca, procrustes, rsa):
        assert measure(np.hstack([x, np.full((128, 3), 7.0)]), y) == pytest.approx(measure(x, y), abs=1e-9)
    assert cca(np.hstack([x, x[:, :2], x @ np.ones((6, 1))]), y) == pytest.approx(cca(x, y), abs=1e-8)


@pytest.mark.parametrize("measure", [*SIMILARITIES, procrustes], ids=name)
def test_float32_is_close_to_float64(measure):
    """To 1e-5, also where a mean is a hundred times the deviation, as of features behind a ReLU."""
    x, y = (values + 100 for values in draw(6, shared=1.0))
    assert measure(x.astype("f4"), y.astype("f4")) == pytest.approx(measure(x, y), abs=1e-5)


def test_minibatch_cka_is_a_ratio_of_means_in_the_order_given():
    x, y = draw(7, n=50, shared=1.0)
    parts = [slice(0, 16), slice(16, 32), slice(32, 48)]  # two rows left: too few
    grams = [(x[part] @ x[part].T, y[part] @ y[part].T) for part in parts]
    means = [
        np.mean([measures.hsic(*both) for both in pairs], 0)
        for pairs in zip(*[((k, m), (k, k), (m, m)) for k, m in grams], strict=True)
    ]
    assert minibatch_cka(x, y, batch=16) == pytest.approx(means[0] / np.sqrt(means[1] * means[2]), abs=1e-12)
    assert minibatch_cka(x, y, batch=50) == pytest.approx(cka(x, y), abs=1e-12)
    assert minibatch_cka(x[::-1], y[::-1], batch=16) != minibatch_cka(x, y, batch=16)


def test_rbf_cka_sees_what_linear_cka_cannot():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 1))
    y = np.abs(x)  # uncorrelated with x, and a function of it
    assert cka(x, y) < 0.02
    assert rbf_cka(x, y) > 0.2
    assert rbf_cka(x, y, bandwidth=100) == pytest.approx(cka(x, y), abs=0.02)


def test_knn_overlap_of_noise_is_chance_and_neighbours_are_not_oneself():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 300, 10))
    assert knn_overlap(x, y) == pytest.approx(10 / 299, abs=0.02)
    line = np.arange(8.0)[:, None]
    swapped = line.copy()
    swapped[[0, 7]] = swapped[[7, 0]]
    assert knn_overlap(line, swapped, neighbours=1) == pytest.approx(4 / 8)


@pytest.mark.parametrize(
    ("measure", "x", "y", "said"),
    [
        (cka, np.ones((3, 2)), np.ones((3, 2)), r"x must be \(N, D\) with N >= 4 \(got \(3, 2\)\)"),
        (cka, np.ones(5), np.ones(5), r"x must be \(N, D\)"),
        (cka, np.eye(5), np.eye(6), r"a row for each image \(got 5 and 6\)"),
        (cka, np.eye(5), np.ones((5, 3)), "y must differ between images"),
        (cca, np.where(np.eye(5) > 0, np.nan, 0), np.eye(5), r"x must be finite .* rows \[0, 1, 2, 3, 4\]"),
        (cca, np.eye(9), np.eye(9), r"ranks .* 8 and 8 \(got 9\).*at least 17 images"),
        (pwcca, np.eye(9), np.eye(9), "at least 17 images"),
        (partial(svcca, kept=0), np.eye(9), np.eye(9), r"kept must be in \(0, 1\]"),
        (partial(minibatch_cka, batch=3), np.eye(9), np.eye(9), "batch must be at least 4"),
        (partial(rbf_cka, bandwidth=0), np.eye(9), np.eye(9), "bandwidth must be positive"),
        (partial(knn_overlap, neighbours=8), np.eye(9), np.eye(9), "from 1 to N - 2, 7 .*at least 10 images"),
    ],
)
def test_bad_input(measure, x, y, said):
    with pytest.raises(ValueError, match=said):
        measure(x, y)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("abcdef", "abcdfe", "the same in another order, first in row 4"),
        ("abcdef", "abcdeg", "2 are in one only, first in row 5"),
        ("abcde", "abcde", "as many as rows"),
        ("abcdef", "abcde", "first in row 5"),
    ],
)
def test_other_images_or_order_are_caught_by_ids(first, second, said):
    x = np.random.default_rng(0).normal(size=(6, 2))
    with pytest.raises(ValueError, match=said):
        cka(x, x, ids=(list(first), list(second)))
    assert cka(x, x, ids=(list("abcdef"), np.array(list("abcdef")))) == pytest.approx(1)


def test_a_batch_in_which_nothing_differs_is_refused():
    x = np.zeros((8, 2))
    x[0, 0] = 1e-9
    y = np.random.default_rng(0).normal(size=(8, 2))
    x[:4], y[:4] = 1, 1
    x[4:], y[4:] = 2, 2
    with pytest.raises(ValueError, match="images must differ"):
        minibatch_cka(x, y, batch=4)


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


def angle_by_rotation(x, y):
    a, b = same_width(x, y)
    turn, scale = orthogonal_procrustes(a / np.linalg.norm(a), b / np.linalg.norm(b))
    np.testing.assert_allclose(turn @ turn.T, np.eye(len(turn)), atol=1e-9)
    return np.arccos(scale)


def angle_by_disparity(x, y):
    """Its disparity, after the best scale too, is the squared sine."""
    return np.arcsin(np.sqrt(spatial.procrustes(*same_width(x, y))[2]))


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
    (procrustes, angle_by_rotation),
    (procrustes, angle_by_disparity),
    (rsa, partial(ranked, euclidean_distances)),
    (rsa, partial(ranked, lambda values: cdist(values, values))),
    (knn_overlap, partial(shared, by_search)),
    (knn_overlap, partial(shared, lambda values: spatial.KDTree(values).query(values, 11)[1])),
]


@pytest.mark.parametrize(("measure", "other"), ALL)
@pytest.mark.parametrize("sizes", [(60, 8, 5), (60, 300, 512)])
def test_agreement(measure, other, sizes):
    assert_agreement(measure, other, sizes)
