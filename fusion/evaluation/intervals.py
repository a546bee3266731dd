"""Intervals over groups: of figures of images by the bootstrap, of figures of pairs of images by leaving groups out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from fusion.evaluation import units

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
OfRows = Callable[[Ints], float]  # a figure of the rows that are given by number

_REDRAWS = 100
_BLOCKS = 50  # without groups: leaving out single ones of many images costs much and says no more
_HALVINGS = 30


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval; both ends are NaN where there is none, as for too few patients."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.low) or np.isnan(self.high):
            return f"{self.value:.3f} (no interval)"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def draws(y: Ints, members: Ints, classes: int, count: int, seed: int) -> Iterator[Floats]:
    """Weights (N,) of images, `count` times: how often their group was drawn with replacement, each class with one."""
    rng = np.random.default_rng(seed)
    groups = int(members.max()) + 1
    drawn, what = _drawn(y, classes), "class" if y.ndim == 1 else "label, and its absence,"
    for _ in range(count):
        for _ in range(_REDRAWS):
            weights = np.bincount(rng.integers(groups, size=groups), minlength=groups)[members].astype(np.float64)
            if drawn(weights).min() > 0:
                break
        else:
            raise ValueError(f"each {what} must be in enough groups to be drawn (got {groups} groups). Add patients.")
        yield weights


def _drawn(y: Ints, classes: int) -> Callable[[Floats], npt.NDArray[Any]]:
    """How much of each class, or of each label and of its absence, a draw holds."""
    if y.ndim == 1:
        return lambda weights: np.bincount(y, weights, classes)
    sides = np.hstack([y, 1 - y]).astype(np.float64)
    return lambda weights: weights @ sides


def jackknife(figure: OfRows, members: Ints, *, pairs: bool = True) -> Interval:
    """The figure of all rows, with Student's t interval around it.

    The jackknife counts what hangs on two groups at once twice, which for noise is nearly all: that part is estimated
    from what two halves miss of the whole, and taken off once.

    Args:
        figure: Of the rows that are given by number.
        members: (N,) group of each row, from 0.
        pairs: Whether the figure is one of pairs of rows, so that anything is counted twice.

    Source: Busing et al. 1999 (Statistics and Computing 9), equations 9 and 10, for groups of unequal size; Efron and
        Stein 1981 (Annals of Statistics 9), theorem 2, for what it counts twice.
    """
    whole, count = figure(np.arange(len(members))), int(members.max()) + 1
    variance = _deleted(figure, members, whole)
    if pairs:
        variance = max(variance - _between_halves(figure, members, whole), variance / 2)
    reach = float(t.ppf(0.975, count - 1) * np.sqrt(variance))
    return Interval(whole, whole - reach, whole + reach)


def blocks(rows: int) -> Ints:
    """Rows dealt to up to 50 random blocks of the same size, give or take one."""
    return np.random.default_rng(0).permutation(rows) % min(rows, _BLOCKS)


def numbered(groups: Any, rows: int) -> Ints:
    """Groups (N,) as numbers from 0, in the order in which they appear: what they are called changes no draw.

    Raises:
        ValueError: They are not as many as rows, fewer than 4 different ones, or no ids (see `units.ids`).
    """
    names, first, members = np.unique(units.ids(groups), return_index=True, return_inverse=True)
    if len(members) != rows:
        raise ValueError(f"groups must be as many as images (got {len(members)} for {rows}). Give one per image.")
    if len(names) < 4:
        raise ValueError(f"groups must be at least 4 for an interval (got {len(names)}). Add images of other patients.")
    return np.argsort(np.argsort(first))[members].astype(np.int64)


def _deleted(figure: OfRows, members: Ints, whole: float) -> float:
    """The delete-a-group variance."""
    count = int(members.max()) + 1
    left = np.array([figure(np.flatnonzero(members != group)) for group in range(count)])
    times = len(members) / np.bincount(members)
    mean = count * whole - ((1 - 1 / times) * left).sum()
    return float(((times * whole - (times - 1) * left - mean) ** 2 / (times - 1)).mean())


def _between_halves(figure: OfRows, members: Ints, whole: float) -> float:
    """The variance of what only pairs of groups say: two halves lack the pairs between them."""
    rng, count = np.random.default_rng(0), int(members.max()) + 1
    missed = []
    for _ in range(_HALVINGS):
        first = np.isin(members, rng.permutation(count)[: count // 2])
        missed.append((figure(np.flatnonzero(first)) + figure(np.flatnonzero(~first))) / 2 - whole)
    return float(np.var(missed, ddof=1))  # not the mean square: halves of a biased measure all miss by more bias
