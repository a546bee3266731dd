"""How good, and how sure: AUC, balanced accuracy and calibration error with intervals over groups.

Images of one patient (here: of one slab) depend on each other, so whole groups are drawn with replacement, never single
images. A draw in which a class is absent has no AUC and is drawn again. Two evaluations of the same images share
their draws, so that their difference is paired.

Where an image may have several labels, y is (N, K) of 0 and 1: a figure then is the mean over labels of the figure of
that label, present or absent, and a draw without the one or the other is drawn again.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fusion.evaluation.intervals import Interval, draws
from fusion.evaluation.metrics import METRICS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Evaluation:
    """Three figures of one model, or, after `a - b`, of a paired difference.

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

    def __sub__(self, other: Self) -> "Evaluation":
        if self.sample != other.sample:
            raise ValueError(
                "evaluations must be of the same images, groups, resamples and seed (got others). Evaluate both anew."
            )
        differences = {name: self.figures[name] - other.figures[name] for name in METRICS}
        return _summary(differences, self.images, self.groups, self.sample)


def evaluate(model: Any, X: Any, y: Any, groups: Any = None, *, resamples: int = 1000, seed: int = 0) -> Evaluation:
    """Judge a fitted classifier.

    Args:
        model: Has `predict_proba` and `classes_`.
        X: Images, as the model takes them.
        y: (N,) labels, or (N, K) of 0 and 1 whose columns are `model.classes_`.
        groups: (N,) patients; None means that every image is a patient of its own.
        resamples: Draws of the bootstrap.
        seed: Of the draws.

    Raises:
        ValueError: A label was not in training, fewer than two classes or groups are present, lengths differ, or y
            (N, K) has another K, other values, or a label that no image has or every image has.
    """
    return score(y, model.predict_proba(X), model.classes_, groups, resamples=resamples, seed=seed)


def difference(
    model: Any, other: Any, X: Any, y: Any, groups: Any = None, *, resamples: int = 1000, seed: int = 0
) -> Evaluation:
    """The figures of `model` minus those of `other`, paired; arguments as in `evaluate`."""
    first, second = (evaluate(m, X, y, groups, resamples=resamples, seed=seed) for m in (model, other))
    return first - second


def contributions(
    model: Any, X: Any, y: Any, groups: Any = None, *, resamples: int = 1000, seed: int = 0
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
    whole = evaluate(model, X, y, groups, resamples=resamples, seed=seed)
    left = {name: model.predict_proba(X, without=[name]) for name in names}
    return {
        name: whole - score(y, proba, model.classes_, groups, resamples=resamples, seed=seed)
        for name, proba in left.items()
    }


def score(y: Any, proba: Any, classes: Any, groups: Any = None, *, resamples: int = 1000, seed: int = 0) -> Evaluation:
    """Judge probabilities (N, K) whose columns are `classes`; of several models (S, N, K), the mean figure.

    Labels `y` are (N,), or (N, K) of 0 and 1 in the same columns.
    """
    index, members = _checked(y, classes, groups)
    models = _models(proba, (len(index), len(classes)))
    drawn = draws(index, members, len(classes), resamples, seed)
    weights_of = [np.ones(len(index)), *drawn]
    figures = {}
    for name, metric in METRICS.items():
        prepared = [metric(index, model) for model in models]
        figures[name] = np.array([np.mean([figure(weights) for figure in prepared]) for weights in weights_of])
    sample = hashlib.sha256(repr((index.tobytes(), members.tobytes(), resamples, seed)).encode()).hexdigest()
    return _summary(figures, len(index), int(members.max()) + 1, sample)


def _summary(figures: dict[str, Floats], images: int, groups: int, sample: str) -> Evaluation:
    intervals = {
        name: Interval(float(values[0]), *map(float, np.quantile(values[1:], [0.025, 0.975])))
        for name, values in figures.items()
    }
    resamples = len(figures["auc"]) - 1
    return Evaluation(**intervals, images=images, groups=groups, resamples=resamples, figures=figures, sample=sample)


def _models(proba: Any, shape: tuple[int, int]) -> Floats:
    array = np.asarray(proba, dtype=np.float64)
    if array.shape[-2:] != shape or array.ndim not in (2, 3):
        raise ValueError(f"proba must be {shape}, or several of that (got {array.shape}). Check the images.")
    return array.reshape(-1, *shape)  # (N, K) or (S, N, K) -> (S, N, K)


def _checked(y: Any, classes: Any, groups: Any) -> tuple[Ints, Ints]:
    labels, names = np.asarray(y), np.asarray(classes)
    index = _numbers(labels, names) if labels.ndim == 1 else _indicator(labels, names)
    members = np.arange(len(labels)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if len(members) != len(labels):
        raise ValueError(f"groups must be as many as y (got {len(members)} for {len(labels)}). Give one per image.")
    if members.max() == 0:
        raise ValueError("groups must hold at least two patients for an interval (got 1). Add images of others.")
    return index.astype(np.int64), members.astype(np.int64)


def _numbers(labels: npt.NDArray[Any], names: npt.NDArray[Any]) -> npt.NDArray[Any]:
    unknown = sorted(set(labels.tolist()) - set(names.tolist()), key=str)
    if unknown:
        raise ValueError(f"y must hold labels of training (got {unknown[:5]}). Known: {names.tolist()}.")
    absent = sorted(set(names.tolist()) - set(labels.tolist()), key=str)
    if absent:
        raise ValueError(f"y must hold every class for an AUC (without {absent[:5]}). Add images of them.")
    return np.argsort(names)[np.searchsorted(np.sort(names), labels)]


def _indicator(labels: npt.NDArray[Any], names: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if labels.ndim != 2 or labels.shape[1] != len(names):
        raise ValueError(
            f"y must be (N,), or (N, {len(names)}) with a column per label (got {labels.shape}). "
            f"The labels are {names.tolist()}."
        )
    odd = sorted(set(labels.ravel().tolist()) - {0, 1}, key=str)
    if odd:
        raise ValueError(f"y of shape (N, K) must hold 0 and 1 (got {odd[:5]}). Write 1 where an image has the label.")
    for present, where in ((1, "on at least one image"), (0, "off at least one image")):
        lacking = names[~(labels == present).any(0)].tolist()
        if lacking:
            raise ValueError(f"each label must be {where} for an AUC (not so: {lacking[:5]}). Add such images.")
    return labels
