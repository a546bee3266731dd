"""What probabilities are worth, as curves: whether they come true (reliability), and whom they would help (decisions).

A curve is of one class against the rest, or of one label: `label`, which may be left out where there are two classes
and then is the second. Arguments that are not told here are as in `fusion.evaluate`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion.evaluation import answers, intervals
from fusion.evaluation.answers import OneLabel
from fusion.evaluation.intervals import Scale

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_RESAMPLES = 1000
_THRESHOLDS = tuple(np.arange(1, 100) / 100)
_GAIN = Scale(-np.inf, np.inf)


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often what is predicted comes true, in bins (B,) of the predicted probability.

    Attributes:
        label: Of which the probability is.
        predicted: Mean probability; NaN in an empty bin.
        observed: Share of images of the class, or with the label.
        low, high: Ends of its 95 % interval over groups; NaN in a bin that images of too few groups fall into.
        images: How many fall into each bin.

    Source: Niculescu-Mizil and Caruana 2005 (ICML), section 4.
    """

    label: Any
    predicted: Floats
    observed: Floats
    low: Floats
    high: Floats
    images: Ints


@dataclass(frozen=True, eq=False)
class DecisionCurve:
    """Net benefit (T,) of treating whom the model gives at least a threshold probability, per image.

    Attributes:
        label: Of which the probability is.
        thresholds: At which a false alarm is worth p / (1 - p) of a case that is found.
        net_benefit: Share of true positives, minus that of false ones times p / (1 - p).
        low, high: Ends of its 95 % interval over groups; NaN where there are too few.
        treat_all: The net benefit of treating everybody; that of treating nobody is 0.

    Source: Vickers and Elkin 2006 (Medical Decision Making 26), equation 1.
    """

    label: Any
    thresholds: Floats
    net_benefit: Floats
    low: Floats
    high: Floats
    treat_all: Floats


def reliability_curve(
    model: Any, X: Any, y: Any, groups: Any = None, *, label: Any = None, bins: int = 15, allow_seen: bool = False
) -> Reliability:
    """Compare the probabilities of a label with how often it is there, in so many bins of the same width.

    Raises:
        ValueError: As `fusion.evaluate`, bins are not whole from 1, or the label is none of the model's.
    """
    if not isinstance(bins, int | np.integer) or bins < 1:
        raise ValueError(f"bins must be whole from 1 (got {bins!r}). Try bins=15.")
    one = answers.one_label(model, X, y, groups, label, allow_seen)
    place = np.minimum((one.proba * bins).astype(int), bins - 1)
    into = place[:, None] == np.arange(bins)  # (N, B)
    held = _drawn(one, np.hstack([into, into & one.positive[:, None], into * one.proba[:, None]]))
    with np.errstate(invalid="ignore"):  # empty bins
        drawn = held[:, bins : 2 * bins] / held[:, :bins]
        predicted = held[0, 2 * bins :] / held[0, :bins]
    ends = [_ends(one, drawn[:, b], into[:, [b]], Scale()) for b in range(bins)]
    low, high = np.array(ends).T
    return Reliability(one.label, predicted, drawn[0], low, high, into.sum(0))


def decision_curve(
    model: Any,
    X: Any,
    y: Any,
    groups: Any = None,
    *,
    label: Any = None,
    thresholds: Any = None,
    allow_seen: bool = False,
) -> DecisionCurve:
    """Compute the net benefit of acting on the probabilities of a label, at `thresholds` (T,) in (0, 1).

    Without thresholds these are .01, .02, ..., .99.

    Raises:
        ValueError: As `fusion.evaluate`, thresholds are not in (0, 1), or the label is none of the model's.
    """
    at = np.atleast_1d(np.asarray(_THRESHOLDS if thresholds is None else thresholds, dtype=np.float64))
    if at.ndim != 1 or not at.size or not ((at > 0) & (at < 1)).all():
        raise ValueError(f"thresholds must be (T,) between 0 and 1 (got {thresholds!r}). Try [0.1, 0.2, 0.5].")
    one = answers.one_label(model, X, y, groups, label, allow_seen)
    worth = np.where(one.positive[:, None], 1, -at / (1 - at))  # (N, T): of treating each image
    treated = one.proba[:, None] >= at
    held = _drawn(one, np.hstack([treated * worth, worth, np.ones((len(worth), 1))]))
    drawn, everybody = held[:, : at.size] / held[:, [-1]], held[0, at.size : -1] / held[0, -1]
    both = np.stack([one.positive, ~one.positive], axis=1)
    low, high = np.array([_ends(one, values, both, _GAIN) for values in drawn.T]).T
    return DecisionCurve(one.label, at, drawn[0], low, high, everybody)


def _drawn(one: OneLabel, values: npt.NDArray[Any]) -> Floats:
    return intervals.sums(values.astype(np.float64), one.positive, one.members, _RESAMPLES)


def _ends(one: OneLabel, drawn: Floats, part: npt.NDArray[np.bool_], scale: Scale) -> tuple[float, float]:
    free = intervals.freedom(one.members, part)
    if np.isnan(drawn).any():  # of an empty bin; a draw may leave one empty
        drawn = np.r_[drawn[0], drawn[1:][~np.isnan(drawn[1:])]]
    found = intervals.student(drawn, one.groups, free, scale)
    return found.low, found.high
