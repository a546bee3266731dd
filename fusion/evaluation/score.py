"""How good, and how sure: AUC, balanced accuracy and calibration error with intervals over groups.

Images of one patient (here: of one slab) depend on each other, so whole groups are drawn with replacement, never single
images. A draw in which a class is absent has no AUC and is drawn again. Two evaluations of the same images share
their draws, so that their difference is paired.

Where an image may have several labels, y is (N, K) of 0 and 1, or lists of names: a figure then is the mean over labels
of the figure of that label, present or absent, and a draw without the one or the other is drawn again.
"""

import hashlib
import numbers
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fusion.evaluation import labels as labels_
from fusion.evaluation import units
from fusion.evaluation.intervals import Interval, draws
from fusion.evaluation.metrics import METRICS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
LEAST = 6  # groups for an interval: draws of fewer say little but which of them were drawn


@dataclass(frozen=True)
class Evaluation:
    """Three figures of one model, or, after `a - b`, of a paired difference.

    Fewer than 6 groups are too few for intervals: their ends are NaN, and the text says so.

    Attributes:
        auc: Area under the ROC curve, one class against the rest, mean over classes.
        balanced_accuracy: Mean over classes of the share that is recognised; of several labels, mean over labels of
            (sensitivity + specificity) / 2, present being above 0.5.
        calibration_error: Expected calibration error, of the predicted class; of several labels, mean over labels of
            that of the label's probability.
        images, groups, resamples: How many there were; `groups` were drawn `resamples` times.
        figures: For each metric the value, then that of each draw.
        sample: Tells which images and draws these are.
    """

    auc: Interval
    balanced_accuracy: Interval
    calibration_error: Interval
    images: int
    groups: int
    resamples: int
    figures: dict[str, Floats] = field(repr=False, compare=False)
    sample: str = field(repr=False)

    def __str__(self) -> str:
        return "\n".join(f"{name.replace('_', ' ')} {self.told(name)}" for name in METRICS)

    def told(self, name: str) -> str:
        """One figure in words: with its interval, or why it has none."""
        interval: Interval = getattr(self, name)
        few = self.groups < LEAST
        return f"{interval.value:.3f}, too few patients for an interval ({self.groups})" if few else str(interval)

    def __sub__(self, other: Self) -> "Evaluation":
        if self.sample != other.sample:
            raise ValueError(
                "evaluations must be of the same images, groups, resamples and seed (got others). Evaluate both anew."
            )
        differences = {name: self.figures[name] - other.figures[name] for name in METRICS}
        return _summary(differences, self.images, self.groups, self.sample)


def evaluate(
    model: Any,
    X: Any,
    y: Any,
    groups: Any = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
    allow_seen: bool = False,
) -> Evaluation:
    """Judge a fitted classifier.

    Args:
        model: Has `predict_proba` and `classes_`; where it has `multilabel_`, labels must be of that form, and where it
            has `seen_` (see `units.digests`), images and ids must not be among them.
        X: Images, as the model takes them; copies of one image count as one patient.
        y: (N,) labels; of several per image a list of labels each, a table whose columns have names, or (N, K) of 0 and
            1 whose columns are `model.classes_`. Text says a number: `"0"` is the class 0.
        groups: (N,) patients; None means that every image is a patient of its own.
        resamples: Draws of the bootstrap.
        seed: Of the draws.
        allow_seen: Whether images and patients of the fit may be judged.

    Raises:
        ValueError: A label was not in training or is missing, fewer than two classes or groups are present, lengths
            differ, images were seen in the fit, or y (N, K) has another K, other values, or a label that no image has
            or every image has.
    """
    X = _held(X)
    index, members = _prepared(model, X, y, groups, allow_seen)
    return _scored(index, members, model.predict_proba(X), len(model.classes_), resamples, seed)


def difference(
    model: Any,
    other: Any,
    X: Any,
    y: Any,
    groups: Any = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
    allow_seen: bool = False,
) -> Evaluation:
    """The figures of `model` minus those of `other`, paired; arguments as in `evaluate`."""
    X = _held(X)
    first, second = (
        evaluate(m, X, y, groups, resamples=resamples, seed=seed, allow_seen=allow_seen) for m in (model, other)
    )
    return first - second


