"""Heads: from the frozen features of one or several encoders to class probabilities.

A head takes features as blocks, (N, D) per encoder, None where one is missing, and fits on `folds`, which respect
groups. Its unit is the `Probe`: scikit-learn's logistic regression, standardised, with balanced classes. Labels are
(N,) class numbers or (N, K) 0 and 1: multi-label.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar, cast

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_expit, log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from fusion.evaluation import score

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Block = npt.NDArray[np.floating]
Blocks = Sequence[Block]
Some = Sequence[Block | None]  # blocks of which some are missing
Folds = Sequence[tuple[Ints, Ints]]
Arrays = dict[str, Floats]
T = TypeVar("T")

# Inverse strengths of the L2 penalty that are tried where none is given.
GRID = (0.01, 0.1, 1.0, 10.0)
# A class that a fold has not seen gets this log-probability, and no log-probability counts as less.
FLOOR = -12.0
# Of the largest gradient: scikit-learn's own, and that of a head from which fine-tuning starts.
TOLERANCE, EXACT = 1e-4, 1e-7


class Head(Protocol):
    """What a head can do; `restore` of its class is the inverse of `arrays`."""

    def fit(self, blocks: Blocks, y: Ints, folds: Folds, penalties: Sequence[float] | None) -> Self: ...

    def log_proba(self, blocks: Some) -> Floats: ...

    def arrays(self) -> Arrays: ...


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

    def arrays(self) -> Arrays:
        """What `Probe(**arrays)` needs."""
        return {key: getattr(self, key) for key in ("mean", "scale", "weight", "bias")}


def normalised(logits: Floats, multilabel: bool) -> Floats:
    """Logits (N, K) to log-probabilities: of one class among K, or of each label by itself."""
    return np.asarray(log_expit(logits) if multilabel else log_softmax(logits, axis=1))


def fit_probe(
    x: Block, y: Ints, classes: int, penalty: float, stretch: Floats | None = None, tolerance: float = TOLERANCE
) -> Probe:
    """Fit a probe by scikit-learn's objective.

    Args:
        x: (N, D) features.
        y: (N,) class numbers, a class that is absent gets the log-probability `FLOOR`; or (N, K) 0 and 1.
        classes: K.
        penalty: Inverse strength C of the L2 penalty.
        tolerance: Of the largest gradient at the end.
        stretch: (D,) factors on the standardised features: a smaller one means a stronger penalty.
    """
    if y.ndim == 2:
        return _one_by_one(x, y, penalty, stretch, tolerance)
    scaler = StandardScaler().fit(x)
    factors = np.ones(x.shape[1]) if stretch is None else stretch
    solver = LogisticRegression(C=penalty, class_weight="balanced", solver="newton-cg", max_iter=1000, tol=tolerance)
    with threadpool_limits(1):  # matrices this small lose more to waiting threads than they gain
        solver.fit(scaler.transform(x) * factors, y)
    weight, bias = np.zeros((classes, x.shape[1])), np.full(classes, FLOOR)
    if len(solver.classes_) == 2:
        # scikit-learn gives one logit for two classes; the other one's is 0.
        bias[solver.classes_[0]] = 0.0
        weight[solver.classes_[1]], bias[solver.classes_[1]] = solver.coef_[0] * factors, solver.intercept_[0]
    else:
        weight[solver.classes_], bias[solver.classes_] = solver.coef_ * factors, solver.intercept_
    return Probe(scaler.mean_, scaler.scale_, weight, bias)


def _one_by_one(x: Block, y: Ints, penalty: float, stretch: Floats | None, tolerance: float) -> Probe:
    probes = [_one_label(x, column, penalty, stretch, tolerance) for column in y.T]
    weight = np.stack([probe.weight[1] - probe.weight[0] for probe in probes])
    bias = np.stack([probe.bias[1] - probe.bias[0] for probe in probes])
    return Probe(probes[0].mean, probes[0].scale, weight, bias, multilabel=True)


def _one_label(x: Block, y: Ints, penalty: float, stretch: Floats | None, tolerance: float) -> Probe:
    if len(np.unique(y)) == 2:
        return fit_probe(x, y, 2, penalty, stretch, tolerance)
    # A fold may hold no image with, or none without the label.
    scaler = StandardScaler().fit(x)
    bias = np.where(np.arange(2) == y[0], 0.0, FLOOR)
    return Probe(scaler.mean_, scaler.scale_, np.zeros((2, x.shape[1])), bias)


def out_of_fold(x: npt.NDArray[np.floating], y: Ints, folds: Folds, penalty: float) -> Floats:
    """Opinions (N, K) on every image by a probe that has seen neither it nor its group."""
    result = np.full((len(y), count(y)), np.nan)
    for train, test in folds:
        result[test] = fit_probe(x[train], y[train], count(y), penalty).opinions(x[test])
    return result


def count(y: Ints) -> int:
    """K: classes of (N,), or labels of (N, K)."""
    return y.shape[1] if y.ndim == 2 else int(y.max()) + 1


def log_loss(y: Ints, log_proba: Floats) -> float:
    """Mean negative log-probability of the right class, each class counting the same; of labels, their mean."""
    if y.ndim == 2:
        absent = np.log(-np.expm1(np.minimum(log_proba, -1e-12)))
        pairs = [np.stack([no, yes], 1) for no, yes in zip(absent.T, log_proba.T, strict=True)]
        return float(np.mean([log_loss(column, pair) for column, pair in zip(y.T, pairs, strict=True)]))
    picked = log_proba[np.arange(len(y)), y]
    return float(-np.mean([picked[y == k].mean() for k in np.unique(y)]))


def auc_of(y: Ints, opinions: Floats) -> float:
    """Of opinions (N, K); a label that all images have, or none, is left out."""
    if y.ndim == 1:
        return score.auc(y, np.exp(opinions))(np.ones(len(y)))
    both = [k for k in range(y.shape[1]) if len(np.unique(y[:, k])) == 2]
    return float(np.mean([roc_auc_score(y[:, k], opinions[:, k]) for k in both]))


def choose_penalty(x: npt.NDArray[np.floating], y: Ints, folds: Folds) -> float:
    """The penalty of `GRID` with the highest out-of-fold AUC."""
    # Not the lowest log-loss: where groups differ much, that one rewards hardly daring to predict.
    return max(GRID, key=lambda penalty: auc_of(y, out_of_fold(x, y, folds, penalty)))


class Concat:
    """One probe on all blocks side by side, with a penalty per encoder, so that a weak one can be held back."""

    tolerance = TOLERANCE

    def __init__(self, probe: Probe | None = None, widths: Sequence[int] = ()) -> None:
        self.probe, self.widths = probe, list(widths)

    def fit(self, blocks: Blocks, y: Ints, folds: Folds, penalties: Sequence[float] | None) -> Self:
        chosen = penalties or [choose_penalty(x, y, folds) for x in blocks]
        self.widths = [block.shape[1] for block in blocks]
        self.probe = fit_probe(
            np.concatenate(blocks, axis=1), y, count(y), 1.0, _stretch(chosen, self.widths), self.tolerance
        )
        return self

    def log_proba(self, blocks: Some) -> Floats:
        probe, size = _fitted(self.probe), _size(blocks)
        means = np.split(probe.mean, np.cumsum(self.widths)[:-1])
        # A block that is missing counts as the training mean: it then says nothing.
        filled = [np.tile(mean, (size, 1)) if x is None else x for x, mean in zip(blocks, means, strict=True)]
        return probe.log_proba(np.concatenate(filled, axis=1))

    def arrays(self) -> Arrays:
        return {**_fitted(self.probe).arrays(), "widths": np.array(self.widths, np.float64)}

    @classmethod
    def restore(cls, arrays: Arrays, multilabel: bool = False) -> Self:
        own = {key: value for key, value in arrays.items() if key != "widths"}
        return cls(Probe(**own, multilabel=multilabel), arrays["widths"].astype(int).tolist())


class _Probes:
    """A probe per encoder, and weights that say how their log-probabilities are put together."""

    tolerance = TOLERANCE

    def __init__(self, probes: list[Probe] | None = None, weights: Floats | None = None) -> None:
        self.probes, self.weights = probes, weights

    def fit(self, blocks: Blocks, y: Ints, folds: Folds, penalties: Sequence[float] | None) -> Self:
        chosen = penalties or [choose_penalty(x, y, folds) for x in blocks]
        self.weights = self._weigh(blocks, y, folds, chosen)
        pairs = zip(blocks, chosen, strict=True)
        self.probes = [fit_probe(x, y, count(y), c, tolerance=self.tolerance) for x, c in pairs]
        return self

    def log_proba(self, blocks: Some) -> Floats:
        probes, seen = _fitted(self.probes), np.array([x is not None for x in blocks])
        joined = np.full((len(blocks), _size(blocks), len(probes[0].bias)), np.nan)
        joined[seen] = [p.opinions(x) for p, x in zip(probes, blocks, strict=True) if x is not None]
        return normalised(self._combine(joined, _fitted(self.weights), seen), probes[0].multilabel)

    def arrays(self) -> Arrays:
        probes = {f"{i}.{key}": value for i, p in enumerate(_fitted(self.probes)) for key, value in p.arrays().items()}
        return {"weights": _fitted(self.weights), **probes}

    @classmethod
    def restore(cls, arrays: Arrays, multilabel: bool = False) -> Self:
        found = len({key.split(".")[0] for key in arrays if "." in key})
        keys = ("mean", "scale", "weight", "bias")
        probes = [Probe(**{k: arrays[f"{i}.{k}"] for k in keys}, multilabel=multilabel) for i in range(found)]
        return cls(probes, arrays["weights"])

    def _weigh(self, blocks: Blocks, y: Ints, folds: Folds, penalties: Sequence[float]) -> Floats:
        del y, folds, penalties
        return np.full(len(blocks), 1 / len(blocks))

    def _combine(self, parts: Floats, weights: Floats, seen: Flags) -> Floats:
        """Opinions (E, N, K), of which `seen` are there, to logits (N, K)."""
        # Where all that is there weighs nothing, each weighs the same.
        left = weights[seen] if weights[seen].sum() > 0 else np.ones(int(seen.sum()))
        return cast(Floats, np.einsum("e,enk->nk", left / left.sum(), parts[seen]))


class Mean(_Probes):
    """The control: the plain mean of the probes' log-probabilities."""


