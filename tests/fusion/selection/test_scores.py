"""Scores of frozen features against formulas written out, other optimisers and scikit-learn."""

import re

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from fusion.data import folds as folds_
from fusion.selection import scores
from fusion.selection.scores import h_score, knn, logme

ALL = (logme, h_score, lambda x, y: knn(x, y, folds(len(x)), neighbours=5))
NAMES = ("logme", "h_score", "knn")
every = pytest.mark.parametrize("score", ALL, ids=NAMES)


def folds(count, parts=3):
    images = np.arange(count)
    return [(images[images % parts != part], images[images % parts == part]) for part in range(parts)]


def features(n, d, *, signal, classes=3, seed=0):
    """(N, D) noise of uneven spread around means that differ by class, and the classes."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % classes)
    x = rng.normal(size=(n, d)) + signal * rng.normal(size=(classes, d))[y]
    return x * np.linspace(0.5, 2, d), y


def evidence(x, y, alpha, beta):
    """Equation by equation, with the D x D matrix of the posterior."""
    n, d = x.shape
    a = alpha * np.eye(d) + beta * x.T @ x
    m = beta * np.linalg.solve(a, x.T @ y)
    fit = beta / 2 * ((y - x @ m) ** 2).sum() + alpha / 2 * m @ m
    logs = d / 2 * np.log(alpha) + n / 2 * np.log(beta) - n / 2 * np.log(2 * np.pi) - np.linalg.slogdet(a)[1] / 2
    return (logs - fit) / n


def highest(x, y):
    """The evidence at its maximum over log alpha and log beta, searched from several starts."""

    def lacking(p):
        return -evidence(x, y, *np.exp(p))

    starts = [(0, 0), (-4, 2), (8, 4)]
    return max(-minimize(lacking, start, method="L-BFGS-B", bounds=[(-20, 20)] * 2).fun for start in starts)


def brute(x, y):
    columns = y.T if y.ndim == 2 else (y == np.unique(y)[:, None])
    return np.mean([highest(x, column.astype(float)) for column in columns])


@pytest.mark.parametrize(("n", "d"), [(60, 8), (20, 20), (15, 40), (30, 29)])
@pytest.mark.parametrize(("signal", "classes"), [(0.0, 2), (0.7, 3)])
def test_logme_is_the_highest_evidence(n, d, signal, classes):
    x, y = features(n, d, signal=signal, classes=classes)
    assert logme(x, y) == pytest.approx(brute(x, y), abs=1e-4)


def test_logme_of_several_labels_is_the_mean_over_them():
    x, y = features(40, 10, signal=0.7)
    several = np.stack([y > 0, y == 1], axis=1).astype(int)
    assert logme(x, several) == pytest.approx(brute(x, several), abs=1e-4)
    single = (y == 1).astype(int)
    assert logme(x, np.stack([single, 1 - single], axis=1)) == pytest.approx(logme(x, single), rel=1e-9)


def test_logme_of_rank_deficient_features():
    x, y = features(20, 8, signal=0.5, classes=2)
    low = x[:, :4] @ np.random.default_rng(1).normal(size=(4, 12))
    for deficient in (low, np.c_[x, x[:, :3]], np.c_[x, np.ones(20), np.zeros(20)], np.repeat(x[:10], 2, axis=0)):
        assert logme(deficient, y) == pytest.approx(brute(deficient, y), abs=1e-4)


def test_logme_finds_the_highest_of_two_maxima():
    rng = np.random.default_rng(3)
    y = np.arange(60) % 2
    strong, weak = rng.normal(size=(60, 5)), 0.03 * (np.eye(2)[y] + 0.02 * rng.normal(size=(60, 2)))
    x = np.c_[strong, weak]
    assert logme(x, y) == pytest.approx(brute(x, y), abs=1e-4)
    assert logme(x, y) > logme(strong, y) + 2  # about where the other maximum lies


def test_logme_does_not_see_rotation_or_repeated_features():
    x, y = features(40, 10, signal=0.5)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(10, 10)))[0]
    for same in (x @ turn, np.c_[x, x], np.c_[x, np.zeros(40)]):
        assert logme(same, y) == pytest.approx(logme(x, y), abs=1e-9)
    assert logme(x + 3, y) != pytest.approx(logme(x, y), abs=1e-3)  # as the docstring says, it sees an offset


def test_logme_of_an_exact_fit_is_high_finite_and_sure_of_its_scale():
    y = np.arange(40) % 2
    x = np.eye(2)[y]
    value = logme(x, y)
    assert 5 < value < 20
    for scale in (1e-30, 1e-3, 7.0, 1e30):
        assert logme(scale * x, y) == pytest.approx(value, abs=1e-6)


def test_logme_of_labels_along_no_feature_is_that_of_noise():
    x, y = np.array([[1.0], [-1], [1], [-1]]), np.array([0, 0, 1, 1])
    assert logme(x, y) == pytest.approx(-(np.log(2 * np.pi * 0.5) + 1) / 2, abs=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_steps_settle_before_they_are_cut_off(monkeypatch, seed):
    x, y = features(25, 5 + 2 * seed, signal=0.1 * seed, seed=seed)
    x = x * 10.0 ** np.random.default_rng(seed).uniform(-3, 0, x.shape[1])
    short = logme(x, y)
    monkeypatch.setattr(scores, "_STEPS", 20_000)
    assert logme(x, y) == pytest.approx(short, abs=1e-5)


def test_even_no_steps_come_close(monkeypatch):
    x, y = features(60, 8, signal=0.7)
    exact = logme(x, y)
    monkeypatch.setattr(scores, "_STEPS", 0)
    assert logme(x, y) == pytest.approx(exact, abs=0.02)
    assert logme(x, y) < exact


def direct(x, y):
    """The definition with D x D matrices; y are classes."""
    shrunk = LedoitWolf().fit(x)
    means = np.stack([x[y == label].mean(0) for label in y])
    between = np.cov(means, rowvar=False, ddof=0)
    return np.trace(np.linalg.solve(shrunk.covariance_, (1 - shrunk.shrinkage_) * between))


@pytest.mark.parametrize(("n", "d"), [(60, 8), (20, 20), (15, 40)])
@pytest.mark.parametrize("signal", [0.0, 1.0])
def test_h_score_is_its_definition(n, d, signal):
    x, y = features(n, d, signal=signal, classes=4)
    assert h_score(x, y) == pytest.approx(direct(x, y), rel=1e-8, abs=1e-12)


def test_h_score_of_several_labels_is_the_mean_over_them():
    x, y = features(40, 10, signal=0.7)
    several = np.stack([y > 0, y == 1], axis=1).astype(int)
    assert h_score(x, several) == pytest.approx(np.mean([direct(x, column) for column in several.T]), rel=1e-8)


def test_h_score_nears_its_bound_and_never_passes_it():
    x, y = features(400, 5, signal=50, classes=4)
    assert 2.9 < h_score(x, y) < 3
    several = np.stack([y > 1, y % 2], axis=1).astype(int)
    assert 0.9 < h_score(x, several) < 1
    # Not shrunk at all and singular: the directions without spread are left out.
    assert h_score(np.array([[1.0, 2], [1, 2], [-1, -2], [-1, -2]]), [0, 0, 1, 1]) == pytest.approx(1)


def test_h_score_does_not_see_rotation_or_shift():
    x, y = features(30, 12, signal=0.5)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(12, 12)))[0]
    for same in (x @ turn, x + 100):
        assert h_score(same, y) == pytest.approx(h_score(x, y), rel=1e-8)


def test_h_score_with_constant_and_repeated_features():
    x, y = features(30, 12, signal=0.5)
    for other in (np.c_[x, x[:, :3]], np.c_[x, np.ones((30, 2))]):
        assert h_score(other, y) == pytest.approx(direct(other, y), rel=1e-8)


def votes(x, y, parts, neighbours):
    """Out-of-fold probabilities by scikit-learn's classifier; y are classes from 0."""
    found = np.zeros((len(y), y.max() + 1))
    for train, held in parts:
        scaler = StandardScaler().fit(x[train])
        voters = KNeighborsClassifier(neighbours, metric="cosine", weights="distance")
        voters.fit(scaler.transform(x[train]), y[train])
        found[np.ix_(held, voters.classes_)] = voters.predict_proba(scaler.transform(x[held]))
    return found


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("neighbours", [1, 7])
def test_knn_is_scikit_learns_auc_of_its_classifier(classes, neighbours):
    x, y = features(90, 6, signal=0.5, classes=classes)
    proba = votes(x, y, folds(90), neighbours)
    expected = np.mean([roc_auc_score(y == k, proba[:, k].round(12)) for k in range(classes)])
    assert knn(x, y, folds(90), neighbours=neighbours) == pytest.approx(expected, abs=1e-3)
    assert 0.55 < expected < 0.99


