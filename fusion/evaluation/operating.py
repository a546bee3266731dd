"""A threshold that is chosen on some images, and what it is worth there and on others."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_curve

from fusion.evaluation import answers, intervals
from fusion.evaluation.answers import OneLabel
from fusion.evaluation.intervals import Interval, Scale

Bools = npt.NDArray[np.bool_]

_RESAMPLES = 1000
_ROUNDING = 1e-12


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, and how often it is right on the images it was last judged on.

    Where it was chosen, sensitivity or specificity is what was asked for, and flatters: judge it on other images.

    Attributes:
        label: Of which the probability is; it is said to be there from `threshold` up.
        threshold: In [0, 1], or infinite where only nobody is as specific as was asked for.
        sensitivity: Share of the images of the class, or with the label, that are found.
        specificity: Share of the others that are left alone.
        ppv, npv: Share of those found, and of those left alone, where that is right, at the prevalence of these images;
            NaN where there are none.
        images, groups: How many it was judged on.

    Intervals are as in `Evaluation`, at this threshold.
    """

    label: Any
    threshold: float
    sensitivity: Interval
    specificity: Interval
    ppv: Interval
    npv: Interval
    images: int
    groups: int

    def judge(self, model: Any, X: Any, y: Any, groups: Any = None, *, allow_seen: bool = False) -> "OperatingPoint":
        """The same threshold on other images; arguments as in `fusion.evaluate`."""
        return _judged(answers.one_label(model, X, y, groups, self.label, allow_seen), self.threshold)


def operating_point(
    model: Any,
    X: Any,
    y: Any,
    groups: Any = None,
    *,
    sensitivity: float | None = None,
    specificity: float | None = None,
    label: Any = None,
    allow_seen: bool = False,
) -> OperatingPoint:
    """Choose a threshold on images of validation: the most specific one that is so sensitive, or the other way round.

    Either `sensitivity` or `specificity` is given, the least that is wanted, in (0, 1]. `label` is the class that is
    looked for against the rest, or the label; of two classes the second, if None. The other arguments are as in
    `fusion.evaluate`.

    Raises:
        ValueError: Not one of both is given, it is not in (0, 1], the label is none of the model's, or as
            `fusion.evaluate`.

    Example:
        >>> point = operating_point(model, held.images, held.labels, held.groups, sensitivity=0.95)  # doctest: +SKIP
        >>> print(point.judge(model, test.images, test.labels, test.groups).specificity)  # doctest: +SKIP
    """
    wanted = [value for value in (sensitivity, specificity) if value is not None]
    if len(wanted) != 1 or not 0 < wanted[0] <= 1:
        raise ValueError(
            f"sensitivity or specificity must be given, one of them, in (0, 1] (got {sensitivity!r} and "
            f"{specificity!r}). Try sensitivity=0.95."
        )
    one = answers.one_label(model, X, y, groups, label, allow_seen)
    false, true, thresholds = roc_curve(one.positive, one.proba, drop_intermediate=False)  # thresholds descend
    enough = true >= wanted[0] - _ROUNDING if specificity is None else 1 - false >= wanted[0] - _ROUNDING
    places = np.flatnonzero(enough)
    return _judged(one, float(thresholds[places[0] if specificity is None else places[-1]]))


def _judged(one: OneLabel, threshold: float) -> OperatingPoint:
    found, there = one.proba >= threshold, one.positive
    return OperatingPoint(
        one.label,
        threshold,
        sensitivity=_share(one, found, there),
        specificity=_share(one, ~found, ~there),
        ppv=_share(one, there, found),
        npv=_share(one, ~there, ~found),
        images=len(there),
        groups=one.groups,
    )


def _share(one: OneLabel, right: Bools, of: Bools) -> Interval:
    """The share of images that are `right` among those that are `of`; draws without any of them say nothing."""
    if not of.any():
        return Interval(np.nan, np.nan, np.nan)
    columns = np.stack([of & right, of], axis=1).astype(np.float64)
    drawn = intervals.sums(columns, one.positive, one.members, _RESAMPLES)
    right_, of_ = drawn[drawn[:, 1] > 0].T
    return intervals.student(right_ / of_, one.groups, intervals.freedom(one.members, of[:, None]), Scale())
