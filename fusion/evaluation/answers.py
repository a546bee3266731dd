"""The one door for what is judged: labels, probabilities and decisions of models on the same images, checked."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion.evaluation import labels as labels_
from fusion.evaluation import metrics, units

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Truth:
    """What is known of the images.

    Attributes:
        y: (N,) classes by number, or (N, K) of 0 and 1.
        members: (N,) the unit of each image, by number.
        classes: (K,) the names of the columns.
    """

    y: Ints
    members: Ints
    classes: Array

    @property
    def groups(self) -> int:
        """How many units there are."""
        return int(self.members.max()) + 1

    def parts(self) -> npt.NDArray[np.bool_]:
        """(N, P) the images that each part of a figure is of: the classes, or those with and those without a label."""
        positive = metrics.sides(self.y, len(self.classes))
        return np.hstack([positive, ~positive]) if self.y.ndim == 2 else positive

    def carriers(self) -> dict[Any, int]:
        """The units with each class or label, or those without it, whichever are fewer."""
        positive = metrics.sides(self.y, len(self.classes))
        fewer = np.minimum(self._units(positive), self._units(~positive))
        return dict(zip(self.classes.tolist(), fewer.tolist(), strict=True))

    def _units(self, positive: npt.NDArray[np.bool_]) -> Ints:
        return np.array([len(np.unique(self.members[column])) for column in positive.T], dtype=np.int64)


@dataclass(frozen=True)
class Answers:
    """What models, one or several, say of images.

    Attributes:
        proba: (S, N, K).
        decisions: (S, N) classes by number, or (S, N, K) of 0 and 1.
    """

    proba: Floats
    decisions: Ints


@dataclass(frozen=True)
class OneLabel:
    """What a model says of one class against the rest, or of one label.

    Attributes:
        label: Which.
        positive: (N,) whether it is there.
        proba: (N,) its probability.
        members: (N,) the unit of each image, by number.
    """

    label: Any
    positive: npt.NDArray[np.bool_]
    proba: Floats
    members: Ints

    @property
    def groups(self) -> int:
        """How many units there are."""
        return int(self.members.max()) + 1


def held(images: Any) -> Any:
    """What is an iterator as a list: it is gone through more than once."""
    return list(images) if isinstance(images, Iterator) else images


def known(model: Any, X: Any, y: Any, groups: Any, allow_seen: bool) -> Truth:
    """As `truth`, of a fitted model; copies among the images are one unit, and none may be known from the fit."""
    _check_form(y, getattr(model, "multilabel_", None))
    found = truth(y, model.classes_, groups, X)
    if not allow_seen:
        units.refuse_seen(getattr(model, "seen_", ()), X, groups)
    return found


def of_model(found: Truth, model: Any, proba: Any) -> Answers:
    """What a model says with these probabilities, and decides by them where it has a rule of its own for that."""
    return answers(found, proba, model.decide(proba) if hasattr(model, "decide") else None)


def one_label(model: Any, X: Any, y: Any, groups: Any, label: Any, allow_seen: bool) -> OneLabel:
    """What a model says of one label of images; of two classes the second, where none is named.

    Raises:
        ValueError: As `known`, the label is none of the model's, or it must be named and is not.
    """
    X = held(X)
    found = known(model, X, y, groups, allow_seen)
    said = answers(found, model.predict_proba(X))
    if label is None and (found.y.ndim == 2 or len(found.classes) != 2):
        raise ValueError(f"label must be one of {found.classes.tolist()} (got None). Name it.")
    place = 1 if label is None else int(labels_.places(labels_.column([label], "label"), found.classes, "label")[0])
    positive = metrics.sides(found.y, len(found.classes))[:, place]
    return OneLabel(found.classes.tolist()[place], positive, said.proba[0, :, place], found.members)


def truth(y: Any, classes: Any, groups: Any, images: Any = None) -> Truth:
    """Labels by number, and the unit of each image."""
    names = np.asarray(classes)
    index = _numbers(y, names)
    members = units.numbered(groups, images, len(index))
    if len(members) != len(index):
        raise ValueError(f"groups must be as many as y (got {len(members)} for {len(index)}). Give one per image.")
    if members.max() == 0:
        raise ValueError("groups must hold at least two patients for an interval (got 1). Add images of others.")
    return Truth(index, members, names)


def answers(found: Truth, proba: Any, decisions: Any = None) -> Answers:
    """Probabilities (N, K), or (S, N, K) of several models, and decisions of as many."""
    shape = len(found.y), len(found.classes)
    array = np.asarray(proba, dtype=np.float64)
    if array.shape[-2:] != shape or array.ndim not in (2, 3):
        raise ValueError(f"proba must be {shape}, or several of that (got {array.shape}). Check the images.")
    if not np.isfinite(array).all():
        raise ValueError("proba must be finite (got NaN or infinity). Check the weights of the model.")
    models = array.reshape(-1, *shape)  # (N, K) or (S, N, K) -> (S, N, K)
    if decisions is None:
        return Answers(models, np.stack([metrics.likeliest(found.y, model) for model in models]))
    return Answers(models, _decided(found, decisions, array.shape[:-2]))


def _decided(found: Truth, decisions: Any, models: tuple[int, ...]) -> Ints:
    """Decisions in the form of y, of each model: (S, *y)."""
    given, shape = np.asarray(decisions), (*models, *found.y.shape)
    if given.shape != shape:
        raise ValueError(
            f"decisions must be {shape}, as y and of as many models as proba (got {given.shape}). "
            "Pass what model.predict returns."
        )
    if found.y.ndim == 1:
        numbers = labels_.places(labels_.column(given.ravel(), "decisions"), found.classes, "decisions")
    elif np.isin(given, (0, 1)).all():
        numbers = given.astype(np.int64)
    else:
        raise ValueError("decisions (N, K) must hold 0 and 1 (got others). Pass what model.predict returns.")
    return numbers.reshape(-1, *found.y.shape)  # (N,) or (S, N) -> (S, N); (N, K) or (S, N, K) -> (S, N, K)


def _check_form(y: Any, multilabel: bool | None) -> None:
    """Refuse labels of the other form than the model's, whose figures would be those of another question."""
    several = labels_.are_lists(y) or len(labels_.shape(y)) == 2
    if multilabel and not several:
        raise ValueError(
            "y must name the labels of each image, of which the model gives several (got one label each). "
            "Pass [[label] for label in y] where these are all that an image has."
        )
    if multilabel is False and several:
        raise ValueError(
            "y must be one label per image, of which the model gives one (got several). "
            "Pass one each, or fit a model on lists of labels."
        )


