"""Heads: from the frozen features of one or several encoders to class probabilities.

A head takes features as blocks, (N, D) of one encoder at one depth, None where one is missing, and fits on `folds`,
which respect groups. Its unit is the `Probe`: scikit-learn's logistic regression, standardised, with balanced classes.
Labels are (N,) class numbers or (N, K) 0 and 1: multi-label.
"""

from collections.abc import Sequence
from typing import Protocol, Self, TypeVar, cast

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from fusion.heads.losses import EVEN, Weighting
from fusion.heads.probe import (
    GRID,
    TOLERANCE,
    Arrays,
    Block,
    Blocks,
    Folds,
    OutOfFold,
    Probe,
    Strengths,
    choose,
    count,
    fit_probe,
    log_loss,
    normalised,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Some = Sequence[Block | None]  # blocks of which some are missing
T = TypeVar("T")

_NOTHING = 1e-9  # a weight on the bound


class Head(Protocol):
    """Interface of a head; `restore` of its class is the inverse of `arrays`, `size` the number of fitted values.

    After `fit`, `strengths` are those of the penalties, 0 of a block that is left out, and `held` (N, K), unless not to
    `hold`, the log-probabilities of training images by a head that has not seen them; both are None of a restored one.
    `folded` holds the blocks' opinions of those folds, for whoever asks for them too; one is made where none is given.
    """

    strengths: Strengths | None
    held: Floats | None

    def fit(
        self,
        blocks: Blocks,
        y: Ints,
        folds: Folds,
        penalties: Sequence[float] | None,
        weighting: Weighting = EVEN,
        *,
        hold: bool = True,
        folded: OutOfFold | None = None,
    ) -> Self: ...

    def log_proba(self, blocks: Some) -> Floats: ...

    def arrays(self) -> Arrays: ...

    @property
    def size(self) -> int: ...

    @property
    def on(self) -> Sequence[bool]:
        """Of each block whether it has a say; where none that has is there, the answer is the same for all images."""
        ...


class SolvedConcat:
    """One probe on all blocks side by side, with a penalty per block; blocks that only cost are left out."""

    tolerance = TOLERANCE
    strengths: Strengths | None = None
    held: Floats | None = None

    def __init__(self, probe: Probe | None = None, widths: Sequence[int] = ()) -> None:
        self.probe, self.widths = probe, list(widths)

    def fit(
        self,
        blocks: Blocks,
        y: Ints,
        folds: Folds,
        penalties: Sequence[float] | None,
        weighting: Weighting = EVEN,
        *,
        hold: bool = True,
        folded: OutOfFold | None = None,
    ) -> Self:
        folded = folded or OutOfFold(blocks, y, folds, weighting)
        self.strengths = tuple(penalties or folded.best_together())
        self.held = normalised(folded.together(self.strengths, TOLERANCE), y.ndim == 2) if hold else None
        self.widths = [block.shape[1] for block in blocks]
        # A penalty 1/C on the weights of a block is a penalty of 1 on the weights of that block times sqrt(C).
        x, stretch = np.concatenate(blocks, axis=1), np.repeat(np.sqrt(self.strengths), self.widths)
        self.probe = fit_probe(x, y, count(y), 1.0, stretch, self.tolerance, weighting)
        return self

    def log_proba(self, blocks: Some) -> Floats:
        probe, size = _fitted(self.probe), _size(blocks)
        means = np.split(probe.mean, np.cumsum(self.widths)[:-1])
        # A block that is missing counts as the training mean: it then says nothing.
        filled = [np.tile(mean, (size, 1)) if x is None else x for x, mean in zip(blocks, means, strict=True)]
        return probe.log_proba(np.concatenate(filled, axis=1))

    @property
    def size(self) -> int:
        return _fitted(self.probe).size

    @property
    def on(self) -> Sequence[bool]:
        weight = _fitted(self.probe).weight
        return [bool(part.any()) for part in np.split(weight, np.cumsum(self.widths)[:-1], axis=1)]

    def arrays(self) -> Arrays:
        return {**_fitted(self.probe).arrays(), "widths": np.array(self.widths, np.float64)}

    @classmethod
    def restore(cls, arrays: Arrays, multilabel: bool = False) -> Self:
        own = {key: value for key, value in arrays.items() if key != "widths"}
        return cls(Probe(**own, multilabel=multilabel), arrays["widths"].astype(int).tolist())


class _Probes:
    """A probe per block, and weights that say how their log-probabilities are put together."""

    tolerance = TOLERANCE
    strengths: Strengths | None = None
    held: Floats | None = None

    def __init__(self, probes: list[Probe] | None = None, weights: Floats | None = None) -> None:
        self.probes, self.weights = probes, weights

    def fit(
        self,
        blocks: Blocks,
        y: Ints,
        folds: Folds,
        penalties: Sequence[float] | None,
        weighting: Weighting = EVEN,
        *,
        hold: bool = True,
        folded: OutOfFold | None = None,
    ) -> Self:
        folded = folded or OutOfFold(blocks, y, folds, weighting)
        self.strengths = tuple(penalties or self._chosen(folded))
        self.weights = self._weigh(folded, self.strengths)
        pairs = [(x, c or GRID[0]) for x, c in zip(blocks, self.strengths, strict=True)]
        self.probes = [fit_probe(x, y, count(y), c, None, self.tolerance, weighting) for x, c in pairs]
        if hold:
            joined = self._combine(_opinions(folded, self.strengths), self.weights, np.full(len(blocks), True))
            self.held = normalised(joined, y.ndim == 2)
        return self

    def log_proba(self, blocks: Some) -> Floats:
        probes, seen = _fitted(self.probes), np.array([x is not None for x in blocks])
        joined = np.full((len(blocks), _size(blocks), len(probes[0].bias)), np.nan)
        joined[seen] = [p.opinions(x) for p, x in zip(probes, blocks, strict=True) if x is not None]
        return normalised(self._combine(joined, _fitted(self.weights), seen), probes[0].multilabel)

    @property
    def on(self) -> Sequence[bool]:
        return [True] * len(_fitted(self.probes))  # where all that is there weighs nothing, each weighs the same

    @property
    def size(self) -> int:
        return _fitted(self.weights).size + sum(probe.size for probe in _fitted(self.probes))

    def arrays(self) -> Arrays:
        probes = {f"{i}.{key}": value for i, p in enumerate(_fitted(self.probes)) for key, value in p.arrays().items()}
        return {"weights": _fitted(self.weights), **probes}

    @classmethod
    def restore(cls, arrays: Arrays, multilabel: bool = False) -> Self:
        found = len({key.split(".")[0] for key in arrays if "." in key})
        keys = ("mean", "scale", "weight", "bias")
        probes = [Probe(**{k: arrays[f"{i}.{k}"] for k in keys}, multilabel=multilabel) for i in range(found)]
        return cls(probes, arrays["weights"])

    def _chosen(self, folded: OutOfFold) -> Sequence[float]:
        """Strengths (E,) where none are given."""
        return folded.best_alone()

    def _weigh(self, folded: OutOfFold, strengths: Sequence[float]) -> Floats:
        raise NotImplementedError

    def _combine(self, parts: Floats, weights: Floats, seen: Flags) -> Floats:
        """Opinions (E, N, K), of which `seen` are there, to logits (N, K)."""
        # Where all that is there weighs nothing, each weighs the same.
        left = weights[seen] if weights[seen].sum() > 0 else np.ones(int(seen.sum()))
        return cast(Floats, np.einsum("e,enk->nk", left / left.sum(), parts[seen]))


class SolvedMean(_Probes):
    """The control: the plain mean of the probes' log-probabilities, of those that do not only cost."""

    def _chosen(self, folded: OutOfFold) -> Sequence[float]:
        def figure(strengths: Strengths) -> float:
            on = [folded.alone(e, c) for e, c in enumerate(strengths) if c > 0]
            return folded.auc(normalised(np.mean(on, axis=0), folded.y.ndim == 2))

        return choose(folded, figure)

    def _weigh(self, _: OutOfFold, strengths: Sequence[float]) -> Floats:
        return (np.asarray(strengths) > 0) / np.count_nonzero(strengths)


class SolvedConvex(_Probes):
    """Weights >= 0 that sum to 1, fitted on out-of-fold log-probabilities of those that do not only cost.

    Log-loss alone would let noise in: it makes an opinion that is too sure of itself less so.
    """

    def _chosen(self, folded: OutOfFold) -> Sequence[float]:
        def figure(strengths: Strengths) -> float:
            joined = np.einsum("e,enk->nk", self._weigh(folded, strengths), _opinions(folded, strengths))
            return folded.auc(normalised(joined, folded.y.ndim == 2))

        return choose(folded, figure)

    def _weigh(self, folded: OutOfFold, strengths: Sequence[float]) -> Floats:
        y, weighting, weights, on = folded.y, folded.weighting, np.zeros(len(strengths)), np.asarray(strengths) > 0
        opinions = _opinions(folded, strengths)[on]
        found = minimize(
            lambda w: log_loss(y, normalised(np.einsum("e,enk->nk", w, opinions), y.ndim == 2), weighting),
            np.full(len(opinions), 1 / len(opinions)),
            method="SLSQP",
            bounds=[(0, 1)] * len(opinions),
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        )
        weights[on] = np.clip(found.x, 0, None)
        return np.asarray(weights / weights.sum())


class SolvedStack(_Probes):
    """A second logistic regression on the out-of-fold log-probabilities: a weight >= 0 per probe, a bias per class.

    One weight for all classes of a probe: a full matrix between classes is too much to learn from as few opinions.
    Source: Breiman 1996 (Machine Learning 24), stacked regressions, for the weights from 0.
    """

    def _weigh(self, folded: OutOfFold, strengths: Sequence[float]) -> Floats:
        y, weighting, opinions = folded.y, folded.weighting, _opinions(folded, strengths)
        encoders, _, classes = opinions.shape

        def loss(values: Floats) -> float:
            logits = np.einsum("e,enk->nk", values[:encoders], opinions) + values[encoders:]
            fit = log_loss(y, normalised(logits, y.ndim == 2), weighting)
            return fit + float(values[encoders:] @ values[encoders:]) / len(y)

        start = np.r_[np.full(encoders, 1 / encoders), np.zeros(classes)]
        found = minimize(loss, start, method="L-BFGS-B", bounds=[(0, None)] * encoders + [(None, None)] * classes).x
        each = [np.eye(classes) * weight for weight in found[:encoders]]
        return np.concatenate([*each, found[encoders:, None]], axis=1)  # (K, E * K + 1)

    @property
    def on(self) -> Sequence[bool]:
        parts = np.split(_fitted(self.weights)[:, :-1], len(_fitted(self.probes)), axis=1)
        return [bool((np.abs(part) > _NOTHING).any()) for part in parts]

    def _combine(self, parts: Floats, weights: Floats, seen: Flags) -> Floats:
        # A missing probe has no opinion: the same log-probability for every class, or even odds.
        nothing = 0.0 if _fitted(self.probes)[0].multilabel else -np.log(parts.shape[2])
        filled = np.where(seen[:, None, None], parts, nothing)
        return np.concatenate(list(filled), axis=1) @ weights[:, :-1].T + weights[:, -1]  # (E, N, K) -> (N, E * K)


SOLVED: dict[str, type[SolvedConcat] | type[_Probes]] = {
    "concat": SolvedConcat,
    "convex": SolvedConvex,
    "stack": SolvedStack,
    "mean": SolvedMean,
}


def _opinions(folded: OutOfFold, strengths: Sequence[float]) -> Floats:
    """(E, N, K) out of fold, of each probe; one that is left out has one too, for whoever has no other."""
    return np.stack([folded.alone(e, c or GRID[0], TOLERANCE) for e, c in enumerate(strengths)])


def _size(blocks: Some) -> int:
    present = [len(block) for block in blocks if block is not None]
    if not present:
        raise ValueError("blocks must not all be missing (got none). Keep one encoder.")
    return present[0]


def _fitted(value: T | None) -> T:
    if value is None:
        raise ValueError("the head must be fitted before it predicts. Call fit first.")
    return value
