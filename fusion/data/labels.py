"""What is to be predicted: labels as people have them, to class numbers (N,) or to 0 and 1 per label (N, K)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.utils.multiclass import type_of_target

Ints = npt.NDArray[np.int64]
Folds = list[tuple[Ints, Ints]]


@dataclass(frozen=True)
class Targets:
    """`classes` (K,) as they came in; `numbers` (N,), or (N, K) 0 and 1 where an image may have several labels."""

    classes: npt.NDArray[Any]
    numbers: Ints

    @property
    def multilabel(self) -> bool:
        """Whether an image may have several labels, or none."""
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


def folds(numbers: Ints, groups: npt.NDArray[Any] | None, count: int, seed: int) -> Folds:
    """Pairs of train and test indices; no group is on both sides, and classes are spread evenly.

    Raises:
        ValueError: There are more folds than images of a class or than groups.
    """
    fewest = _fewest(numbers)
    if not 2 <= count <= fewest:
        raise ValueError(
            f"folds must be from 2 to the images of the rarest class, {fewest} (got {count}). "
            "Pass folds=2 or add images."
        )
    if groups is not None and (members := len(np.unique(groups))) < count:
        raise ValueError(f"folds must not exceed the groups, {members} (got {count}). Pass folds={max(2, members)}.")
    stratified = numbers.ndim == 1
    if groups is None:
        split = (StratifiedKFold if stratified else KFold)(count, shuffle=True, random_state=seed)
    else:
        split = (StratifiedGroupKFold if stratified else GroupKFold)(count, shuffle=True, random_state=seed)
    return list(split.split(numbers, numbers, groups))


def held_out(numbers: Ints, groups: npt.NDArray[Any] | None, count: int, seed: int) -> tuple[Ints, Ints]:
    """What is left to train on, and a fold to stop early on, each with every class: of `count` folds, or of fewer.

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


def members(groups: Any, count: int) -> npt.NDArray[Any] | None:
    """Groups as an array, one per image."""
    if groups is None:
        return None
    found = np.asarray(groups)
    if found.shape != (count,):
        raise ValueError(f"groups must be one per image, {count} (got shape {found.shape}). Check groups.")
    return found


def fingerprint(images: Any, numbers: Ints) -> str:
    """Tells images with their targets from others: by file name, or by pixels."""
    digest = hashlib.sha256(numbers.tobytes())
    for image in images:
        digest.update(str(image).encode() if isinstance(image, str | Path) else np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


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


def _fewest(numbers: Ints, classes: int = 0) -> int:
    """Images of the rarest class; of labels, of the rarest of all, present or absent."""
    if numbers.ndim == 2:
        return int(min(numbers.sum(0).min(), (1 - numbers).sum(0).min()))
    return int(np.bincount(numbers, minlength=classes).min())


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
