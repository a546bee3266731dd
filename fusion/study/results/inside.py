"""What fine-tuning changed inside, over the folds of a series: S3's tables.

Per fold, label budget, seed and quarter: mean CCA (pixels as samples) of every source with its fine-tuned self, of two
sources with one another before and after, and of two draws of random weights; how often two models err together; and
over all folds the correlation of the first with the gain over random weights.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import zoo
from fusion.data.sets import sources
from fusion.estimators.classifier import FusionClassifier
from fusion.evaluation import score
from fusion.evaluation.agreement import Agreement, agreement
from fusion.evaluation.correlation import Correlation, correlation, gain
from fusion.report import words
from fusion.report.words import Labels
from fusion.similarity.pixel_cca import Sample, cca_of, same_maps, sample
from fusion.study import cell as cell_
from fusion.study import encoders, series
from fusion.study.cell import Task
from fusion.study.results import read
from fusion.study.results.read import Judged, Results
from fusion.study.results.table import Row
from fusion.study.series import Member

Floats = npt.NDArray[np.float64]
Tuned = tuple[str, str, Labels]  # an encoder, the strategy that moved it, the label budget

_SEEDS = 100  # of the two draws of random weights: of seed 0 these are 100 and 101, of seed 1 102 and 103
_STILL = 1e-6  # what did not move is alike but for rounding: no correlation is defined
_ALONE = "no random weights of its architecture and depth are in the series"
_FEWEST = 4  # points, or targets, for a correlation with an interval


@dataclass(frozen=True)
class Run:
    """The models of one fold, label budget and seed: these are compared, and no others."""

    member: Member
    labels: Labels
    seed: int


@dataclass(frozen=True)
class Likeness:
    """Mean CCA of two encoders at the end of each quarter.

    Attributes:
        run: Where both are.
        first: Name of an encoder, with its strategy where it is fine-tuned.
        second: Name of the other, with its strategy where it is fine-tuned.
        quarters: One value each.
    """

    run: Run
    first: str
    second: str
    quarters: list[float]


@dataclass(frozen=True)
class Together:
    """Agreement of two fine-tuned models: how they err together, on the test part of one fold."""

    run: Run
    strategy: str
    first: str
    second: str
    found: Agreement


@dataclass(frozen=True)
class Trend:
    """Correlation, for one source and quarter, of likeness before and after with the gain over random weights.

    There is a point per fold.
    """

    encoder: str
    strategy: str
    labels: Labels
    quarter: int
    found: Correlation


@dataclass(frozen=True)
class Representations:
    """Likeness, agreement and trends of a series; and the trends that cannot be told, with the reason."""

    likeness: list[Likeness]
    together: list[Together]
    trends: list[Trend]
    left_out: dict[str, str]


@dataclass(frozen=True)
class _Model:
    """A fitted cell with one encoder.

    Attributes:
        task: As it was fitted.
        source: The encoder before.
        before, after: What both see in the test images.
        predicted: (N,) labels.
        auc: On the test part, mean over seeds.
        validation: AUC on the part that chooses, mean over seeds.
    """

    task: Task
    source: zoo.Encoder
    before: list[Sample]
    after: list[Sample]
    predicted: Any
    auc: float
    validation: float

    @property
    def name(self) -> str:
        return self.task.cell.encoders[0]

    @property
    def strategy(self) -> str:
        return self.task.cell.strategy

    @property
    def tuned(self) -> str:
        return f"{self.name}, {self.strategy}"


@dataclass(frozen=True)
class _Change:
    """Of one fold and seed; the gain is the same for all its seeds, of mean AUCs."""

    member: Member
    quarters: list[float]
    gain: float


def measure(output: Path) -> Representations:
    """Read a series whose test parts are judged.

    Args:
        output: Its folder, after `fusion study run --final`.

    Raises:
        OSError: No series was begun there.
        ValueError: A fold's final table is missing, or its images have several labels.
    """
    members = series.parts(output)
    if not members:
        raise ValueError(f"{output} must hold a series (got a single study). Give its config folds or targets.")
    judged = [(member, *_judged(member)) for member in members]  # all are refused before any model runs
    likeness: list[Likeness] = []
    together: list[Together] = []
    changes: dict[Tuned, list[_Change]] = {}
    alone: dict[str, str] = {}
    for member, found, rows, truth in judged:
        images = sources.open_test(member.source, found.config.window).images
        for run, models in _runs(member, found, rows, truth, images):
            moved = [Likeness(run, m.name, m.tuned, cca_of(m.before, m.after)) for m in models]
            likeness += [*moved, *_between(run, models, images)]
            together += _together(run, models, truth)
            for model, change in zip(models, moved, strict=True):
                if encoders.is_random(model.name):
                    continue
                if (rise := _gain(model, models)) is None:
                    alone[model.name] = _ALONE
                else:
                    own = changes.setdefault((model.name, model.strategy, run.labels), [])
                    own.append(_Change(member, change.quarters, rise))
    trends, undefined = _trends(changes)
    return Representations(likeness, together, trends, alone | undefined)


def _judged(member: Member) -> tuple[Results, list[Row], Judged]:
    """A study with its rows on the test part."""
    found = read.results(member.folder)
    if found.test is None:
        raise ValueError(f"{member} must be judged on its test part first. Run: fusion study run --final.")
    if found.test[1].labels.ndim > 1:
        raise ValueError(
            f"{member} must have one label per image, to tell which models err together "
            f"(got {len(found.test[1].classes)} labels of 0 and 1). Run a series with a target for each label."
        )
    return found, *found.test


def _runs(
    member: Member, found: Results, rows: Sequence[Row], truth: Judged, images: Any
) -> Iterator[tuple[Run, list[_Model]]]:
    """Of the rows of one encoder, with the learning rates that validation chose."""
    window = found.config.window
    parts = sources.open_parts(member.source, window)
    fits: dict[Run, list[Callable[[], _Model]]] = {}
    chosen = (chosen for chosen in found.chosen if not chosen.row.untrained)
    for own, row in zip(chosen, rows, strict=True):
        if len(row.encoders) == 1:
            definition = found.config.strategies[row.strategy]
            figures = score.score(truth.labels, row.probabilities, truth.classes, truth.groups, resamples=1)
            for cell, proba in zip(own.cells, row.probabilities, strict=True):
                task = Task(cell, member.folder, definition, {}, None, *parts, None, alone=False, window=window)
                fit = partial(_model, task, images, truth.classes[proba.argmax(1)], figures.auc.value, own.auc)
                fits.setdefault(Run(member, cell.labels, cell.seed), []).append(fit)
    for run, own_fits in fits.items():  # one at a time: samples are large
        yield run, [fit() for fit in own_fits]


def _model(task: Task, images: Any, predicted: Any, auc: float, validation: float) -> _Model:
    (source,) = cell_.encoders(task)
    fitted = FusionClassifier.load(task.output / "models" / task.cell.key)
    before, after = sample(source, images), sample(fitted.encoders_[0], images)
    return _Model(task, source, before, after, predicted, auc, validation)


def _between(run: Run, models: Sequence[_Model], images: Any) -> Iterator[Likeness]:
    """Two sources before and after, and two draws of random weights."""
    for one, other in itertools.combinations(models, 2):
        if one.name != other.name and one.strategy == other.strategy and same_maps(one.source, other.source):
            yield Likeness(run, one.tuned, other.tuned, cca_of(one.after, other.after))
    first = {model.name: model for model in reversed(models)}
    for one, other in itertools.combinations(reversed(first.values()), 2):
        if same_maps(one.source, other.source):
            yield Likeness(run, one.name, other.name, cca_of(one.before, other.before))
    for name in filter(encoders.is_random, first):
        draws = [_drawn(first[name].task, _SEEDS + 2 * run.seed + k, images) for k in range(2)]
        yield Likeness(run, name, f"{name}, another draw", cca_of(*draws))


def _drawn(task: Task, seed: int, images: Any) -> list[Sample]:
    """What other random weights see, settled on training images as those of a cell are."""
    (encoder,) = cell_.encoders(replace(task, cell=replace(task.cell, seed=seed)))
    return sample(encoder, images)


def _together(run: Run, models: Sequence[_Model], truth: Judged) -> Iterator[Together]:
    for one, other in itertools.combinations(models, 2):
        if one.name != other.name and one.strategy == other.strategy:
            # Folds are what is averaged over: their own intervals, over few groups, are not told.
            found = agreement(truth.labels, one.predicted, other.predicted, resamples=1)
            yield Together(run, one.strategy, one.name, other.name, found)


def _gain(model: _Model, models: Sequence[_Model]) -> float | None:
    """Over random weights of the same architecture and depth; of several strategies that which validation prefers."""
    like = [m for m in models if encoders.is_random(m.name) and _network(m.source) == _network(model.source)]
    scratch = max(like, key=lambda m: m.validation, default=None)
    return None if scratch is None else gain(model.auc, scratch.auc)


def _network(encoder: zoo.Encoder) -> tuple[str, dict[str, Any]]:
    """Two of the same architecture and depth have the same; arguments of a card may only shape what is cut off."""
    return encoder.card.architecture, {name: values.shape for name, values in encoder.state_dict().items()}


def _trends(changes: Mapping[Tuned, Sequence[_Change]]) -> tuple[list[Trend], dict[str, str]]:
    """The trends, and those that cannot be told.

    Folds of one target are not independent: with four targets or more whole targets are left out.
    """
    trends, left_out = [], {}
    for (encoder, strategy, labels), own in changes.items():
        folds = [[c for c in own if c.member == member] for member in dict.fromkeys(c.member for c in own)]
        targets = np.array([fold[0].member.target for fold in folds])
        groups = targets if len(np.unique(targets)) >= _FEWEST else None
        gains = np.array([fold[0].gain for fold in folds])
        quarters = np.array([np.mean([c.quarters for c in fold], axis=0) for fold in folds])  # over seeds: (F, Q)
        for quarter, values in enumerate(quarters.T, 1):
            if why := _undefined(values, gains, groups):
                left_out[f"{encoder}, {strategy}, {words.labels_name(labels)}, quarter {quarter}"] = why
            else:
                trends.append(Trend(encoder, strategy, labels, quarter, correlation(values, gains, groups)))
    return trends, left_out


def _undefined(likeness: Floats, gains: Floats, groups: npt.NDArray[Any] | None) -> str | None:
    """Why there is no correlation, be it of all points (F,) or of those that are left without a group."""
    if len(gains) < _FEWEST:
        return f"a correlation needs {_FEWEST} folds (got {len(gains)})"
    for what, values in (("likeness", likeness), ("gain", gains)):
        if np.ptp(values) <= _STILL:
            return f"{what} is the same in all folds"
        for group in () if groups is None else np.unique(groups):
            if np.ptp(values[groups != group]) <= _STILL:
                return f"without the target {group}, {what} is the same in all folds"
    return None
