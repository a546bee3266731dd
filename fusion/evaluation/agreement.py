"""Do two models make the same mistakes, and does similarity go with gain?

Accurate models agree because they are right. `Agreement.kappa` says what is left beyond that: 1 if they are wrong on
the same images, 0 if their mistakes are independent, below 0 if one is right where the other is wrong.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, pearsonr, spearmanr

from fusion.evaluation.score import Interval
from fusion.similarity.interval import jackknife, numbered

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Measure = Callable[[Floats, Floats], Any]  # of SciPy, with a `statistic`
Numbers = Sequence[float] | npt.NDArray[Any]

_ENDS = 0.025, 0.975
_LEAST = 4  # points: the error of Fisher's z divides by N - 3
_BELOW_ONE = float(np.nextafter(1, 0))  # the z of 1 is infinite


@dataclass(frozen=True)
class Agreement:
    """What two models have in common on the same images.

    Attributes:
        same: Share of images that get the same label from both.
        disagreement: 1 - `same`.
        errors: Share of images on which both are right or both are wrong; two different wrong labels agree here.
        expected: `errors` of two models of these accuracies whose mistakes are independent.
        kappa: (`errors` - `expected`) / (1 - `expected`), the error consistency.
        cohen: Cohen's kappa of the labels: `same` beyond that of two models that give each label as often, at random.
            High for two accurate models, whatever their mistakes.
        images, groups, resamples: How many there were; `groups` were drawn `resamples` times.

    Source: Juodelyte et al. arXiv:2302.08272, prediction similarity, for `errors` and `expected`. Their code takes the
        accuracy of one model twice, acc_A^2 + (1 - acc_A)^2; here `expected` is acc_A acc_B + (1 - acc_A)(1 - acc_B).
        Geirhos et al. arXiv:2006.16736 for `kappa`. Cohen 1960 (Educational and Psychological Measurement 20).
    """

    same: Interval
    disagreement: Interval
    errors: Interval
    expected: Interval
    kappa: Interval
    cohen: Interval
    images: int
    groups: int
    resamples: int


@dataclass(frozen=True)
class Correlation:
    """Pearson's and Spearman's correlation of `points` points in `groups` groups."""

    pearson: Interval
    spearman: Interval
    points: int
    groups: int


def agreement(
    y: Any, first: Any, second: Any, groups: Any = None, *, resamples: int = 1000, seed: int = 0
) -> Agreement:
    """How alike two models predict, with 95 % intervals of a bootstrap over groups; all figures share its draws.

    Draws without a kappa (see `kappa`) are left out of its interval; if more than 2.5 % have none, these could decide
    where it ends, and both ends are NaN. An interval without width says that draws did not differ, not that it is sure.

    Args:
        y: (N,) true labels, numbers or strings.
        first: (N,) labels that one model predicts for the same images.
        second: (N,) those that the other predicts.
        groups: (N,) patients, at least 4; None takes every image for itself.
        resamples: Draws of the bootstrap, at least 1.
        seed: Of the draws.

    Raises:
        ValueError: Labels are not (N,) of the same N, hold NaN or fractions, or mix numbers and strings; groups are not
            N, or fewer than 4; resamples is below 1.

    Example:
        >>> print(agreement([0, 0, 1, 1, 2], [0, 1, 1, 1, 2], [0, 2, 1, 0, 2]).errors.value)  # they differ on the 4th
        0.8
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1 (got {resamples!r}). Try resamples=1000.")
    truth, one, other = _coded(y, first, second)
    members = numbered(np.arange(len(truth)) if groups is None else groups, len(truth))
    count, shares, rng = int(members.max()) + 1, _shares(truth, one, other), np.random.default_rng(seed)
    # Figures of single images: one that is drawn twice only counts twice. (It would be its own neighbour in figures of
    # pairs, which is why fusion.similarity leaves out instead.)
    draws = (np.bincount(rng.integers(count, size=count), minlength=count)[members] for _ in range(resamples))
    figures = np.array([shares(np.ones(len(members))), *(shares(draw.astype(np.float64)) for draw in draws)])
    same, errors, right, other_right, by_chance = figures.T
    expected = right * other_right + (1 - right) * (1 - other_right)
    parts = {"same": same, "disagreement": 1 - same, "errors": errors, "expected": expected}
    parts |= {"kappa": kappa(errors, expected), "cohen": kappa(same, by_chance)}
    intervals = {name: _interval(values) for name, values in parts.items()}
    return Agreement(**intervals, images=len(members), groups=count, resamples=resamples)