class Convex(_Probes):
    """Weights >= 0 that sum to 1, fitted on out-of-fold log-probabilities: a partner that does not help gets 0."""

    def _weigh(self, blocks: Blocks, y: Ints, folds: Folds, penalties: Sequence[float]) -> Floats:
        held = np.stack([out_of_fold(x, y, folds, c) for x, c in zip(blocks, penalties, strict=True)])  # (E, N, K)
        found = minimize(
            lambda w: log_loss(y, normalised(np.einsum("e,enk->nk", w, held), y.ndim == 2)),
            np.full(len(held), 1 / len(held)),
            method="SLSQP",
            bounds=[(0, 1)] * len(held),
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        )
        weights = np.clip(found.x, 0, None)
        return np.asarray(weights / weights.sum())


class Stack(_Probes):
    """A second logistic regression on the out-of-fold log-probabilities of all probes."""

    def _weigh(self, blocks: Blocks, y: Ints, folds: Folds, penalties: Sequence[float]) -> Floats:
        held = [out_of_fold(x, y, folds, c) for x, c in zip(blocks, penalties, strict=True)]
        second = fit_probe(np.concatenate(held, axis=1), y, count(y), 0.1)
        return np.concatenate([second.weight / second.scale, _offset(second)[:, None]], axis=1)  # (K, E * K + 1)

    def _combine(self, parts: Floats, weights: Floats, seen: Flags) -> Floats:
        # A missing probe has no opinion: the same log-probability for every class, or even odds.
        nothing = 0.0 if _fitted(self.probes)[0].multilabel else -np.log(parts.shape[2])
        filled = np.where(seen[:, None, None], parts, nothing)
        flat = np.concatenate(list(filled), axis=1)  # (E, N, K) -> (N, E * K)
        return flat @ weights[:, :-1].T + weights[:, -1]


HEADS: dict[str, type[Concat] | type[_Probes]] = {"concat": Concat, "convex": Convex, "stack": Stack, "mean": Mean}


def _size(blocks: Some) -> int:
    present = [len(block) for block in blocks if block is not None]
    if not present:
        raise ValueError("blocks must not all be missing (got none). Keep one encoder.")
    return present[0]


def _stretch(penalties: Sequence[float], widths: Sequence[int]) -> Floats:
    # A penalty 1/C on the weights of a block is a penalty of 1 on the weights of that block times sqrt(C).
    return np.repeat(np.sqrt(penalties), widths)


def _offset(probe: Probe) -> Floats:
    return np.asarray(probe.bias - probe.weight @ (probe.mean / probe.scale))


def _fitted(value: T | None) -> T:
    if value is None:
        raise ValueError("the head must be fitted before it predicts. Call fit first.")
    return value
