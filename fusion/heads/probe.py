"""The linear probe: scikit-learn's logistic regression on standardised features, and what it says out of fold.

`OutOfFold` has the opinions of probes on several blocks for any strengths of their penalties, 0 leaving a block out;
`choose` takes the best, for all blocks together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import cast

import numpy as np
import numpy.typing as npt
from scipy.special import log_expit, log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import ThreadpoolController

from fusion.evaluation.metrics import auc_of
from fusion.heads.losses import EVEN, Weighting

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Block = npt.NDArray[np.floating]
Blocks = Sequence[Block]
Folds = Sequence[tuple[Ints, Ints]]
Arrays = dict[str, Floats]
Strengths = tuple[float, ...]  # inverse, of the penalties: one per block
Flags = tuple[bool, ...]  # which blocks are there

# Inverse strengths of the L2 penalty that are tried where none is given.
GRID = (0.01, 0.1, 1.0, 10.0)

# A class that a fold has not seen gets this log-probability, and no log-probability counts as less.
FLOOR = -12.0

# Of the largest gradient: scikit-learn's own, and that of a head from which fine-tuning starts.
TOLERANCE, EXACT = 1e-4, 1e-7
ROUGH = 1e-2  # of fits that only rank strengths: a fifth of the time of exact ones

MARGIN = 0.05  # of AUC, to leave out a block as good as the best: with less, good ones go by chance (Colin27)


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
    scaler = StandardScaler().fit(x, sample_weight=weighting.images)
    factors = np.ones(x.shape[1]) if stretch is None else stretch
    weight, bias = solve(scaler.transform(x) * factors, y, classes, penalty, tolerance, weighting)
    return Probe(scaler.mean_, scaler.scale_, weight * factors, bias, multilabel=y.ndim == 2)


def solve(
    x: Block, y: Ints, classes: int, penalty: float, tolerance: float = TOLERANCE, weighting: Weighting = EVEN
) -> tuple[Floats, Floats]:
    """Weight (K, D) and bias (K,) of a probe on features as they are; arguments as in `fit_probe`."""
    if y.ndim == 2:
        pairs = [solve(x, column, 2, penalty, tolerance, weighting) for column in y.T]
        return np.stack([weight[1] - weight[0] for weight, _ in pairs]), np.array([b[1] - b[0] for _, b in pairs])
    if (y == y[0]).all():  # a fold may hold one class only, or no image with, or none without a label
        return np.zeros((classes, x.shape[1])), np.where(np.arange(classes) == y[0], 0.0, FLOOR)
    solver = LogisticRegression(
        C=penalty, class_weight=weighting.kind, solver="newton-cg", max_iter=1000, tol=tolerance
    )
    with _threads().limit(limits=1):  # matrices this small lose more to waiting threads than they gain
        solver.fit(x, y, sample_weight=weighting.images)
    weight, bias = np.zeros((classes, x.shape[1])), np.full(classes, FLOOR)
    if len(solver.classes_) == 2:
        # scikit-learn gives one logit for two classes; the other one's is 0.
        bias[solver.classes_[0]] = 0.0
        weight[solver.classes_[1]], bias[solver.classes_[1]] = solver.coef_[0], solver.intercept_[0]
    else:
        weight[solver.classes_], bias[solver.classes_] = solver.coef_, solver.intercept_
    return weight, bias


@cache
def _threads() -> ThreadpoolController:
    """Found once: to look for the libraries takes longer than a small fit."""
    return ThreadpoolController()


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


class OutOfFold:
    """Out-of-fold opinions of probes on blocks (N, D_e).

    Args:
        blocks: Of all encoders, or depths.
        y: (N,) class numbers, or (N, K) of 0 and 1.
        folds: Rows to fit on and to judge.
        weighting: How much each image counts.
    """

    def __init__(self, blocks: Blocks, y: Ints, folds: Folds, weighting: Weighting = EVEN) -> None:
        self.y, self.folds, self.weighting, self.size = y, folds, weighting, len(blocks)
        self._blocks, self._known = blocks, cast(dict[tuple[Strengths, float], Floats], {})

    @cached_property
    def _parts(self) -> list[list[tuple[Block, Block]]]:
        return [[_part(x, train, test, self.weighting) for x in self._blocks] for train, test in self.folds]

    def alone(self, block: int, strength: float, tolerance: float | None = None) -> Floats:
        """(N, K) opinions of the probe on one block."""
        return self.together(tuple(strength if e == block else 0.0 for e in range(self.size)), tolerance)

    def together(self, strengths: Strengths, tolerance: float | None = None) -> Floats:
        """(N, K) opinions of one probe on the blocks side by side; rough ones, but for a tolerance."""
        key = strengths, tolerance or ROUGH
        if key not in self._known:
            found = np.full((len(self.y), count(self.y)), np.nan)
            for (train, test), parts in zip(self.folds, self._parts, strict=True):
                found[test] = self._fold(train, parts, *key)
            self._known[key] = found
        return self._known[key]

    def auc(self, opinions: Floats) -> float:
        """The figure by which strengths are chosen."""
        # Not the lowest log-loss: where groups differ much, that one rewards hardly daring to predict.
        return auc_of(self.y, opinions)

    def best_together(self) -> Strengths:
        """The strengths of blocks side by side: those of each alone, shared, 0 of one that only costs."""
        return shared(choose(self, lambda strengths: self.auc(self.together(shared(strengths)))))

    def best_alone(self) -> list[float]:
        """The strength of each block as if it were the only one."""
        return [max(GRID, key=lambda c: self.auc(self.alone(e, c))) for e in range(self.size)]

    def _fold(
        self, train: Ints, parts: Sequence[tuple[Block, Block]], strengths: Strengths, tolerance: float
    ) -> Floats:
        # A penalty 1/C on the weights of a block is a penalty of 1 on the weights of that block times sqrt(C).
        on = [(part, np.sqrt(c)) for part, c in zip(parts, strengths, strict=True) if c > 0]
        x, held = (np.concatenate([part[side] * factor for part, factor in on], axis=1) for side in (0, 1))
        weight, bias = solve(x, self.y[train], count(self.y), 1.0, tolerance, self.weighting.take(train))
        logits = held @ weight.T + bias
        if self.y.ndim == 2:
            return np.clip(logits, FLOOR, -FLOOR)
        return np.maximum(normalised(logits, multilabel=False), FLOOR)


def choose(folded: OutOfFold, figure: Callable[[Strengths], float]) -> Strengths:
    """Strengths of all blocks, chosen by what they are worth together: that of each alone, or 0 where one only costs.

    Args:
        folded: Of the blocks.
        figure: What strengths are worth, such as the AUC of the joined head.
    """
    best = folded.best_alone()
    alone = [folded.auc(folded.alone(e, c)) for e, c in enumerate(best)]
    on = kept(alone, lambda flags: figure(tuple(c * flag for c, flag in zip(best, flags, strict=True))))
    return tuple(c * flag for c, flag in zip(best, on, strict=True))


def shared(strengths: Strengths) -> Strengths:
    """What is left of each strength for blocks side by side: its share, as many as are on.

    Each was chosen as if its block were the only one; E blocks that say the same would else count as one of E times
    the strength.
    """
    return tuple(c / sum(other > 0 for other in strengths) for c in strengths)


def kept(alone: Sequence[float], figure: Callable[[Flags], float]) -> Flags:
    """The blocks that are left when, one by one, each is left out without which the figure is higher.

    It must gain more than `MARGIN`, for the best of many is above the others by chance alone; less where the block is
    worth little alone, and nothing where it is noise.

    Args:
        alone: AUC of each block by itself.
        figure: Of the blocks that are left.
    """
    above = [max(auc - 0.5, 0.0) for auc in alone]
    on: Flags = (True,) * len(alone)
    while sum(on) > 1:
        fewer = {e: (*on[:e], False, *on[e + 1 :]) for e in range(len(on)) if on[e]}
        gains = {e: figure(left) - figure(on) - MARGIN * above[e] / max(*above, 1e-9) for e, left in fewer.items()}
        out = max(gains, key=lambda e: gains[e])
        if gains[out] <= 0:
            break
        on = fewer[out]
    return on


def _part(x: Block, train: Ints, test: Ints, weighting: Weighting) -> tuple[Block, Block]:
    """Standardised rows to fit on and to judge, turned to as many columns as the former have rows where that is fewer.

    Turning changes no distance, so that the penalty and the fit are the same.
    """
    scaler = StandardScaler().fit(x[train], sample_weight=weighting.take(train).images)
    fitted, held = scaler.transform(x[train]), scaler.transform(x[test])
    if fitted.shape[1] <= len(train):
        return fitted, held
    left, values, axes = np.linalg.svd(fitted, full_matrices=False)
    return left * values, held @ axes.T
