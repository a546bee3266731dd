"""Heads: from the frozen features of one or several encoders to class probabilities.

Every head takes the features as blocks, one (N, D) array per encoder, and fits on `folds`, which respect groups.
The unit is the `Probe`, scikit-learn's logistic regression on standardised features with balanced classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar, cast

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from fusion import evaluation

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Blocks = Sequence[npt.NDArray[np.floating]]
Folds = Sequence[tuple[Ints, Ints]]
Arrays = dict[str, Floats]
T = TypeVar("T")

# Inverse strengths of the L2 penalty that are tried where none is given.
GRID = (0.01, 0.1, 1.0, 10.0)
# A class that a fold has not seen gets this log-probability, and no log-probability counts as less.
FLOOR = -12.0


class Head(Protocol):
    """What a head can do; `arrays` and `restore` are each other's inverse."""

    def fit(self, blocks: Blocks, y: Ints, folds: Folds, penalties: Sequence[float] | None) -> Self: ...

    def log_proba(self, blocks: Blocks) -> Floats: ...

    def arrays(self) -> Arrays: ...

    @classmethod
    def restore(cls, arrays: Arrays) -> Self: ...


@dataclass(frozen=True)
class Probe:
    """Standardisation and a linear map: (N, D) -> log-probabilities (N, K)."""

    mean: Floats
    scale: Floats
    weight: Floats
    bias: Floats

    def log_proba(self, x: npt.NDArray[np.floating]) -> Floats:
        """(N, D) -> (N, K), not below `FLOOR`."""
        logits = (x - self.mean) / self.scale @ self.weight.T + self.bias  # (N, D) @ (D, K) -> (N, K)
        return cast(Floats, np.maximum(log_softmax(logits, axis=1), FLOOR))


def fit_probe(
    x: npt.NDArray[np.floating], y: Ints, classes: int, penalty: float, stretch: Floats | None = None
) -> Probe:
    """Fit a probe by scikit-learn's objective.

    Args:
        x: (N, D) features.
        y: (N,) class numbers; a class that is absent gets the log-probability `FLOOR`.
        classes: K.
        penalty: Inverse strength C of the L2 penalty.
        stretch: (D,) factors on the standardised features: a smaller one means a stronger penalty.
    """
    scaler = StandardScaler().fit(x)
    factors = np.ones(x.shape[1]) if stretch is None else stretch
    solver = LogisticRegression(C=penalty, class_weight="balanced", solver="newton-cg", max_iter=1000)
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


def out_of_fold(x: npt.NDArray[np.floating], y: Ints, folds: Folds, penalty: float) -> Floats:
    """Log-probabilities (N, K) of every image by a probe that has seen neither it nor its group."""
    classes = int(y.max()) + 1
    result = np.full((len(y), classes), np.nan)
    for train, test in folds:
        result[test] = fit_probe(x[train], y[train], classes, penalty).log_proba(x[test])
    return result


def log_loss(y: Ints, log_proba: Floats) -> float:
    """Mean negative log-probability of the right class, each class counting the same."""
    picked = log_proba[np.arange(len(y)), y]
    return float(-np.mean([picked[y == k].mean() for k in np.unique(y)]))


def _auc(y: Ints, log_proba: Floats) -> float:
    return evaluation.auc(y, np.exp(log_proba))(np.ones(len(y)))


def choose_penalty(x: npt.NDArray[np.floating], y: Ints, folds: Folds) -> float:
    """The penalty of `GRID` with the highest out-of-fold AUC.

    Not the lowest log-loss: where groups differ much, that one rewards hardly daring to predict.
    """
    return max(GRID, key=lambda penalty: _auc(y, out_of_fold(x, y, folds, penalty)))


class Concat:
    """One probe on all blocks side by side, with a penalty per encoder, so that a weak one can be held back."""

    def __init__(self, probe: Probe | None = None) -> None:
        self.probe = probe

    def fit(self, blocks: Blocks, y: Ints, folds: Folds, penalties: Sequence[float] | None) -> Self:
        chosen = penalties or [choose_penalty(x, y, folds) for x in blocks]
        stretch = _stretch(chosen, [block.shape[1] for block in blocks])
        self.probe = fit_probe(np.concatenate(blocks, axis=1), y, int(y.max()) + 1, 1.0, stretch)
        return self

    def log_proba(self, blocks: Blocks) -> Floats:
        return _fitted(self.probe).log_proba(np.concatenate(blocks, axis=1))

    def arrays(self) -> Arrays:
        return dict(vars(_fitted(self.probe)))

    @classmethod
    def restore(cls, arrays: Arrays) -> Self:
        return cls(Probe(**arrays))