def test_knn_of_several_labels_is_the_mean_over_them():
    x, y = features(90, 6, signal=0.5)
    several = np.stack([y > 0, y == 1], axis=1).astype(int)
    expected = [roc_auc_score(column, votes(x, column, folds(90), 7)[:, 1].round(12)) for column in several.T]
    assert knn(x, several, folds(90), neighbours=7) == pytest.approx(np.mean(expected), abs=1e-3)


def test_knn_asks_ten_neighbours_and_takes_the_folds_of_targets():
    x, y = features(90, 6, signal=0.5)
    own = folds_.folds(y, None, 3, 0)
    assert knn(x, y, own) == knn(x, y, own, neighbours=10) != knn(x, y, own, neighbours=11)
    assert knn(x, y, [(train.tolist(), held.tolist()) for train, held in own]) == knn(x, y, own)


def test_knn_does_not_see_the_scale_or_shift_of_a_feature():
    x, y = features(60, 5, signal=0.5)
    same = x * [1, 10, 0.1, 5, 1000] + [0, 1, 2, 300, -4]
    assert knn(same, y, folds(60)) == pytest.approx(knn(x, y, folds(60)), abs=1e-6)
    assert knn(np.c_[x, np.ones(60)], y, folds(60)) == pytest.approx(knn(x, y, folds(60)), abs=1e-6)


