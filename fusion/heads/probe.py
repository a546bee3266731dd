"""The linear probe: scikit-learn's logistic regression on standardised features, and its opinions out of fold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
from scipy.special import log_expit, log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from fusion.evaluation.metrics import auc_of
from fusion.heads.losses import EVEN, Weighting

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Block = npt.NDArray[np.floating]
Blocks = Sequence[Block]
Folds = Sequence[tuple[Ints, Ints]]
Arrays = dict[str, Floats]

# Inverse strengths of the L2 penalty that are tried where none is given.
GRID = (0.01, 0.1, 1.0, 10.0)

# A class that a fold has not seen gets this log-probability, and no log-probability counts as less.
FLOOR = -12.0

# Of the largest gradient: scikit-learn's own, and that of a head from which fine-tuning starts.
TOLERANCE, EXACT = 1e-4, 1e-7


@dataclass(frozen=True)
class Probe:
    """Standardisation and a linear map: (N, D) -> log-probabilities (N, K), of one class among K or of each label."""

    mean: Floats
    scale: Floats
    weight: Floats
    bias: Floats
    multilabel: bool = False

    def log_proba(self, x: Block) -> Floats:
        """(N, D) -> (N, K), not below `FLOOR`."""
        return cast(Floats, np.maximum(normalised(self.logits(x), self.multilabel), FLOOR))

    def logits(self, x: Block) -> Floats:
        """(N, D) -> (N, K)."""
        return (x - self.mean) / self.scale @ self.weight.T + self.bias  # (N, D) @ (D, K) -> (N, K)

    def opinions(self, x: Block) -> Floats:
        """(N, D) -> (N, K): what heads put together: log-probabilities, of labels log-odds."""
        return np.clip(self.logits(x), FLOOR, -FLOOR) if self.multilabel else self.log_proba(x)

    @property
    def size(self) -> int:
        """Number of fitted values; mean and scale are read off the features."""
        return self.weight.size + self.bias.size

    def arrays(self) -> Arrays:
        """Return what `Probe(**arrays)` needs."""
        return {key: getattr(self, key) for key in ("mean", "scale", "weight", "bias")}


def normalised(logits: Floats, multilabel: bool) -> Floats:
    """Logits (N, K) to log-probabilities: of one class among K, or of each label by itself."""
    return np.asarray(log_expit(logits) if multilabel else log_softmax(logits, axis=1))


def fit_probe(
    x: Block,
    y: Ints,
    classes: int,
    penalty: float,
    stretch: Floats | None = None,
    tolerance: float = TOLERANCE,
    weighting: Weighting = EVEN,
) -> Probe:
    """Fit a probe by scikit-learn's objective.

    Args:
        x: (N, D) features.
        y: (N,) class numbers, a class that is absent gets the log-probability `FLOOR`; or (N, K) 0 and 1.
        classes: K.
        penalty: Inverse strength C of the L2 penalty.
        stretch: (D,) factors on the standardised features: a smaller one means a stronger penalty.
        tolerance: Of the largest gradient at the end.
        weighting: How much each image counts.
    """
    if y.ndim == 2:
        return _one_by_one([_one_label(x, column, penalty, stretch, tolerance, weighting) for column in y.T])
    scaler = StandardScaler().fit(x, sample_weight=weighting.images)
    factors = np.ones(x.shape[1]) if stretch is None else stretch
    solver = LogisticRegression(
        C=penalty, class_weight=weighting.kind, solver="newton-cg", max_iter=1000, tol=tolerance
    )
    with threadpool_limits(1):  # matrices this small lose more to waiting threads than they gain
        solver.fit(scaler.transform(x) * factors, y, sample_weight=weighting.images)
    weight, bias = np.zeros((classes, x.shape[1])), np.full(classes, FLOOR)
    if len(solver.classes_) == 2:
        # scikit-learn gives one logit for two classes; the other one's is 0.
        bias[solver.classes_[0]] = 0.0
        weight[solver.classes_[1]], bias[solver.classes_[1]] = solver.coef_[0] * factors, solver.intercept_[0]
    else:
        weight[solver.classes_], bias[solver.classes_] = solver.coef_ * factors, solver.intercept_
    return Probe(scaler.mean_, scaler.scale_, weight, bias)


def _one_by_one(probes: Sequence[Probe]) -> Probe:
    weight = np.stack([probe.weight[1] - probe.weight[0] for probe in probes])
    bias = np.stack([probe.bias[1] - probe.bias[0] for probe in probes])
    return Probe(probes[0].mean, probes[0].scale, weight, bias, multilabel=True)


def _one_label(
    x: Block, y: Ints, penalty: float, stretch: Floats | None, tolerance: float, weighting: Weighting
) -> Probe:
    if len(np.unique(y)) == 2:
        return fit_probe(x, y, 2, penalty, stretch, tolerance, weighting)
    # A fold may hold no image with, or none without the label.
    scaler = StandardScaler().fit(x, sample_weight=weighting.images)
    bias = np.where(np.arange(2) == y[0], 0.0, FLOOR)
    return Probe(scaler.mean_, scaler.scale_, np.zeros((2, x.shape[1])), bias)


def out_of_fold(
    x: npt.NDArray[np.floating], y: Ints, folds: Folds, penalty: float, weighting: Weighting = EVEN
) -> Floats:
    """Opinions (N, K) on every image by a probe that has seen neither it nor its group."""
    result = np.full((len(y), count(y)), np.nan)
    for train, test in folds:
        probe = fit_probe(x[train], y[train], count(y), penalty, weighting=weighting.take(train))
        result[test] = probe.opinions(x[test])
    return result


def count(y: Ints) -> int:
    """K: classes of (N,), or labels of (N, K)."""
    return y.shape[1] if y.ndim == 2 else int(y.max()) + 1


def log_loss(y: Ints, log_proba: Floats, weighting: Weighting = EVEN) -> float:
    """Mean negative log-probability of the right class, classes or images counting the same; of labels, their mean."""
    if y.ndim == 2:
        absent = np.log(-np.expm1(np.minimum(log_proba, -1e-12)))
        pairs = [np.stack([no, yes], 1) for no, yes in zip(absent.T, log_proba.T, strict=True)]
        return float(np.mean([log_loss(column, pair, weighting) for column, pair in zip(y.T, pairs, strict=True)]))
    picked, each = log_proba[np.arange(len(y)), y], np.ones(len(y)) if weighting.images is None else weighting.images
    if not weighting.balanced:
        return float(-np.average(picked, weights=each))
    return float(-np.mean([np.average(picked[y == k], weights=each[y == k]) for k in np.unique(y)]))


def choose_penalty(x: npt.NDArray[np.floating], y: Ints, folds: Folds, weighting: Weighting = EVEN) -> float:
    """The penalty of `GRID` with the highest out-of-fold AUC."""
    # Not the lowest log-loss: where groups differ much, that one rewards hardly daring to predict.
    return max(GRID, key=lambda penalty: auc_of(y, out_of_fold(x, y, folds, penalty, weighting)))
