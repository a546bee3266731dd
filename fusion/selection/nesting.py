"""What probes say of images that they have not seen, short list and penalty of each fold chosen without it."""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from fusion.heads.probe import GRID, Block, Folds, OutOfFold, count, fit_probe
from fusion.heads.solved import Floats, Ints
from fusion.selection import by_fold
from fusion.selection import scores as scores_
from fusion.selection.scores import logme

SHORT = 3  # depths of an encoder that are probed


@dataclass(frozen=True)
class Nested:
    """Log-probabilities of one block of features.

    Attributes:
        outer: (N, K) of each fold, by the probe on all others; NaN in folds that were not asked for.
        inner: By outer fold, (N, K) of each *other* fold, by the probe on what is left without both, at the penalty
            that the outer fold's probe has; NaN in the outer fold, of which nothing here knows anything.
    """

    outer: Floats
    inner: dict[int, Floats]


def shortlisted(scores: Sequence[float]) -> set[int]:
    """Numbers of the depths with the highest scores, which are probed."""
    return set(np.argsort(scores)[::-1][:SHORT].tolist())


def short_list(blocks: Sequence[Block], y: Ints, train: Ints) -> set[int]:
    """Numbers of the depths that LogME puts first by the training images of a fold.

    A class of which these hold one image is left out; where too few classes are left, all depths are listed.
    """
    kept = train[np.bincount(y[train])[y[train]] >= scores_.LEAST]
    if len(np.unique(y[kept])) < 2:
        return set(range(len(blocks)))
    return shortlisted([logme(x[kept], y[kept]) for x in blocks])


def nested(x: Block, y: Ints, folds: Folds, wanted: Collection[int] | None = None, *, copies: int = 1) -> Nested:
    """Opinions as of `out_of_fold`, the penalty of each fold chosen on the other folds alone, by their mean AUC.

    The inner folds are the other outer ones, so that one fit without two folds serves both of them; `check` says
    whether that can be.

    Args:
        x: (N, D) features.
        y: (N,) class numbers.
        folds: Of the cross-validation, three at least.
        wanted: Numbers of the folds that are asked for; all by default.
        copies: Rows of each image, of which each counts so much less, as in the fit of a classifier.
    """
    asked = range(len(folds)) if wanted is None else sorted(wanted)
    grid = [strength / copies for strength in GRID]
    tried = _tried(x, y, [test for _, test in folds], asked, grid)
    outer, place, inner = np.full((len(y), count(y)), np.nan), by_fold.places(folds, len(y)), {}
    for i in asked:
        train, test = folds[i]
        even = np.ones(len(train))
        best = int(np.argmax([by_fold.auc(y[train], said[train], place[train])(even) for said in tried[i]]))
        outer[test] = fit_probe(x[train], y[train], count(y), grid[best]).opinions(x[test])
        inner[i] = tried[i][best].copy()
    return Nested(outer, inner)


def _tried(x: Block, y: Ints, held: list[Ints], asked: Collection[int], grid: Sequence[float]) -> dict[int, Floats]:
    """By outer fold, the inner opinions (P, N, K) at each penalty."""
    found = {i: np.full((len(grid), len(y), count(y)), np.nan) for i in asked}
    for pair in itertools.combinations(range(len(held)), 2):
        takers = [(i, j) for i, j in (pair, pair[::-1]) if i in found]
        if not takers:
            continue
        both = np.concatenate([held[i] for i in pair])
        bench = OutOfFold([x], y, [(np.setdiff1d(np.arange(len(y)), both), both)])
        for place, penalty in enumerate(grid):
            said = bench.alone(0, penalty)
            for i, j in takers:
                found[i][place, held[j]] = said[held[j]]
    return found


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
