"""How good, and how sure: AUC, balanced accuracy and calibration error with intervals over groups.

Images of one patient (here: of one slab) depend on each other, so whole groups are drawn with replacement, never single
images. A draw in which a class is absent has no AUC and is drawn again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Metric = Callable[[Ints, Floats, Floats], float]

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
    """Three figures of one model, or of the difference of two; `groups` were drawn `resamples` times."""

    auc: Interval
    balanced_accuracy: Interval
    calibration_error: Interval
    images: int
    groups: int
    resamples: int


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
    """The difference `model` minus `other`, paired: both are judged on the same draws of groups."""
    if list(model.classes_) != list(other.classes_):
        raise ValueError(f"both models must know the same classes (got {model.classes_}, {other.classes_}). Refit one.")
    probabilities = model.predict_proba(X), other.predict_proba(X)
    return difference(y, *probabilities, model.classes_, groups, resamples=resamples, seed=seed)


def score(y: Any, proba: Any, classes: Any, groups: Any = None, *, resamples: int = 1000, seed: int = 0) -> Evaluation:
    """Judge probabilities (N, K) whose columns are `classes`; see `evaluate`."""
    return _evaluation(y, [(1.0, [proba])], classes, groups, resamples, seed)


def mean_score(
    y: Any, probas: list[Any], classes: Any, groups: Any = None, *, resamples: int = 1000, seed: int = 0
) -> Evaluation:
    """The mean figure of several models (seeds, say), judged on the same draws; see `evaluate`."""
    return _evaluation(y, [(1.0, probas)], classes, groups, resamples, seed)


def difference(
    y: Any, proba: Any, other: Any, classes: Any, groups: Any = None, *, resamples: int = 1000, seed: int = 0
) -> Evaluation:
    """Judge the difference of two models' probabilities (N, K) on the same draws; see `compare`."""
    return _evaluation(y, [(1.0, [proba]), (-1.0, [other])], classes, groups, resamples, seed)


def auc(y: Ints, proba: Floats, weights: Floats) -> float:
    """Area under the ROC curve, one class against the rest, mean over classes; ties count half.

    Equal to scikit-learn's `roc_auc_score(multi_class="ovr", sample_weight=weights)`, some 30 times faster, which
    the bootstrap needs.
    """
    return float(np.mean([_binary_auc(y == k, proba[:, k], weights) for k in range(proba.shape[1])]))


def balanced_accuracy(y: Ints, proba: Floats, weights: Floats) -> float:
    """Mean over classes of the share of its images that are recognised."""
    hits = np.bincount(y, weights * (proba.argmax(1) == y), proba.shape[1])
    return float(np.mean(hits / np.bincount(y, weights, proba.shape[1])))


def calibration_error(y: Ints, proba: Floats, weights: Floats) -> float:
    """Expected calibration error: |confidence - accuracy| of the predicted class, averaged over 15 equal bins.

    Source: Guo et al. arXiv:1706.04599, equation 3.
    """
    confidence, correct = proba.max(1), proba.argmax(1) == y
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights * (confidence - correct), _BINS)
    return float(np.abs(gaps).sum() / weights.sum())


METRICS: dict[str, Metric] = {
    "auc": auc,
    "balanced_accuracy": balanced_accuracy,
    "calibration_error": calibration_error,
}


def _binary_auc(positive: npt.NDArray[np.bool_], values: Floats, weights: Floats) -> float:
    order = np.argsort(values, kind="stable")
    values, won, lost = values[order], (weights * positive)[order], (weights * ~positive)[order]
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    won, lost = np.add.reduceat(won, starts), np.add.reduceat(lost, starts)
    below = np.cumsum(lost) - lost
    return float((won * (below + lost / 2)).sum() / (won.sum() * lost.sum()))


def _evaluation(
    y: Any, sides: list[tuple[float, list[Any]]], classes: Any, groups: Any, resamples: int, seed: int
) -> Evaluation:
    index, members = _checked(y, classes, groups)
    arrays = [(sign, [np.asarray(p, dtype=np.float64) for p in probas]) for sign, probas in sides]
    for _, probas in arrays:
        if any(p.shape != (len(index), len(classes)) for p in probas):
            raise ValueError(f"proba must be ({len(index)}, {len(classes)}) (got {probas[0].shape}). Check the images.")
    draws = [np.ones(len(index)), *_draws(index, members, len(classes), resamples, seed)]

    def interval(metric: Metric) -> Interval:
        figures = np.array([sum(s * np.mean([metric(index, p, w) for p in ps]) for s, ps in arrays) for w in draws])
        low, high = np.quantile(figures[1:], [0.025, 0.975])
        return Interval(float(figures[0]), float(low), float(high))

    intervals = {name: interval(metric) for name, metric in METRICS.items()}
    return Evaluation(**intervals, images=len(index), groups=len(np.unique(members)), resamples=resamples)


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
