"""How good, and how sure: AUC, balanced accuracy and calibration error with intervals over groups.

Images of one patient (here: of one slab) depend on each other, so whole groups are drawn with replacement, never single
images. A draw in which a class is absent has no AUC and is drawn again. Two evaluations of the same images share
their draws, so that their difference is paired.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
# Labels (N,) and probabilities (N, K) are prepared once; each draw then is one call with weights (N,).
Metric = Callable[[Ints, Floats], Callable[[Floats], float]]

_BINS = 15
_REDRAWS = 100


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Evaluation:
    """Three figures of one model, or, after `a - b`, of a paired difference.

    Attributes:
        auc: Area under the ROC curve, one class against the rest, mean over classes.
        balanced_accuracy: Mean over classes of the share that is recognised.
        calibration_error: Expected calibration error.
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
        y: (N,) labels.
        groups: (N,) patients; None means that every image is a patient of its own.
        resamples: Draws of the bootstrap.
        seed: Of the draws.

    Raises:
        ValueError: A label was not in training, fewer than two classes or groups are present, or lengths differ.
    """
    return score(y, model.predict_proba(X), model.classes_, groups, resamples=resamples, seed=seed)


def compare(
    model: Any, other: Any, X: Any, y: Any, groups: Any = None, *, resamples: int = 1000, seed: int = 0
) -> Evaluation:
    """The figures of `model` minus those of `other`, paired; arguments as in `evaluate`."""
    first, second = (evaluate(m, X, y, groups, resamples=resamples, seed=seed) for m in (model, other))
    return first - second


def score(y: Any, proba: Any, classes: Any, groups: Any = None, *, resamples: int = 1000, seed: int = 0) -> Evaluation:
    """Judge probabilities (N, K) whose columns are `classes`; of several models (S, N, K), the mean figure."""
    index, members = _checked(y, classes, groups)
    models = _models(proba, (len(index), len(classes)))
    draws = [np.ones(len(index)), *_draws(index, members, len(classes), resamples, seed)]
    figures = {}
    for name, metric in METRICS.items():
        prepared = [metric(index, model) for model in models]
        figures[name] = np.array([np.mean([figure(weights) for figure in prepared]) for weights in draws])
    sample = hashlib.sha256(repr((index.tobytes(), members.tobytes(), resamples, seed)).encode()).hexdigest()
    return _summary(figures, len(index), int(members.max()) + 1, sample)


def auc(y: Ints, proba: Floats) -> Callable[[Floats], float]:
    """Area under the ROC curve, one class against the rest, mean over classes; ties count half.

    Equal to scikit-learn's `roc_auc_score(multi_class="ovr", sample_weight=weights)`, but it sorts once for all draws.
    """
    parts = [_binary_auc(y == k, proba[:, k]) for k in range(proba.shape[1])]
    return lambda weights: float(np.mean([part(weights) for part in parts]))


def balanced_accuracy(y: Ints, proba: Floats) -> Callable[[Floats], float]:
    """Mean over classes of the share of its images that are recognised."""
    correct, classes = proba.argmax(1) == y, proba.shape[1]
    return lambda weights: float(np.mean(np.bincount(y, weights * correct, classes) / np.bincount(y, weights, classes)))


def calibration_error(y: Ints, proba: Floats) -> Callable[[Floats], float]:
    """Expected calibration error: |confidence - accuracy| of the predicted class, averaged over 15 equal bins.

    Source: Guo et al. arXiv:1706.04599, equation 3.
    """
    confidence = proba.max(1)
    gaps = confidence - (proba.argmax(1) == y)
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    return lambda weights: float(np.abs(np.bincount(bins, weights * gaps, _BINS)).sum() / weights.sum())


METRICS: dict[str, Metric] = {
    "auc": auc,
    "balanced_accuracy": balanced_accuracy,
    "calibration_error": calibration_error,
}


def _binary_auc(positive: npt.NDArray[np.bool_], values: Floats) -> Callable[[Floats], float]:
    order = np.argsort(values, kind="stable")
    positive, values = positive[order], values[order]
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])

    def area(weights: Floats) -> float:
        weights = weights[order]
        won, all_ = np.add.reduceat(weights * positive, starts), np.add.reduceat(weights, starts)
        lost = all_ - won
        below = np.cumsum(lost) - lost
        return float((won * (below + lost / 2)).sum() / (won.sum() * lost.sum()))

    return area


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
    unknown = sorted(set(labels.tolist()) - set(names.tolist()), key=str)
    if unknown:
        raise ValueError(f"y must hold labels seen in training (got {unknown[:5]}). Known: {names.tolist()}.")
    absent = sorted(set(names.tolist()) - set(labels.tolist()), key=str)
    if absent:
        raise ValueError(f"y must hold every class for an AUC (without {absent[:5]}). Add images of them.")
    index = np.searchsorted(np.sort(names), labels)
    index = np.argsort(names)[index]
    members = np.arange(len(labels)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if len(members) != len(labels):
        raise ValueError(f"groups must be as many as y (got {len(members)} for {len(labels)}). Give one per image.")
    if members.max() == 0:
        raise ValueError("groups must hold at least two patients for an interval (got 1). Add images of others.")
    return index.astype(np.int64), members.astype(np.int64)


def _draws(y: Ints, members: Ints, classes: int, count: int, seed: int) -> Iterator[Floats]:
    rng = np.random.default_rng(seed)
    groups = int(members.max()) + 1
    for _ in range(count):
        for _ in range(_REDRAWS):
            weights = np.bincount(rng.integers(groups, size=groups), minlength=groups)[members].astype(np.float64)
            if np.bincount(y, weights, classes).min() > 0:
                break
        else:
            raise ValueError(f"each class must be in enough groups to be drawn (got {groups} groups). Add patients.")
        yield weights
