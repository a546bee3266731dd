"""How good, and how sure: AUC, balanced accuracy and figures of calibration with intervals over groups.

Images of one patient (here: of one slab) depend on each other, so whole groups are drawn with replacement, never single
images. A draw in which a class is absent has no AUC and is drawn again. Two evaluations of the same images share
their draws, so that their difference is paired.

Where an image may have several labels, y is (N, K) of 0 and 1, or lists of names: a figure then is the mean over labels
of the figure of that label, present or absent, and a draw without the one or the other is drawn again.
"""

import hashlib
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fusion.evaluation import answers, intervals, metrics
from fusion.evaluation.answers import Answers, Truth
from fusion.evaluation.intervals import CARRIERS, LEAST, Interval, Scale

Floats = npt.NDArray[np.float64]
Named = dict[str, Floats]  # of each figure the value, then that of each draw
_BINNED = Scale(binned=True)
_SCALES = {
    "calibration_error": _BINNED,
    "classwise_calibration_error": _BINNED,
    "log_loss": Scale(0, np.inf),
}  # of the others [0, 1]


@dataclass(frozen=True)
class OfClass:
    """One class against the rest, or one label; after `a - b` the paired differences.

    Attributes:
        auc: Area under the ROC curve.
        sensitivity: Share of its images that are recognised.
        specificity: Share of the others that are not taken for it.
        groups: Of those with and those without it the fewer.
        freedom: Degrees of freedom of each figure's interval.
        figures: As in `Evaluation`.
    """

    auc: Interval
    sensitivity: Interval
    specificity: Interval
    groups: int
    freedom: dict[str, float] = field(repr=False, compare=False)
    figures: Named = field(repr=False, compare=False)


@dataclass(frozen=True)
class Evaluation:
    """Figures of one model, or, after `a - b`, of a paired difference.

    Intervals are Student's t, at 95 % (see `intervals.student`). Fewer than 6 groups are too few for them, and so are
    fewer than 3 with, or without, a class or label: their ends are NaN, and the text says so. Binned calibration errors
    are too high where there are few images: the lower ends of their intervals allow for that.

    Attributes:
        auc: Area under the ROC curve, one class against the rest, mean over classes.
        balanced_accuracy: Mean over classes of the share that is recognised; of several labels, mean over labels of
            (sensitivity + specificity) / 2.
        calibration_error: Expected calibration error, of the likeliest class; of several labels as the next.
        classwise_calibration_error: Mean over classes or labels of the error of the probability of each, which cannot
            cancel between classes as that of the likeliest does.
        brier_score: Half the squared distance of the probabilities from the truth; of several labels, mean over labels.
        log_loss: Minus the logarithm of the probability of what is true; of several labels, mean over labels.
        images, groups, resamples: How many there were; `groups` were drawn `resamples` times.
        classes: AUC, sensitivity and specificity of each class or label.
        freedom: Degrees of freedom of the intervals, NaN where there are none.
        figures: For each metric the value, then that of each draw.
        sample: Tells which images and draws these are.
    """

    auc: Interval
    balanced_accuracy: Interval
    calibration_error: Interval
    classwise_calibration_error: Interval
    brier_score: Interval
    log_loss: Interval
    images: int
    groups: int
    resamples: int
    classes: dict[Any, OfClass] = field(
        repr=False, compare=False
    )  # labels may be text of one model, numbers of another
    freedom: float = field(repr=False, compare=False)
    figures: Named = field(repr=False, compare=False)
    sample: str = field(repr=False)

    def __str__(self) -> str:
        return "\n".join(f"{name.replace('_', ' ')} {self.told(name)}" for name in metrics.METRICS)

    @property
    def rare(self) -> list[Any]:
        """The classes, or labels, of too few groups for an interval."""
        return [label for label, own in self.classes.items() if own.groups < CARRIERS]

    def told(self, name: str) -> str:
        """One figure in words: with its interval, or why it has none."""
        interval: Interval = getattr(self, name)
        if self.groups < LEAST:
            return f"{interval.value:.3f}, too few patients for an interval ({self.groups})"
        if self.rare:
            few = ", ".join(f"{label} {self.classes[label].groups}" for label in self.rare[:3])
            return f"{interval.value:.3f}, too few patients with or without a class for an interval ({few})"
        return str(interval)

    def p_value(self, name: str) -> float:
        """Two-sided p-value that this difference of a figure is none, as its interval has it; NaN without interval."""
        return intervals.p_value(self.figures[name], self.groups, self.freedom)

    def __sub__(self, other: Self) -> "Evaluation":
        if self.sample != other.sample:
            raise ValueError(
                "evaluations must be of the same images, groups, resamples and seed (got others). Evaluate both anew."
            )
        figures = _less(self.figures, other.figures)
        found = _intervals(figures, self.groups, dict.fromkeys(figures, self.freedom), paired=True)
        pairs = zip(self.classes.items(), other.classes.values(), strict=True)
        classes = {label: _minus(own, its, self.groups) for (label, own), its in pairs}
        return replace(self, **found, classes=classes, figures=figures)


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
        model: Has `predict_proba` and `classes_`; where it has `decide`, that turns probabilities into what `predict`
            says, as `decisions` of `score`; where it has `multilabel_`, labels must be of that form, and where it has
            `seen_` (see `units.digests`), images and ids must not be among them.
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
    X = answers.held(X)
    found = answers.known(model, X, y, groups, allow_seen)
    return _scored(found, answers.of_model(found, model, model.predict_proba(X)), resamples, seed)


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
    X = answers.held(X)
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
    X = answers.held(X)
    found = answers.known(model, X, y, groups, allow_seen)
    probas = [model.predict_proba(X), *(model.predict_proba(X, without=[name]) for name in names)]
    whole, *left = (_scored(found, answers.of_model(found, model, proba), resamples, seed) for proba in probas)
    return {name: whole - rest for name, rest in zip(names, left, strict=True)}


