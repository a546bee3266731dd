"""Intervals for figures of pairs of images, by leaving groups out.

A bootstrap with replacement is wrong for these: an image that is drawn twice is its own perfect neighbour, so that
noise looks alike. Nothing is drawn twice here.
"""

from collections.abc import Callable
from typing import Any

from fusion.evaluation.intervals import Interval, blocks, jackknife, numbered
from fusion.similarity.measures import Array, Ids, TooFewImages, pair

Measure = Callable[[Any, Any], float]


def interval(measure: Measure, x: Array, y: Array, groups: Any = None, *, ids: Ids | None = None) -> Interval:
    """A measure of `fusion.similarity` with its 95 % interval, by the delete-a-group jackknife.

    It held what the measure is on average in 90 to 99 % of simulated data sets
    (`tests/fusion/similarity/test_interval.py`): of debiased CKA that is the truth, of measures with a bias for few
    images the biased value.

    Args:
        measure: Of two arrays, such as `fusion.cka`; `functools.partial` gives it other settings.
        x: (N, D), a row per image.
        y: (N, D'), rows of the same images.
        groups: (N,) patients, at least 4; None takes every image for itself, in up to 50 random blocks.
        ids: As in `fusion.cka`.

    Raises:
        ValueError: As the measure, also of half the groups; or there are fewer than 4 groups.

    Example:
        >>> import numpy as np
        >>> from fusion import cka, interval
        >>> x, y = np.random.default_rng(0).normal(size=(2, 64, 2048))
        >>> found = interval(cka, x, y)
        >>> found.low < 0 < found.high
        True
    """
    a, b = pair(x, y, ids)
    members = blocks(len(a)) if groups is None else numbered(groups, len(a))
    whole = measure(a, b)
    try:
        return jackknife(lambda rows: measure(a[rows], b[rows]), members)
    except TooFewImages as error:
        raise ValueError(
            f"x and y must hold enough images to measure half of them (got {len(a)}; {error.least} are needed for the "
            f"measure). Pass at least {2 * error.least}, or take the measure alone: {whole:.3f}."
        ) from None
