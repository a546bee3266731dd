"""Figures of weighted images: AUC, balanced accuracy, calibration error."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
# Labels (N,) or (N, K) and probabilities (N, K) are prepared once; each draw then is one call with weights (N,).
Figure = Callable[[Floats], float]
Metric = Callable[[Ints, Floats], Figure]
Binary = Callable[[Bools, Floats], Figure]  # of one column: (N,), (N,)

_BINS = 15


def auc(y: Ints, proba: Floats) -> Figure:
    """Area under the ROC curve, one class against the rest, mean over classes; ties count half.

    Equal to scikit-learn's `roc_auc_score(multi_class="ovr", sample_weight=weights)`, but it sorts once for all draws.
    """
    return _mean(_binary_auc, y if y.ndim == 2 else y[:, None] == np.arange(proba.shape[1]), proba)


def auc_of(y: Ints, scores: Floats) -> float:
    """Compute `auc` of any scores (N, K), over those classes or labels that some images have and others have not."""
    positives = y if y.ndim == 2 else y[:, None] == np.arange(scores.shape[1])
    both = [k for k in range(scores.shape[1]) if 0 < positives[:, k].sum() < len(y)]
    return _mean(_binary_auc, positives[:, both], scores[:, both])(np.ones(len(y)))


def balanced_accuracy(y: Ints, proba: Floats) -> Figure:
    """Mean over classes of the share of its images that are recognised; of several labels, the mean over labels."""
    if y.ndim == 2:
        return _mean(_binary_balanced_accuracy, y, proba)
    correct, classes = proba.argmax(1) == y, proba.shape[1]
    return lambda weights: float(np.mean(np.bincount(y, weights * correct, classes) / np.bincount(y, weights, classes)))


def calibration_error(y: Ints, proba: Floats) -> Figure:
    """Expected calibration error: |confidence - accuracy| of the predicted class, averaged over 15 equal bins.

    Of several labels, the mean over labels of |probability - share of images with the label|, in bins of its
    probability. Source: Guo et al. arXiv:1706.04599, equation 3.
    """
    if y.ndim == 2:
        return _mean(_binary_calibration_error, y, proba)
    return _binary_calibration_error(proba.argmax(1) == y, proba.max(1))


METRICS: dict[str, Metric] = {
    "auc": auc,
    "balanced_accuracy": balanced_accuracy,
    "calibration_error": calibration_error,
}


def _mean(binary: Binary, positives: npt.NDArray[Any], proba: Floats) -> Figure:
    """The mean over the columns of `positives` and `proba`, both (N, K)."""
    parts = [binary(positives[:, k] == 1, proba[:, k]) for k in range(proba.shape[1])]
    return lambda weights: float(np.mean([part(weights) for part in parts]))


def _binary_balanced_accuracy(positive: Bools, values: Floats) -> Figure:
    return balanced_accuracy(positive.astype(np.int64), np.stack([1 - values, values], axis=1))


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
