"""What fine-tuning changed inside, over the folds of a series: S3's tables.

Per fold and quarter: mean CCA (pixels as samples) of every source with its fine-tuned self, of two sources with one
another before and after, and of two draws of random weights; how often two models err together; and over all folds
the correlation of the first with the gain over random weights.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion import evaluation, fitting, series, study_data, study_encoders, study_pages
from fusion.classifier import FusionClassifier
from fusion.fitting import Task
from fusion.pixels import Sample, cca_of, same_maps, sample
from fusion.predictions import Agreement, Correlation, agreement, correlation, gain
from fusion.series import Member
from fusion.verdict import Judged

_SEEDS = 100  # of the two draws of random weights: not those of any cell
_STILL = 1e-6  # what did not move is alike but for rounding: no correlation is defined
_FEWEST = 4  # points, or targets, for a correlation with an interval


@dataclass(frozen=True)
class Likeness:
    """Mean CCA of two encoders at the end of each quarter, in one fold.

    Attributes:
        member: Target and fold.
        first: Name of an encoder, with its strategy where it is fine-tuned.
        second: Likewise.
        quarters: One value each.
    """

    member: Member
    first: str
    second: str
    quarters: list[float]


@dataclass(frozen=True)
class Together:
    """How two fine-tuned models err together, on the test part of one fold."""

    member: Member
    strategy: str
    first: str
    second: str
    found: Agreement


@dataclass(frozen=True)
class Trend:
    """Of one source and quarter: likeness before and after against the gain over random weights, a point per fold."""

    encoder: str
    strategy: str
    quarter: int
    found: Correlation


@dataclass(frozen=True)
class Representations:
    """All of it."""

    likeness: list[Likeness]
    together: list[Together]
    trends: list[Trend]


@dataclass(frozen=True)
class _Model:
    """A chosen row with one encoder: what it was before its fit and is after, and what both see in the test images."""

    name: str
    strategy: str
    maps: Any
    before: list[Sample]
    after: list[Sample]
    predicted: Any
    auc: float

    @property
    def tuned(self) -> str:
        return f"{self.name}, {self.strategy}"


def measure(output: Path) -> Representations:
    """Read a series whose test parts are judged.

    Args:
        output: Its folder, after `fusion study run --final`.

    Raises:
        OSError: No series was begun there.
        ValueError: A fold's final table is missing.
    """
    members = series.parts(output)
    if not members:
        raise ValueError(f"{output} must hold a series (got a single study). Give its config folds or targets.")
    likeness: list[Likeness] = []
    together: list[Together] = []
    points: dict[tuple[str, str], list[tuple[str, list[float], float]]] = {}
    for member in members:
        models, part = _models(member)
        moved = [Likeness(member, m.name, m.tuned, cca_of(m.before, m.after)) for m in models]
        likeness += [*moved, *_between(member, models, part.images)]
        together += _together(member, models, part)
        for model, change, rise in _gains(models, moved):
            points.setdefault((model.name, model.strategy), []).append((member.target, change.quarters, rise))
    trends = [trend for key, own in points.items() for trend in _trends(*key, own)]
    return Representations(likeness, together, trends)


def _models(member: Member) -> tuple[list[_Model], study_data.Part]:
    """The rows of one encoder that validation chose, and the test part."""
    found = study_pages.results(member.folder)
    if found.test is None:
        raise ValueError(f"{member} must be judged on its test part first. Run: fusion study run --final.")
    train, validation = study_data.open_parts(member.source)
    part = study_data.open_test(member.source)
    rows, truth = found.test
    pairs = zip((chosen.row for chosen in found.chosen if not chosen.row.untrained), rows, strict=True)
    models = []
    for cell, row in pairs:
        if len(cell.encoders) == 1:
            definition = found.config.strategies[cell.strategy]
            task = Task(cell, member.folder, definition, {}, None, train, validation, None, alone=False)
            models.append(_model(task, part.images, row.probabilities[0], truth))
    return models, part


def _model(task: Task, images: Any, proba: Any, truth: Judged) -> _Model:
    (before,) = fitting.encoders(task)
    fitted = FusionClassifier.load(task.output / "models" / task.cell.key, encoders=fitting.fresh(task))
    return _Model(
        name=task.cell.encoders[0],
        strategy=task.cell.strategy,
        maps=before,
        before=sample(before, images),
        after=sample(fitted.encoders_[0], images),
        predicted=truth.classes[proba.argmax(1)],
        auc=evaluation.score(truth.labels, proba, truth.classes, truth.groups, resamples=1).auc.value,
    )


def _between(member: Member, models: Sequence[_Model], images: Any) -> Iterator[Likeness]:
    """Two sources before and after, and two draws of random weights."""
    for one, other in itertools.combinations(models, 2):
        if one.name != other.name and one.strategy == other.strategy and same_maps(one.maps, other.maps):
            yield Likeness(member, one.tuned, other.tuned, cca_of(one.after, other.after))
    first = {model.name: model for model in reversed(models)}
    for one, other in itertools.combinations(reversed(first.values()), 2):
        if same_maps(one.maps, other.maps):
            yield Likeness(member, one.name, other.name, cca_of(one.before, other.before))
    for name in filter(study_encoders.is_random, first):
        draws = [study_encoders.load(name, seed=_SEEDS + k) for k in range(2)]
        for encoder in draws:
            study_encoders.settle(encoder, images)
        yield Likeness(member, name, f"{name}, another draw", cca_of(*(sample(encoder, images) for encoder in draws)))


def _together(member: Member, models: Sequence[_Model], part: study_data.Part) -> Iterator[Together]:
    for one, other in itertools.combinations(models, 2):
        if one.name != other.name and one.strategy == other.strategy:
            # Folds are what is averaged over: their own intervals, over few groups, are not told.
            found = agreement(part.labels, one.predicted, other.predicted, resamples=1)
            yield Together(member, one.strategy, one.name, other.name, found)


def _gains(models: Sequence[_Model], moved: Sequence[Likeness]) -> Iterator[tuple[_Model, Likeness, float]]:
    """Each pretrained model with its change, and its gain over random weights of the same architecture."""
    scratch = [model for model in models if study_encoders.is_random(model.name)]
    for model, change in zip(models, moved, strict=True):
        if not study_encoders.is_random(model.name) and scratch:
            yield model, change, gain(model.auc, scratch[0].auc)


def _trends(encoder: str, strategy: str, points: Sequence[tuple[str, list[float], float]]) -> Iterator[Trend]:
    """Folds of one target are not independent: with four targets or more whole targets are left out."""
    targets = [target for target, _, _ in points]
    groups = targets if len(set(targets)) >= _FEWEST else None
    for quarter, values in enumerate(zip(*(quarters for _, quarters, _ in points), strict=True), 1):
        if len(points) >= _FEWEST and max(values) - min(values) > _STILL:
            yield Trend(encoder, strategy, quarter, correlation(values, [rise for *_, rise in points], groups))
