"""Folds of a fit: groups stay whole, and every fold can teach every class."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from fusion.evaluation import units

Ints = npt.NDArray[np.int64]

Folds = list[tuple[Ints, Ints]]


def folds(numbers: Ints, groups: npt.NDArray[Any] | None, count: int, seed: int) -> Folds:
    """Pairs of train and test indices; no group is on both sides, and classes are spread evenly.

    Raises:
        ValueError: There are more folds than images of a class or than groups.
    """
    fewest = _fewest(numbers)
    if not 2 <= count <= fewest:
        step = "Pass folds=2 or add images" if fewest >= 2 else "Add images of it"
        raise ValueError(f"folds must be from 2 to the images of the rarest class, {fewest} (got {count}). {step}.")
    if groups is not None and (members := len(np.unique(groups))) < count:
        step = f"Pass folds={members}" if members >= 2 else "Add images of other groups"
        raise ValueError(f"folds must not exceed the groups, {members} (got {count}). {step}.")
    stratified = numbers.ndim == 1
    if groups is None:
        split = (StratifiedKFold if stratified else KFold)(count, shuffle=True, random_state=seed)
    else:
        split = (StratifiedGroupKFold if stratified else GroupKFold)(count, shuffle=True, random_state=seed)
    return list(split.split(numbers, numbers, groups))


def foldable(numbers: Ints, groups: npt.NDArray[Any] | None) -> bool:
    """Whether there can be two folds at all."""
    return _fewest(numbers) >= 2 and (groups is None or len(np.unique(groups)) >= 2)


def of_copies(found: Sequence[tuple[Ints, Ints]], rows: Ints) -> Folds:
    """Folds of images as those of copies, all of an image on one side: (M,) `rows` tell which image each shows."""
    return [(np.flatnonzero(np.isin(rows, fit)), np.flatnonzero(np.isin(rows, rest))) for fit, rest in found]


def held_out(numbers: Ints, groups: npt.NDArray[Any] | None, count: int, seed: int) -> tuple[Ints, Ints]:
    """Split into a rest to train on and a fold to stop early on, each with every class: of `count` folds, or of fewer.

    Of several such folds, the one that leaves the most images of the rarest class.

    Raises:
        ValueError: As `folds`, or two folds cannot both hold every class.
    """
    classes = int(numbers.max()) + 1
    for size in range(count, 1, -1) or [count]:
        pairs = folds(numbers, groups, size, seed)
        found = [pair for pair in pairs if all(_fewest(numbers[part], classes) > 0 for part in pair)]
        if found:
            return max(found, key=lambda pair: _fewest(numbers[pair[0]], classes))
    raise ValueError(
        f"a fold to stop early on must hold every class (got none such of {count} folds or fewer). "
        "Pass validation=(images, labels), or Training(patience=None)."
    )


def fewer(numbers: Ints, groups: npt.NDArray[Any] | None, count: int) -> int:
    """`count` folds, or as many as a part of the training images still allows, two at least."""
    return max(2, min(count, _fewest(numbers), count if groups is None else len(np.unique(groups))))


def most(labels: npt.NDArray[Any], groups: npt.NDArray[Any] | None, wanted: int = 5) -> int:
    """`wanted` folds, or as many as every class has groups to be in, two at least.

    Args:
        labels: (N,), or (N, K) of 0 and 1: then also as many as each label is missing in.
        groups: (N,) patients; None takes every image for itself.
        wanted: At most.
    """
    owners = np.arange(len(labels)) if groups is None else groups
    columns = [labels] if labels.ndim == 1 else list(labels.T)
    fewest = min(len(np.unique(owners[column == value])) for column in columns for value in np.unique(column))
    return int(np.clip(fewest, 2, wanted))


def members(groups: Any, count: int, images: Any = None) -> npt.NDArray[Any] | None:
    """Groups as an array, one per image; None where every image is a group of its own.

    Args:
        groups: (N,) ids, text, whole numbers or booleans; blanks around text do not count.
        count: N.
        images: (N,) of which copies come into one group, and groups that share a copy become one.

    Raises:
        ValueError: They are not one per image, one is missing, or they mix text and numbers.
    """
    return units.held(groups, images, count)


def _fewest(numbers: Ints, classes: int = 0) -> int:
    """Images of the rarest class; of labels, of the rarest of all, present or absent."""
    if numbers.ndim == 2:
        return int(min(numbers.sum(0).min(), (1 - numbers).sum(0).min()))
    return int(np.bincount(numbers, minlength=classes).min())