def test_knn_standardises_without_the_images_it_holds_out():
    x, y = features(60, 5, signal=0.5)
    x[0, :3] = 1e4  # it flattens these features of all others that are standardised with it
    proba = votes(x, y, folds(60), 5)
    expected = np.mean([roc_auc_score(y == k, proba[:, k].round(12)) for k in range(3)])
    assert knn(x, y, folds(60), neighbours=5) == pytest.approx(expected, abs=1e-3)


def test_knn_with_a_class_that_a_fold_has_not_seen():
    x, _ = features(30, 4, signal=0)
    y = np.repeat([0, 1, 2], 10)
    parts = [(np.delete(np.arange(30), own), own) for own in np.split(np.arange(30), 3)]
    assert 0 <= knn(x, y, parts, neighbours=5) < 0.5  # each held out class has no vote at all


def test_knn_of_copies_across_folds_is_perfect():
    x, y = features(30, 4, signal=0.3)
    twice, labels = np.r_[x, x], np.r_[y, y]
    parts = [(np.arange(30), np.arange(30, 60)), (np.arange(30, 60), np.arange(30))]
    assert knn(twice, labels, parts, neighbours=1) == 1


@every
def test_more_separable_features_score_higher_and_noise_lowest(score):
    found = [score(*features(90, 20, signal=signal)) for signal in (0.0, 0.3, 0.6, 1.5)]
    assert found == sorted(found)
    assert found[-1] > found[0] + 0.1


@every
def test_scale_and_number_type_do_not_matter(score):
    x, y = features(45, 10, signal=0.5)
    x = x.astype(np.float32)
    value = score(x, y)
    assert isinstance(value, float)
    for same in (x.astype(np.float64), x * np.float32(1e-20), x.astype(np.float64) * 1e200, x.tolist()):
        assert score(same, y) == pytest.approx(value, abs=1e-5)


