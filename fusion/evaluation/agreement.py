"""Do two models make the same mistakes?

Accurate models agree because they are right. `Agreement.kappa` says what is left beyond that: 1 if they are wrong on
the same images, 0 if their mistakes are independent, below 0 if one is right where the other is wrong.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion.evaluation import labels, units
from fusion.evaluation.intervals import Interval, numbered

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_ENDS = 0.025, 0.975


@dataclass(frozen=True)
class Agreement:
    """Figures of what two models have in common on the same images.

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


def agreement(
    y: Any,
    first: Any,
    second: Any,
    groups: Any = None,
    *,
    models: Sequence[Any] = (),
    images: Any = None,
    resamples: int = 1000,
    seed: int = 0,
    allow_seen: bool = False,
) -> Agreement:
    """Say how alike two models predict, with 95 % intervals of a bootstrap over groups; all figures share its draws.

    Draws without a kappa (see `kappa`) are left out of its interval; if more than 2.5 % have none, these could decide
    where it ends, and both ends are NaN. An interval without width says that draws did not differ, not that it is sure.

    Args:
        y: (N,) true labels, numbers or strings.
        first: (N,) labels that one model predicts for the same images.
        second: (N,) those that the other predicts.
        groups: (N,) patients, at least 4; None takes every image for itself.
        models: The fitted models that predicted: what they have `seen_` is refused, as in `fusion.evaluate`. Labels
            alone do not tell who was fitted on the images, and models agree on these as on no others.
        images: N, as the models took them; copies of one image count as one patient. Needed with `models`.
        resamples: Draws of the bootstrap, at least 1.
        seed: Of the draws.
        allow_seen: Whether images and patients of a fit may be judged.

    Raises:
        ValueError: Labels are not (N,) of the same N, hold NaN or fractions, or mix numbers and strings; groups are not
            N, or fewer than 4; images are not N, or a model was fitted on some of them, or models come without images;
            a model is not fitted; resamples is below 1.

    Example:
        >>> print(agreement([0, 0, 1, 1, 2], [0, 1, 1, 1, 2], [0, 2, 1, 0, 2]).errors.value)  # they differ on the 4th
        0.8
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1 (got {resamples!r}). Try resamples=1000.")
    truth, one, other = _coded(y, first, second)
    images = list(images) if isinstance(images, Iterator) else images  # gone through more than once
    members = _members(groups, images, len(truth))
    _check_new(models, images, groups, allow_seen)
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


def _members(groups: Any, images: Any, count: int) -> Ints:
    """(N,) the unit of each image; copies among the images are of one."""
    if images is not None and (held := units.length(images)) != count:
        raise ValueError(f"images must be as many as labels (got {held} for {count}). Give one per label.")
    return numbered(units.numbered(groups, images, count), count)


def _check_new(models: Sequence[Any], images: Any, groups: Any, allow_seen: bool) -> None:
    """Refuse what a model was fitted on."""
    if not isinstance(models, list | tuple) or not all(hasattr(model, "classes_") for model in models):
        raise ValueError(f"models must be a list of fitted models (got {models!r}). Pass models=[first, second].")
    if allow_seen or not models:
        return
    if images is None:
        raise ValueError(
            "images must come with models, which know those of their fit by what they show (got None). Pass images=X."
        )
    for model in models:
        units.refuse_seen(getattr(model, "seen_", ()), images, groups)


def _coded(y: Any, first: Any, second: Any) -> Ints:
    """Labels as numbers from 0: (3, N)."""
    given = (y, first, second)
    shapes = [labels.shape(values) for values in given]
    if len(shapes[0]) != 1 or len(set(shapes)) > 1:
        raise ValueError(
            f"y, first and second must be labels (N,) of the same images (got shapes {shapes}). "
            "Pass what model.predict returns."
        )
    values = [value for column in given for value in labels.listed(column)]
    odd = [value for value in values if labels.missing(value) or labels.kind(value) is None]
    if odd:
        raise ValueError(f"y, first and second must hold labels (got {odd[0]!r}). Pass what model.predict returns.")
    if len({labels.kind(value) == "text" for value in values}) > 1:  # NumPy would turn 1 beside "a" into "1"
        types = ", ".join(sorted({type(value).__name__ for value in values}))
        raise ValueError(f"labels must be all numbers or all strings (got {types}). Convert them.")
    return np.unique(labels.array(values), return_inverse=True)[1].reshape(3, -1).astype(np.int64)


def _shares(truth: Ints, one: Ints, other: Ints) -> Callable[[Floats], Floats]:
    """Of weights (N,): shares of the same label, both right or both wrong, right, right, the same label by chance."""
    right, other_right = one == truth, other == truth
    flags = np.stack([one == other, right == other_right, right, other_right]).astype(np.float64)  # (4, N)
    width = int(max(one.max(), other.max())) + 1

    def shares(weights: Floats) -> Floats:
        total, often = weights.sum(), [np.bincount(codes, weights, width) for codes in (one, other)]
        return np.array([*flags @ weights / total, often[0] @ often[1] / total**2])

    return shares


def _interval(values: Floats) -> Interval:
    """Of the value and that of each draw: (1 + R,)."""
    undefined = np.isnan(values[1:]).mean()
    ends = np.nanquantile(values[1:], _ENDS) if undefined <= _ENDS[0] else np.full(2, np.nan)
    return Interval(float(values[0]), *map(float, ends))
