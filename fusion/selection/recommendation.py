"""From what probes say of images that they have not seen to depths and a set of encoders, and how sure that is."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion.evaluation import intervals, metrics
from fusion.evaluation.metrics import Figure, auc_of
from fusion.heads.probe import GRID, Block, Folds, count, fit_probe, normalised
from fusion.heads.solved import Floats, Ints

Key = tuple[str, float]  # encoder, depth
Opinions = dict[str, dict[float, Floats]]  # by encoder and depth (N, K) log-probabilities

ROUGH = 1e-2  # of fits that only rank penalties: a fifth of the time of exact ones
_DRAWS = 100


@dataclass(frozen=True)
class Recommendation:
    """The depth of each encoder, and the names of those to fuse, best first, with the AUC that is expected of them."""

    depths: dict[str, float]
    names: list[str]
    auc: float


class Bench:
    """Opinions of all probes, judged together under weights of images.

    Args:
        opinions: Out of fold.
        y: (N,) class numbers.
    """

    def __init__(self, opinions: Opinions, y: Ints) -> None:
        self.opinions, self.y = opinions, y
        self._figures: dict[frozenset[Key], Figure] = {}

    def auc(self, keys: Sequence[Key], weights: Floats) -> float:
        """Compute the AUC of the mean of several opinions, as `head="mean"` gives it."""
        known = frozenset(keys)
        if known not in self._figures:
            mean = np.mean([self.opinions[name][depth] for name, depth in keys], axis=0)
            self._figures[known] = metrics.auc(self.y, np.exp(normalised(mean, multilabel=False)))
        return self._figures[known](weights)

    def recommend(self, weights: Floats) -> Recommendation:
        """The best depth of each encoder, then encoders one by one as long as the next one adds to the AUC."""
        depths = {
            name: max(sorted(by_depth), key=lambda depth, name=name: self.auc([(name, depth)], weights))  # type: ignore[misc]
            for name, by_depth in self.opinions.items()
        }
        taken: list[Key] = []
        reached, left = 0.0, list(depths.items())
        while left:
            following = max(left, key=lambda key: self.auc([*taken, key], weights))
            if (found := self.auc([*taken, following], weights)) <= reached:
                break
            reached = found
            taken.append(following)
            left.remove(following)
        return Recommendation(depths, [name for name, _ in taken], reached)


def nested(x: Block, y: Ints, folds: Folds) -> Floats:
    """Opinions (N, K) as of `out_of_fold`, the penalty of each fold chosen on the other folds alone.

    The inner folds are the other outer ones, so that one fit without two folds serves both of them; `check` says
    whether that can be.
    """
    held = [test for _, test in folds]
    without = {
        (i, j): [fit_probe(*_left(x, y, held[i], held[j]), count(y), penalty, tolerance=ROUGH) for penalty in GRID]
        for i in range(len(held))
        for j in range(i)
    }
    result = np.full((len(y), count(y)), np.nan)
    for i, (train, test) in enumerate(folds):
        inner = np.full((len(GRID), len(y), count(y)), np.nan)
        for j in set(range(len(held))) - {i}:
            inner[:, held[j]] = [probe.opinions(x[held[j]]) for probe in without[max(i, j), min(i, j)]]
        seen, known = np.unique(y[train], return_inverse=True)  # a small fold may hold all images of a class
        best = int(np.argmax([auc_of(known, opinions[train][:, seen]) for opinions in inner]))
        result[test] = fit_probe(x[train], y[train], count(y), GRID[best]).opinions(x[test])
    return result


def check(y: Ints, folds: Folds) -> None:
    """Refuse folds on which `nested` cannot fit.

    Raises:
        ValueError: Without two of them there is one class only.
    """
    for (_, first), (_, second) in itertools.combinations(folds, 2):
        if len(np.unique(np.delete(y, np.concatenate([first, second])))) < 2:
            raise ValueError(
                "folds must leave two classes when two of them are held out (got one class). "
                "Pass images of more patients, of three at least for each class."
            )


def _left(x: Block, y: Ints, *held: Ints) -> tuple[Block, Ints]:
    rows = np.setdiff1d(np.arange(len(y)), np.concatenate(held))
    return x[rows], y[rows]


def stability(bench: Bench, best: Recommendation, groups: npt.NDArray[Any] | None) -> dict[str, float]:
    """The share of draws of groups, with replacement, in which each encoder's depth, and the set, are the same.

    The probes are not fitted anew: opinions are out of fold, so that a draw only weighs them.
    """
    members = np.arange(len(bench.y)) if groups is None else np.unique(groups, return_inverse=True)[1]
    drawn = [
        bench.recommend(weights)
        for weights in intervals.draws(bench.y, members, int(bench.y.max()) + 1, _DRAWS, seed=0)
    ]
    same = {name: np.mean([found.depths[name] == depth for found in drawn]) for name, depth in best.depths.items()}
    keys = {name: best.depths[name] for name in best.names}
    sets = [{name: found.depths[name] for name in found.names} == keys for found in drawn]
    return {**{name: float(share) for name, share in same.items()}, "set": float(np.mean(sets))}
