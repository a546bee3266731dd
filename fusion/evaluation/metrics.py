"""Figures of weighted images: how well they are told apart, and how far the probabilities can be believed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
# Labels (N,) or (N, K) and probabilities (N, K) are prepared once; each draw then is one call with weights (N,).
Figure = Callable[[Floats], float]
Figures = Callable[[Floats], Floats]  # of each class: (K,)
Metric = Callable[[Ints, Floats], Figure]
Binary = Callable[[Bools, Floats], Figure]  # of one column: (N,), (N,)

_BINS = 15


def auc(y: Ints, proba: Floats) -> Figure:
    """Area under the ROC curve, one class against the rest, mean over classes; ties count half.

    Equal to scikit-learn's `roc_auc_score(multi_class="ovr", sample_weight=weights)`, but it sorts once for all draws.
    """
    areas = aucs(y, proba)
    return lambda weights: float(areas(weights).mean())


def aucs(y: Ints, proba: Floats) -> Figures:
    """(K,) the area of each class or label against the rest, of which `auc` is the mean."""
    return _each(_binary_auc, sides(y, proba.shape[1]), proba)


def auc_of(y: Ints, scores: Floats) -> float:
    """Compute `auc` of any scores (N, K), over those classes or labels that some images have and others have not."""
    positives = sides(y, scores.shape[1])
    both = [k for k in range(scores.shape[1]) if 0 < positives[:, k].sum() < len(y)]
    return float(_each(_binary_auc, positives[:, both], scores[:, both])(np.ones(len(y))).mean())


def sides(y: Ints, classes: int) -> Bools:
    """(N, K) whether an image is of a class, or has a label."""
    return np.asarray(y == 1 if y.ndim == 2 else y[:, None] == np.arange(classes))


def likeliest(y: Ints, proba: Floats) -> Ints:
    """Decisions in the form of y where no others are given: the likeliest class, or each label above 0.5."""
    return (proba > 0.5).astype(np.int64) if y.ndim == 2 else proba.argmax(1)


def sensitivity(y: Ints, decisions: Ints, classes: int) -> Figures:
    """(K,) the share of the images of a class, or with a label, that are recognised."""
    return _shares(sides(y, classes), sides(decisions, classes))


def specificity(y: Ints, decisions: Ints, classes: int) -> Figures:
    """(K,) the share of the images not of a class, or without a label, that are not taken for it."""
    return _shares(~sides(y, classes), ~sides(decisions, classes))


def balanced_accuracy(y: Ints, proba: Floats, decisions: Ints | None = None) -> Figure:
    """Mean over classes of the share of its images that are recognised.

    Of several labels, the mean over labels of (sensitivity + specificity) / 2. Decisions are in the form of y; without
    them `likeliest`.
    """
    decided, classes = likeliest(y, proba) if decisions is None else decisions, proba.shape[1]
    parts = [sensitivity(y, decided, classes)] + [specificity(y, decided, classes)] * (y.ndim == 2)
    return lambda weights: float(np.mean([part(weights) for part in parts]))


def calibration_error(y: Ints, proba: Floats) -> Figure:
    """Expected calibration error: |confidence - accuracy| of the likeliest class, averaged over 15 equal bins.

    Classes may hide each other's errors in it: see `classwise_calibration_error`, which of several labels it is.
    Source: Guo et al. arXiv:1706.04599, equation 3.
    """
    if y.ndim == 2:
        return classwise_calibration_error(y, proba)
    return _binary_calibration_error(proba.argmax(1) == y, proba.max(1))


def classwise_calibration_error(y: Ints, proba: Floats) -> Figure:
    """Mean over classes or labels of |probability - share of images of it|, averaged over 15 equal bins.

    Source: Kull et al. arXiv:1910.12656, equation 2.
    """
    errors = _each(_binary_calibration_error, sides(y, proba.shape[1]), proba)
    return lambda weights: float(errors(weights).mean())


def brier_score(y: Ints, proba: Floats) -> Figure:
    """Half the squared distance of the probabilities (K,) from the truth, in [0, 1]; of several labels, their mean.

    Equal to scikit-learn's `brier_score_loss(scale_by_half=True)`, which of two classes is the usual score. Source:
    Brier 1950 (Monthly Weather Review 78).
    """
    squares = (proba - sides(y, proba.shape[1])) ** 2
    return _average(squares.mean(1) if y.ndim == 2 else squares.sum(1) / 2)


def log_loss(y: Ints, proba: Floats) -> Figure:
    """Minus the logarithm of the probability of what is true, from 0 up; of several labels, their mean.

    Equal to scikit-learn's `log_loss`: a probability of 0 counts as the least step of a float, so that it stays finite.
    """
    least = np.finfo(np.float64).eps
    kept = np.clip(proba, least, 1 - least)
    if y.ndim == 2:
        return _average(-np.log(np.where(y == 1, kept, 1 - kept)).mean(1))
    return _average(-np.log(kept[np.arange(len(y)), y]))


# AUC and balanced accuracy are means of what each class has; these are figures of the probabilities as a whole.
OF_PROBABILITIES: dict[str, Metric] = {
    "calibration_error": calibration_error,
    "classwise_calibration_error": classwise_calibration_error,
    "brier_score": brier_score,
    "log_loss": log_loss,
}
METRICS = ("auc", "balanced_accuracy", *OF_PROBABILITIES)


def _each(binary: Binary, positives: npt.NDArray[Any], values: Floats) -> Figures:
    """Of each column of `positives` and `values`, both (N, K)."""
    parts = [binary(positives[:, k] == 1, values[:, k]) for k in range(values.shape[1])]
    return lambda weights: np.array([part(weights) for part in parts])


def _shares(of: Bools, right: Bools) -> Figures:
    whole, found = of.astype(np.float64), (of & right).astype(np.float64)
    return lambda weights: np.asarray((weights @ found) / (weights @ whole))


def _average(values: Floats) -> Figure:
    return lambda weights: float(weights @ values / weights.sum())


def _binary_calibration_error(positive: Bools, values: Floats) -> Figure:
    gaps = values - positive
    bins = np.minimum((values * _BINS).astype(int), _BINS - 1)
    return lambda weights: float(np.abs(np.bincount(bins, weights * gaps, _BINS)).sum() / weights.sum())


def _binary_auc(positive: Bools, values: Floats) -> Figure:
    order = np.argsort(values, kind="stable")
    positive, values = positive[order], values[order]
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])

    def area(weights: Floats) -> float:
        weights = weights[order]
        won, all_ = np.add.reduceat(weights * positive, starts), np.add.reduceat(weights, starts)
        lost = all_ - won
        below = np.cumsum(lost) - lost
        return float((won * (below + lost / 2)).sum() / (won.sum() * lost.sum()))

    return area