class _Probes:
    """A probe per encoder, and weights that say how their log-probabilities are put together."""

    def __init__(self, probes: list[Probe] | None = None, weights: Floats | None = None) -> None:
        self.probes, self.weights = probes, weights

    def fit(self, blocks: Blocks, y: Ints, folds: Folds, penalties: Sequence[float] | None) -> Self:
        classes = int(y.max()) + 1
        chosen = penalties or [choose_penalty(x, y, folds) for x in blocks]
        self.weights = self._weigh(blocks, y, folds, chosen)
        self.probes = [fit_probe(x, y, classes, c) for x, c in zip(blocks, chosen, strict=True)]
        return self

    def log_proba(self, blocks: Blocks) -> Floats:
        parts = [probe.log_proba(x) for probe, x in zip(_fitted(self.probes), blocks, strict=True)]
        return self._combine(np.stack(parts), _fitted(self.weights))

    def arrays(self) -> Arrays:
        probes = {
            f"{i}.{key}": value for i, probe in enumerate(_fitted(self.probes)) for key, value in vars(probe).items()
        }
        return {"weights": _fitted(self.weights), **probes}

    @classmethod
    def restore(cls, arrays: Arrays) -> Self:
        count = len({key.split(".")[0] for key in arrays if "." in key})
        probes = [Probe(**{k: arrays[f"{i}.{k}"] for k in ("mean", "scale", "weight", "bias")}) for i in range(count)]
        return cls(probes, arrays["weights"])

    def _weigh(self, blocks: Blocks, y: Ints, folds: Folds, penalties: Sequence[float]) -> Floats:
        del y, folds, penalties
        return np.full(len(blocks), 1 / len(blocks))

    def _combine(self, parts: Floats, weights: Floats) -> Floats:
        return cast(Floats, log_softmax(np.einsum("e,enk->nk", weights, parts), axis=1))


class Mean(_Probes):
    """The control: the plain mean of the probes' log-probabilities."""


class Convex(_Probes):
    """Weights >= 0 that sum to 1, fitted on out-of-fold log-probabilities: a partner that does not help gets 0."""

    def _weigh(self, blocks: Blocks, y: Ints, folds: Folds, penalties: Sequence[float]) -> Floats:
        held = np.stack([out_of_fold(x, y, folds, c) for x, c in zip(blocks, penalties, strict=True)])  # (E, N, K)
        start = np.full(len(held), 1 / len(held))
        found = minimize(
            lambda w: log_loss(y, self._combine(held, w)),
            start,
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
        second = fit_probe(np.concatenate(held, axis=1), y, int(y.max()) + 1, 0.1)
        return np.concatenate([second.weight / second.scale, _offset(second)[:, None]], axis=1)  # (K, E * K + 1)

    def _combine(self, parts: Floats, weights: Floats) -> Floats:
        flat = np.concatenate(list(parts), axis=1)  # (E, N, K) -> (N, E * K)
        return cast(Floats, log_softmax(flat @ weights[:, :-1].T + weights[:, -1], axis=1))


HEADS: dict[str, type[Concat] | type[_Probes]] = {"concat": Concat, "convex": Convex, "stack": Stack, "mean": Mean}


def _stretch(penalties: Sequence[float], widths: Sequence[int]) -> Floats:
    # A penalty 1/C on the weights of a block is a penalty of 1 on the weights of that block times sqrt(C).
    return np.repeat(np.sqrt(penalties), widths)


def _offset(probe: Probe) -> Floats:
    return np.asarray(probe.bias - probe.weight @ (probe.mean / probe.scale))


def _fitted(value: T | None) -> T:
    if value is None:
        raise ValueError("the head must be fitted before it predicts. Call fit first.")
    return value