def kappa(found: Floats, by_chance: Floats) -> Floats:
    """(found - by_chance) / (1 - by_chance), elementwise; NaN where chance alone makes everything agree.

    That is the case of `Agreement.kappa` where both models are always right or both always wrong, and of
    `Agreement.cohen` where both give one and the same label to all images: there is nothing to tell apart.
    """
    beyond = np.full(found.shape, np.nan)
    np.divide(found - by_chance, 1 - by_chance, out=beyond, where=by_chance < 1)
    return beyond


def correlation(x: Numbers, y: Numbers, groups: Any = None) -> Correlation:
    """Whether one figure goes with another, such as the similarity of encoders with the gain, with 95 % intervals.

    Without groups, points count as independent and the intervals are Fisher's. With groups, they are Student's t of the
    delete-a-group jackknife of z = artanh(r). Both are mapped back from z and stay in [-1, 1]. A correlation of 1 or -1
    has an interval without width, however few the points are.

    Folds of a target depend on each other: of 7 targets with 5 folds, Fisher's intervals held the truth in about 70 %
    of simulations, those by targets in about 95 % (`tests/test_predictions.py`).

    Args:
        x: (N,) one figure of each point, such as a similarity; N >= 4.
        y: (N,) the other, such as the gain.
        groups: (N,) what makes points depend on each other, such as the target of each fold; at least 4 different ones.

    Raises:
        ValueError: x and y are not (N,) of the same N >= 4, not finite, or the same in all points, also with one group
            left out; groups are not N, or fewer than 4.

    Source: Fisher 1921 (Metron 1); Bonett and Wright 2000 (Psychometrika 65) for Spearman's standard error,
        sqrt((1 + r^2 / 2) / (N - 3)); Busing et al. 1999 (Statistics and Computing 9), equations 9 and 10, for groups
        of unequal size.
    """
    a, b, members = _points(x, y, groups)
    around = _fisher if groups is None else _leaving_out
    found = [around(measure, a, b, members) for measure in (pearsonr, spearmanr)]
    pearson, spearman = (Interval(*map(float, np.tanh([z.value, z.low, z.high]))) for z in found)
    return Correlation(pearson, spearman, points=len(a), groups=int(members.max()) + 1)


@overload
def gain(fine_tuned: float, scratch: float) -> float: ...
@overload
def gain(fine_tuned: Numbers, scratch: Numbers | float) -> Floats: ...
def gain(fine_tuned: Numbers | float, scratch: Numbers | float) -> Floats | float:
    """What starting from an encoder brought: (fine_tuned - scratch) / scratch.

    Args:
        fine_tuned: AUC in [0, 1] of the fine-tuned model, or (N,) of several.
        scratch: AUC in (0, 1] of the same trained from random weights; (N,), or one for all.

    Raises:
        ValueError: An AUC is out of its range, or there are not as many of both.

    Source: Juodelyte et al. arXiv:2302.08272, similarity against gain.
    """
    tuned, random = np.asarray(fine_tuned, np.float64), np.asarray(scratch, np.float64)
    if random.ndim and tuned.shape != random.shape:
        raise ValueError(
            f"fine_tuned and scratch must be as many (got shapes {tuned.shape} and {random.shape}). Give one of each."
        )
    for name, values, allowed, good in (
        ("fine_tuned", tuned, "[0, 1]", (tuned >= 0) & (tuned <= 1)),
        ("scratch", random, "(0, 1]", (random > 0) & (random <= 1)),
    ):
        if not good.all():
            raise ValueError(f"{name} must be in {allowed} (got {float(values[~good][0])}). Divide percentages by 100.")
    return (tuned - random) / random


