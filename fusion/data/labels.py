"""What is to be predicted: labels as people have them, to class numbers (N,) or to 0 and 1 per label (N, K)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.utils.multiclass import type_of_target

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
    """Labels of `count` images: one each, (N, K) of 0 and 1, or a list of labels each.

    Raises:
        ValueError: Lengths differ, values are no classes, or there is nothing to tell apart.
    """
    if _are_lists(y):
        return _listed(y, count)
    labels = _array(y, count)
    if labels.ndim == 2 and labels.shape[1] > 1:
        return _indicator(labels, count)
    if labels.ndim != 1 or len(labels) != count:
        raise ValueError(f"y must be one label per image, {count} (got shape {labels.shape}). Check X and y.")
    unknown = [i for i, label in enumerate(labels.tolist()) if label is None or label != label]  # NaN is not itself
    if unknown:
        raise ValueError(f"y must be known for every image (got none for images {unknown[:5]}). Leave these out.")
    if type_of_target(labels) not in ("binary", "multiclass"):
        raise ValueError(f"y must hold classes (got {type_of_target(labels)} values). Pass strings or integers.")
    classes, numbers = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"y must hold at least two classes (got {classes.tolist()}). Add images of another.")
    return Targets(classes, numbers)


def numbered(y: Any, count: int, classes: npt.NDArray[Any], *, multilabel: bool) -> Ints:
    """Labels of further images by the classes of training.

    Raises:
        ValueError: A label is not among them, or a class is absent.
    """
    if multilabel:
        found = _encoded(y, classes) if _are_lists(y) else _indicator(_array(y, count), count).numbers
        if found.shape != (count, len(classes)):
            raise ValueError(f"y must be {(count, len(classes))} (got {found.shape}). Check X and y.")
        return _both_sides(found, classes)
    labels = _array(y, count)
    if labels.shape != (count,):
        raise ValueError(f"y must be one label per image, {count} (got shape {labels.shape}). Check X and y.")
    unknown = sorted(set(labels.tolist()) - set(classes.tolist()), key=str)
    if unknown:
        raise ValueError(f"y must hold labels of training (got {unknown[:5]}). Known: {classes.tolist()}.")
    absent = sorted(set(classes.tolist()) - set(labels.tolist()), key=str)
    if absent:
        raise ValueError(f"validation must hold every class (without {absent[:5]}). Add images of them.")
    return np.searchsorted(classes, labels).astype(np.int64)


def _listed(y: Sequence[Any], count: int) -> Targets:
    classes = np.unique([label for labels in y for label in labels])
    if len(y) != count or len(classes) < 2:
        raise ValueError(
            f"y must be a list of labels per image, {count}, with two labels at least "
            f"(got {len(y)} with {classes.tolist()}). Check X and y."
        )
    return Targets(classes, _both_sides(_encoded(y, classes), classes))


def _are_lists(y: Any) -> bool:
    return len(y) > 0 and all(isinstance(labels, list | tuple | set | frozenset) for labels in y)


def _array(y: Any, count: int) -> npt.NDArray[Any]:
    try:
        return np.asarray(y)
    except ValueError:  # lists of several lengths, or lists beside single labels
        raise ValueError(
            f"y must be one label per image, {count}, or a list of labels each (got a mixture). Check y."
        ) from None


def _encoded(y: Sequence[Any], classes: npt.NDArray[Any]) -> Ints:
    twice = next((labels for labels in y if len(set(labels)) < len(labels)), None)
    if twice is not None:  # rows of 0 and 1 would else be read as the labels 0 and 1
        raise ValueError(f"y must name a label once per image (got {twice!r}). Pass np.array(y) if it is 0 and 1.")
    unknown = sorted({label for labels in y for label in labels} - set(classes.tolist()), key=str)
    if unknown:
        raise ValueError(f"y must hold labels of training (got {unknown[:5]}). Known: {classes.tolist()}.")
    return np.asarray(MultiLabelBinarizer(classes=classes).fit_transform(y), np.int64)


def _indicator(labels: npt.NDArray[Any], count: int) -> Targets:
    if labels.ndim != 2 or len(labels) != count or not np.isin(labels, (0, 1)).all():
        found = np.unique(labels)[:5].tolist()
        raise ValueError(
            f"y must be 0 or 1 per image and label, ({count}, K) (got shape {labels.shape}, values {found}). "
            "Decide what unknown labels are to be."
        )
    classes = np.arange(labels.shape[1])
    return Targets(classes, _both_sides(labels.astype(np.int64), classes))


def _both_sides(numbers: Ints, classes: npt.NDArray[Any]) -> Ints:
    one_sided = classes[numbers.min(0) == numbers.max(0)].tolist()
    if one_sided:
        raise ValueError(f"every label must have images with and without it (not {one_sided[:5]}). Add images.")
    return numbers
