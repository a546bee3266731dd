"""Intervals over groups: of figures of images by the bootstrap, of figures of pairs of images by leaving groups out.

Percentiles of the draws promise 95 % and hold 85 % with six groups: they know neither that a spread of few groups is
itself uncertain, nor that draws spread too little. Student's t is told both (`Precision`), here as in p-values.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from scipy.stats import t

from fusion.evaluation import units

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
OfRows = Callable[[Ints], float]  # a figure of the rows that are given by number

LEAST = 6  # groups for an interval: fewer say little but which of them these are
CARRIERS = 3  # groups of a class for an interval: the spread of two is hardly known, that of one not at all

_REDRAWS = 100
_FAR = 700.0  # the largest exponent of e that is finite
_UNLIKE = 2.0  # that groups of unlike size count as fewer holds in full only where size is all that they differ in
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


@dataclass(frozen=True)
class Scale:
    """On which scale a figure's interval is symmetric, so that it stays where the figure can be.

    Attributes:
        low, high: Between which values the figure is; with both the scale is the logit, from 0 up the logarithm.
        binned: Whether it sums absolute values over bins, which noise only adds to: its scale is its own.
    """

    low: float = 0.0
    high: float = 1.0
    binned: bool = False

    def differences(self) -> "Scale":
        """The scale of differences of the figure, which is their own."""
        reach = self.high - self.low
        return Scale(-reach, reach)


def student(values: Floats, groups: int, freedom: float, scale: Scale) -> Interval:
    """Student's t interval of a figure, from draws of whole groups.

    Draws with replacement spread too little, by (G - 1) / G, and percentiles of them do not know that a spread of few
    groups is itself uncertain: they promise 95 % and hold 85 % with six groups.

    Args:
        values: (1 + R,) the figure, then that of each draw.
        groups: G, how many were drawn.
        freedom: Degrees of freedom of their spread (see `freedom`); NaN for no interval.
        scale: Of the figure.
    """
    value = float(values[0])
    if np.isnan(freedom):
        return Interval(value, np.nan, np.nan)
    reach = float(t.ppf(0.975, freedom)) * error(values, groups)
    if scale.binned:  # noise adds to it twice in a draw: once in the images, once more in drawing them
        excess = max(0.0, float(values[1:].mean()) - value)
        low, high = value - 2 * excess - reach, value + reach
    elif scale.low < 0 or not scale.low < value < scale.high:
        low, high = value - reach, value + reach
    elif scale.high == np.inf:
        low, high = value * np.exp(np.array([-1, 1]) * min(reach / value, _FAR))
    else:
        low, high = expit(logit(value) + np.array([-1, 1]) * reach / (value * (1 - value)))
    if reach == 0 and scale == Scale() and value in (0, 1):  # no error seen: the "rule of three", over groups
        unseen = 1 - 0.025 ** (1 / (freedom + 1))
        low, high = (0.0, unseen) if value == 0 else (1 - unseen, 1.0)
    return Interval(value, float(max(low, min(scale.low, value))), float(min(high, max(scale.high, value))))


def error(values: Floats, groups: int) -> float:
    """The standard error of a figure, from the figure and its draws (1 + R,) of so many groups."""
    return float(values[1:].std() * np.sqrt(groups / (groups - 1)))


def p_value(values: Floats, groups: int, freedom: float) -> float:
    """Two-sided p-value of a difference, in [0, 1], below 0.05 where its interval (`student`) leaves out 0; NaN
    where there is no interval."""
    if np.isnan(freedom):
        return float("nan")
    if (spread := error(values, groups)) == 0:
        return float(values[0] == 0)
    return float(2 * t.sf(abs(values[0]) / spread, freedom))


def freedom(members: Ints, parts: npt.NDArray[np.bool_]) -> float:
    """Degrees of freedom of the spread of a figure over groups; NaN where there are too few for an interval.

    A figure that has a part from each of several classes, each with a spread of its own over the groups of that class,
    has those of Satterthwaite; groups of unlike size count as the fewer of the same size that are as sure (Kish).

    Args:
        members: (N,) group of each image, from 0.
        parts: (N, P) the images that each part of the figure is of.

    Source: Satterthwaite 1946 (Biometrics Bulletin 2), equation 17; Kish 1965, Survey Sampling, section 11.7.
    """
    count = int(members.max()) + 1
    whole = _as_many(np.bincount(members, minlength=count).astype(np.float64))
    sizes = np.stack([np.bincount(members, column, count) for column in parts.T.astype(np.float64)])  # (P, G)
    carriers = (sizes > 0).sum(1)
    if count < LEAST or carriers.min() < CARRIERS:
        return float("nan")
    like = _as_many(sizes)
    each = np.minimum(carriers - 1, _UNLIKE * (like - 1))
    together = (1 / like).sum() ** 2 / (1 / (like**2 * each)).sum()
    return float(max(1, min(count - 1, _UNLIKE * (float(whole) - 1), together)))


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


def sums(values: Floats, positive: npt.NDArray[np.bool_], members: Ints, count: int) -> Floats:
    """Sums (1 + R, M) of values (N, M) over all images, then over those of each of so many draws of groups."""
    y = positive.astype(np.int64)
    return np.array([values.sum(0), *(weights @ values for weights in draws(y, members, 2, count, seed=0))])


def _as_many(sizes: npt.NDArray[Any]) -> Floats:
    """How many groups of one size are as sure as these, of which sizes (..., G) are given."""
    return np.asarray(sizes.sum(-1) ** 2 / (sizes**2).sum(-1))


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