def _numbers(y: Any, names: Array) -> Ints:
    if labels_.columns(y):
        return _indicator(labels_.by_name(y, names), names)
    if labels_.are_lists(y):
        flags = labels_.are_flags(y, len(names))
        return _indicator(np.asarray(y) if flags else labels_.table(labels_.named_rows(y), names), names)
    if len(labels_.shape(y)) != 1:
        return _indicator(labels_.plain(y), names)
    index = labels_.places(labels_.column(y), names)
    absent = [name for place, name in enumerate(names.tolist()) if place not in index]
    if absent:
        raise ValueError(f"y must hold every class for an AUC (without {absent[:5]}). Add images of them.")
    return index


def _indicator(labels: Array, names: Array) -> Ints:
    if labels.ndim != 2 or labels.shape[1] != len(names):
        raise ValueError(
            f"y must be (N,), or (N, {len(names)}) with a column per label (got {labels.shape}). "
            f"The labels are {names.tolist()}."
        )
    odd = sorted(
        {value for value in labels_.listed(labels.ravel()) if labels_.missing(value) or value not in (0, 1)}, key=str
    )
    if odd:
        raise ValueError(f"y of shape (N, K) must hold 0 and 1 (got {odd[:5]}). Write 1 where an image has the label.")
    for present, where in ((1, "on at least one image"), (0, "off at least one image")):
        lacking = names[~(labels == present).any(0)].tolist()
        if lacking:
            raise ValueError(f"each label must be {where} for an AUC (not so: {lacking[:5]}). Add such images.")
    return labels.astype(np.int64)