def score(
    y: Any, proba: Any, classes: Any, groups: Any = None, *, decisions: Any = None, resamples: int = 1000, seed: int = 0
) -> Evaluation:
    """Judge probabilities (N, K) whose columns are `classes`; of several models (S, N, K), the mean figure.

    Labels `y` are as in `evaluate`. `decisions` are what `predict` says: (N,) labels of `classes`, or (N, K) of 0 and 1
    where an image may have several; (S, ...) of several models. Without them it is the likeliest class, or each label
    above 0.5, that is taken for the balanced accuracy.
    """
    found = answers.truth(y, classes, groups)
    return _scored(found, answers.answers(found, proba, decisions), resamples, seed)


def _scored(found: Truth, said: Answers, resamples: int, seed: int) -> Evaluation:
    if not all(isinstance(number, numbers.Integral) for number in (resamples, seed)) or resamples < 1 or seed < 0:
        raise ValueError(
            f"resamples must be whole from 1, and seed from 0 (got {resamples!r} and {seed!r}). "
            "Try resamples=1000, seed=0."
        )
    count = len(found.classes)
    count = len(found.classes)
    drawn = [np.ones(len(found.y)), *intervals.draws(found.y, found.members, count, resamples, seed)]
    each = _by_class(found, said, drawn)
    halves = [each["sensitivity"], *[each["specificity"]] * (found.y.ndim == 2)]
    figures = {"auc": each["auc"].mean(1), "balanced_accuracy": np.mean(halves, axis=(0, 2))}
    for name, metric in metrics.OF_PROBABILITIES.items():
        figures[name] = _mean([metric(found.y, proba) for proba in said.proba], drawn)
    free = intervals.freedom(found.members, found.parts())
    return Evaluation(
        **_intervals(figures, found.groups, dict.fromkeys(figures, free)),
        images=len(found.y),
        groups=found.groups,
        resamples=resamples,
        classes=_classes(found, each),
        freedom=free,
        figures=figures,
        sample=hashlib.sha256(repr((found.y.tobytes(), found.members.tobytes(), resamples, seed)).encode()).hexdigest(),
    )


def _by_class(found: Truth, said: Answers, drawn: Sequence[Floats]) -> Named:
    """Figures of each class, means over models: (1 + R, K)."""
    y, count = found.y, len(found.classes)
    return {
        "auc": _mean([metrics.aucs(y, proba) for proba in said.proba], drawn),
        "sensitivity": _mean([metrics.sensitivity(y, decided, count) for decided in said.decisions], drawn),
        "specificity": _mean([metrics.specificity(y, decided, count) for decided in said.decisions], drawn),
    }


def _classes(found: Truth, each: Named) -> dict[Any, OfClass]:
    positive, held = metrics.sides(found.y, len(found.classes)), found.carriers()
    classes = {}
    for k, label in enumerate(found.classes.tolist()):
        with_, without = positive[:, [k]], ~positive[:, [k]]
        parts = {"auc": np.hstack([with_, without]), "sensitivity": with_, "specificity": without}
        free = {name: intervals.freedom(found.members, part) for name, part in parts.items()}
        figures = {name: values[:, k] for name, values in each.items()}
        classes[label] = OfClass(
            **_intervals(figures, found.groups, free), groups=held[label], freedom=free, figures=figures
        )
    return classes


def _mean(figures: Iterable[Any], drawn: Sequence[Floats]) -> Floats:
    """The mean over models of a figure of each draw."""
    return np.asarray(np.mean([[figure(weights) for weights in drawn] for figure in figures], axis=0))


def _intervals(figures: Named, groups: int, free: Mapping[str, float], *, paired: bool = False) -> dict[str, Any]:
    scales = {name: _SCALES.get(name, Scale()) for name in figures}
    return {
        name: intervals.student(values, groups, free[name], scales[name].differences() if paired else scales[name])
        for name, values in figures.items()
    }


def _minus(own: OfClass, other: OfClass, groups: int) -> OfClass:
    figures = _less(own.figures, other.figures)
    return replace(own, **_intervals(figures, groups, own.freedom, paired=True), figures=figures)


def _less(own: Named, other: Named) -> Named:
    return {name: values - other[name] for name, values in own.items()}
