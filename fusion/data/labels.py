"""What is to be predicted: labels as people have them, to class numbers (N,) or to 0 and 1 per label (N, K)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion.evaluation import labels as door

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Targets:
    """`classes` (K,) as they came in; `numbers` (N,), or (N, K) 0 and 1 where an image may have several labels."""

    classes: npt.NDArray[Any]
    numbers: Ints

    @property
    def multilabel(self) -> bool:
        """True where an image may have several labels, or none."""
        return self.numbers.ndim == 2


def read(y: Any, count: int) -> Targets:
    """Labels of `count` images: one each, a list of labels each, or a table (N, K) of 0 and 1.

    Labels are text (without blanks around it), whole numbers or booleans. The columns of a table are called by their
    names, where it has such (as a pandas DataFrame), else 0 to K - 1.

    Raises:
        ValueError: Lengths differ, a label is missing (see `fusion.evaluation.labels.MISSING`) or of no such kind, or
            there is nothing to tell apart.
    """
    if door.are_lists(y):
        return _listed(y, count)
    shape = _shape(y, count)
    if len(shape) == 2 and shape[1] > 1:
        return _indicator(y, count)
    if shape != (count,):
        raise ValueError(f"y must be one label per image, {count} (got shape {shape}). Check X and y.")
    classes, numbers = np.unique(door.column(y), return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"y must hold at least two classes (got {classes.tolist()}). Add images of another.")
    door.warn_alike(classes.tolist(), "classes")
    return Targets(classes, numbers)


def numbered(y: Any, count: int, classes: npt.NDArray[Any], *, multilabel: bool) -> Ints:
    """Labels of further images by the classes of training.

    Raises:
        ValueError: A label is missing or not among them, or a class is absent.
    """
    if multilabel:
        found = _several(y, count, classes)
        if found.shape != (count, len(classes)):
            raise ValueError(f"y must be {(count, len(classes))} (got {found.shape}). Check X and y.")
        if one_sided := _one_sided(found, classes):
            raise ValueError(
                f"validation must hold images with and without every label (not {one_sided[:5]}). Add images."
            )
        return found
    places = placed(y, count, classes, multilabel=False)
    absent = [name for place, name in enumerate(classes.tolist()) if place not in places]
    if absent:
        raise ValueError(f"validation must hold every class (without {absent[:5]}). Add images of them.")
    return places


def placed(y: Any, count: int, classes: npt.NDArray[Any], *, multilabel: bool) -> Ints:
    """As `numbered`, of images that need not hold every class.

    Raises:
        ValueError: A label is missing or not among them, or lengths differ.
    """
    if multilabel:
        found = door.by_name(y, classes) if door.columns(y) else y
        several = door.are_lists(found) and not door.are_flags(found, len(classes))
        table = door.table(door.named_rows(found), classes) if several else door.plain(found)
        if table.shape != (count, len(classes)) or not np.isin(table, (0, 1)).all():
            raise ValueError(f"y must be 0 or 1, {(count, len(classes))} (got shape {table.shape}). Check X and y.")
        return table.astype(np.int64)
    if (shape := _shape(y, count)) != (count,):
        raise ValueError(f"y must be one label per image, {count} (got shape {shape}). Check X and y.")
    return door.places(door.column(y), classes)


def _several(y: Any, count: int, classes: npt.NDArray[Any]) -> Ints:
    if door.are_lists(y):
        return door.table(door.named_rows(y), classes)
    if door.columns(y):
        return _zeros_and_ones(door.by_name(y, classes), count)
    return _zeros_and_ones(y, count)


def _listed(y: Sequence[Any], count: int) -> Targets:
    rows = door.named_rows(y)
    classes = np.unique(door.array([label for labels in rows for label in labels]))
    if len(rows) != count or len(classes) < 2:
        raise ValueError(
            f"y must be a list of labels per image, {count}, with two labels at least "
            f"(got {len(rows)} with {classes.tolist()}). Check X and y."
        )
    door.warn_alike(classes.tolist(), "labels")
    return Targets(classes, _both_sides(door.table(rows, classes), classes))


def _shape(y: Any, count: int) -> tuple[int, ...]:
    shape = door.shape(y)
    if shape[1:] == (0,):  # lists of several lengths, or lists beside single labels
        raise ValueError(f"y must be one label per image, {count}, or a list of labels each (got a mixture). Check y.")
    return shape


def _zeros_and_ones(y: Any, count: int) -> Ints:
    """(N, K), whatever the columns are called."""
    _shape(y, count)
    labels = door.plain(y)
    values = door.listed(labels.ravel())
    odd = [value for value in values if door.missing(value) or value not in (0, 1)]
    if labels.ndim != 2 or len(labels) != count or odd:
        found = sorted({str(value): value for value in values}.values(), key=str)[:5]
        raise ValueError(
            f"y must be 0 or 1 per image and label, ({count}, K) (got shape {labels.shape}, values {found}). "
            "Decide what unknown labels are to be."
        )
    return labels.astype(np.int64)


def _indicator(y: Any, count: int) -> Targets:
    numbers, names = _zeros_and_ones(y, count), door.columns(y)
    classes = np.arange(numbers.shape[1]) if names is None else door.array(names)
    if len(set(classes.tolist())) < len(classes):
        raise ValueError(f"columns of y must have different names (got {classes.tolist()}). Rename them.")
    return Targets(classes, _both_sides(numbers, classes))


def _one_sided(numbers: Ints, classes: npt.NDArray[Any]) -> list[Any]:
    """Labels that all images have, or none."""
    return list(classes[numbers.min(0) == numbers.max(0)].tolist())


def _both_sides(numbers: Ints, classes: npt.NDArray[Any]) -> Ints:
    if one_sided := _one_sided(numbers, classes):
        raise ValueError(f"every label must have images with and without it (not {one_sided[:5]}). Add images.")
    return numbers