def contributions(
    model: Any,
    X: Any,
    y: Any,
    groups: Any = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
    allow_seen: bool = False,
) -> dict[str, Evaluation]:
    """Compute what each encoder adds: the figures of the whole model minus those without it, paired.

    The head is not fitted anew: what an encoder says that another says too does not count as its own.

    `model` is a fitted `FusionClassifier` of several encoders, the other arguments are as in `evaluate`; there is a
    difference for each name of `model.encoders_`, in their order.

    Raises:
        ValueError: The model has one encoder only, two of one name, or as in `evaluate`.
    """
    names = [encoder.name for encoder in model.encoders_]
    if not 1 < len(names) == len(set(names)):
        raise ValueError(f"model must have several encoders of different names (got {names}). Use fusion.evaluate.")
    X = _held(X)
    index, members = _prepared(model, X, y, groups, allow_seen)
    probas = [model.predict_proba(X), *(model.predict_proba(X, without=[name]) for name in names)]
    whole, *left = (_scored(index, members, proba, len(model.classes_), resamples, seed) for proba in probas)
    return {name: whole - rest for name, rest in zip(names, left, strict=True)}


def score(y: Any, proba: Any, classes: Any, groups: Any = None, *, resamples: int = 1000, seed: int = 0) -> Evaluation:
    """Judge probabilities (N, K) whose columns are `classes`; of several models (S, N, K), the mean figure.

    Labels `y` are as in `evaluate`.
    """
    return _scored(*_checked(y, classes, groups), proba, len(classes), resamples, seed)


def _prepared(model: Any, X: Any, y: Any, groups: Any, allow_seen: bool) -> tuple[Ints, Ints]:
    """What `_checked` gives; copies among the images are one unit, and none may be known from the fit."""
    _check_form(y, getattr(model, "multilabel_", None))
    found = _checked(y, model.classes_, groups, X)
    if not allow_seen:
        units.refuse_seen(getattr(model, "seen_", ()), X, groups)
    return found


def _held(images: Any) -> Any:
    """What is an iterator as a list: it is gone through more than once."""
    return list(images) if isinstance(images, Iterator) else images


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


def _scored(index: Ints, members: Ints, proba: Any, classes: int, resamples: int, seed: int) -> Evaluation:
    if not all(isinstance(number, numbers.Integral) for number in (resamples, seed)) or resamples < 1 or seed < 0:
        raise ValueError(
            f"resamples must be whole from 1, and seed from 0 (got {resamples!r} and {seed!r}). "
            "Try resamples=1000, seed=0."
        )
    models = _models(proba, (len(index), classes))
    drawn = draws(index, members, classes, resamples, seed)
    weights_of = [np.ones(len(index)), *drawn]
    figures = {}
    for name, metric in METRICS.items():
        prepared = [metric(index, model) for model in models]
        figures[name] = np.array([np.mean([figure(weights) for figure in prepared]) for weights in weights_of])
    sample = hashlib.sha256(repr((index.tobytes(), members.tobytes(), resamples, seed)).encode()).hexdigest()
    return _summary(figures, len(index), int(members.max()) + 1, sample)


def _summary(figures: dict[str, Floats], images: int, groups: int, sample: str) -> Evaluation:
    ends = {name: np.quantile(values[1:], [0.025, 0.975]) for name, values in figures.items()}
    if groups < LEAST:
        ends = dict.fromkeys(figures, np.full(2, np.nan))
    intervals = {name: Interval(float(values[0]), *map(float, ends[name])) for name, values in figures.items()}
    resamples = len(figures["auc"]) - 1
    return Evaluation(**intervals, images=images, groups=groups, resamples=resamples, figures=figures, sample=sample)


def _models(proba: Any, shape: tuple[int, int]) -> Floats:
    array = np.asarray(proba, dtype=np.float64)
    if array.shape[-2:] != shape or array.ndim not in (2, 3):
        raise ValueError(f"proba must be {shape}, or several of that (got {array.shape}). Check the images.")
    if not np.isfinite(array).all():
        raise ValueError("proba must be finite (got NaN or infinity). Check the weights of the model.")
    return array.reshape(-1, *shape)  # (N, K) or (S, N, K) -> (S, N, K)


def _checked(y: Any, classes: Any, groups: Any, images: Any = None) -> tuple[Ints, Ints]:
    """Labels by number, (N,) or (N, K), and the unit of each image."""
    names = np.asarray(classes)
    index = _numbers(y, names)
    members = units.numbered(groups, images, len(index))
    if len(members) != len(index):
        raise ValueError(f"groups must be as many as y (got {len(members)} for {len(index)}). Give one per image.")
    if members.max() == 0:
        raise ValueError("groups must hold at least two patients for an interval (got 1). Add images of others.")
    return index, members


def _numbers(y: Any, names: npt.NDArray[Any]) -> Ints:
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


def _indicator(labels: npt.NDArray[Any], names: npt.NDArray[Any]) -> Ints:
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