def _coded(y: Any, first: Any, second: Any) -> Ints:
    """Labels as numbers from 0: (3, N)."""
    columns = [np.asarray(values) for values in (y, first, second)]
    shapes = [column.shape for column in columns]
    if columns[0].ndim != 1 or len(set(shapes)) > 1:
        raise ValueError(
            f"y, first and second must be labels (N,) of the same images (got shapes {shapes}). "
            "Pass what model.predict returns."
        )
    for column in columns:
        odd = column[column != (np.floor(column) if column.dtype.kind == "f" else column)]  # NaN differs from itself
        if odd.size:
            raise ValueError(f"y, first and second must hold labels (got {odd[0]}). Pass what model.predict returns.")
    labels = np.concatenate([column.astype(object) for column in columns])  # NumPy would turn 1 beside "a" into "1"
    try:
        return np.unique(labels, return_inverse=True)[1].reshape(3, -1).astype(np.int64)
    except TypeError:
        types = ", ".join(sorted({type(label).__name__ for label in labels}))
        raise ValueError(f"labels must be all numbers or all strings (got {types}). Convert them.") from None


def _shares(truth: Ints, one: Ints, other: Ints) -> Callable[[Floats], Floats]:
    """Of weights (N,): shares of the same label, both right or both wrong, right, right, the same label by chance."""
    right, other_right = one == truth, other == truth
    flags = np.stack([one == other, right == other_right, right, other_right]).astype(np.float64)  # (4, N)
    labels = int(max(one.max(), other.max())) + 1

    def shares(weights: Floats) -> Floats:
        total, often = weights.sum(), [np.bincount(codes, weights, labels) for codes in (one, other)]
        return np.array([*flags @ weights / total, often[0] @ often[1] / total**2])

    return shares


def _interval(values: Floats) -> Interval:
    """Of the value and that of each draw: (1 + R,)."""
    undefined = np.isnan(values[1:]).mean()
    ends = np.nanquantile(values[1:], _ENDS) if undefined <= _ENDS[0] else np.full(2, np.nan)
    return Interval(float(values[0]), *map(float, ends))


def _points(x: Any, y: Any, groups: Any) -> tuple[Floats, Floats, Ints]:
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if a.ndim != 1 or a.shape != b.shape or len(a) < _LEAST:
        raise ValueError(
            f"x and y must be (N,) of the same points, N >= {_LEAST} (got shapes {a.shape} and {b.shape}). Add points."
        )
    for name, values in (("x", a), ("y", b)):
        if not np.isfinite(values).all():
            rows = np.flatnonzero(~np.isfinite(values))[:5].tolist()
            raise ValueError(f"{name} must be finite (got NaN or infinity in points {rows}). Leave those points out.")
    names, members = np.unique(np.arange(len(a)) if groups is None else np.asarray(groups), return_inverse=True)
    if members.shape != a.shape:
        raise ValueError(f"groups must be as many as points (got {len(members)} for {len(a)}). Give one per point.")
    if len(names) < _LEAST:
        raise ValueError(f"groups must be at least {_LEAST} for an interval (got {len(names)}). Add other groups.")
    return a, b, members.astype(np.int64)


def _z(measure: Measure, a: Floats, b: Floats) -> float:
    for name, values in (("x", a), ("y", b)):
        if np.ptp(values) <= 1e-12 * np.abs(values).max():
            raise ValueError(
                f"{name} must differ between points, also with one group left out (got {float(values[0])} in all "
                f"{len(values)}): no correlation is defined. Add other points."
            )
    return float(np.arctanh(np.clip(measure(a, b).statistic, -_BELOW_ONE, _BELOW_ONE)))


def _fisher(measure: Measure, a: Floats, b: Floats, _: Ints) -> Interval:
    z = _z(measure, a, b)
    widened = 1 + np.tanh(z) ** 2 / 2 if measure is spearmanr else 1.0
    reach = float(norm.ppf(_ENDS[1]) * np.sqrt(widened / (len(a) - 3)))
    return Interval(z, z - reach, z + reach)


def _leaving_out(measure: Measure, a: Floats, b: Floats, members: Ints) -> Interval:
    # Half of few groups is too little for a correlation: with what halves miss taken off, 95 % become 88 %.
    return jackknife(lambda rows: _z(measure, a[rows], b[rows]), members, pairs=False)