@every
def test_names_of_classes_and_order_of_images_do_not_matter(score):
    x, y = features(45, 10, signal=0.5)
    value = score(x, y)
    assert score(x, np.array(["b", "c", "a"])[y]) == pytest.approx(value, rel=1e-9)
    assert score(x, (5 - 2 * y).tolist()) == pytest.approx(value, rel=1e-9)
    blocks = np.r_[np.arange(3, 45), :3]  # whole rounds of the folds move on together
    assert score(x[blocks], y[blocks]) == pytest.approx(value, rel=1e-9)


@every
def test_one_feature_and_two_images_of_a_class_suffice(score):
    x, y = np.arange(12.0)[:, None], np.arange(12) // 2
    assert np.isfinite(score(x, y))
    assert np.isfinite(score(np.c_[x, np.zeros((12, 40))], y))


X, Y = features(12, 3, signal=0.5)


def with_nan():
    broken = X.copy()
    broken[[2, 5], 1] = np.nan, np.inf
    return broken


@every
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:, 0], Y, "x must be (N, D), features of N images (got (12,)). Pass a row per image."),
        (X[:, :0], Y, "x must be (N, D), features of N images (got (12, 0)). Pass a row per image."),
        (with_nan(), Y, "x must be finite (got NaN or infinity in rows [2, 5]). Leave those images out."),
        (np.ones((12, 3)), Y, "x must differ between images (got the same row in all). Check the images."),
        (1 + 1e-15 * X, Y, "x must differ between images (got the same row in all). Check the images."),
        (np.zeros((12, 3)), Y, "x must differ between images (got the same row in all). Check the images."),
        (X, Y[:-1], "y must be one label per image, 12 (got shape (11,)). Check X and y."),
        (X, np.zeros(12, int), "y must hold at least two classes (got [0]). Add images of another."),
        (
            X,
            ["rare", "odd"] + ["often", "too"] * 5,
            "y must hold at least 2 images of each class (got 1 for ['odd', 'rare']). Add some, or leave it out.",
        ),
        (
            X,
            np.stack([np.arange(12) % 2, np.arange(12) > 0, np.arange(12) < 1], axis=1).astype(int),
            "y must hold at least 2 images with and without each label (got 1 for [1, 2]). Add some, or leave it out.",
        ),
    ],
)
def test_wrong_features_and_labels_are_refused(score, x, y, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        score(x, y)


HELD = np.arange(12)
TWO = [(HELD[6:], HELD[:6]), (HELD[:6], HELD[6:])]

NOT_ONCE = (
    "folds must hold out each of 12 images once, and no other (not so: {}). Pass those of fusion.data.labels.folds."
)

LEAK = (
    "folds must train on images that they do not hold out (got {} in fold {}). Pass those of fusion.data.labels.folds."
)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], NOT_ONCE.format([0, 1, 2, 3, 4])),
        (TWO[:1], NOT_ONCE.format([6, 7, 8, 9, 10])),
        ([*TWO, (HELD[:6], HELD[6:7])], NOT_ONCE.format([6])),
        ([(HELD[6:], np.r_[HELD[:6], 12]), TWO[1]], NOT_ONCE.format([12])),
        ([TWO[0], (HELD[:8], HELD[6:])], LEAK.format([6, 7], 1)),
        ([(np.r_[HELD[6:], -12, 12], HELD[:6]), TWO[1]], LEAK.format([-12, 12], 0)),
    ],
)
def test_wrong_folds_are_refused(parts, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        knn(X, Y, parts, neighbours=2)


@pytest.mark.parametrize("neighbours", [0, 7, -1, 2.5])
def test_too_many_or_too_few_neighbours_are_refused(neighbours):
    message = (
        "neighbours must be from 1 to the images that the smallest fold trains on, 6 "
        f"(got {neighbours!r}). Lower it, or pass more images."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        knn(X, Y, TWO, neighbours=neighbours)
    assert 0 <= knn(X, Y, TWO, neighbours=6) <= 1
