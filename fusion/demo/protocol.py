"""The main job on the shipped task: choose on the validation slabs, then look at the test brain once.

`choose` sees Colin27 only. `judge` opens MNI152, after every choice is made.

The rule was frozen on Colin27: heads are fitted on images and on copies as other scanners might have made them, depths
are chosen by the mean AUC on validation slabs as they are and under the same shifts, the fusion's penalties by the head
itself, and a temperature is fitted to what each row says of those slabs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from fusion.data import shifts
from fusion.data.folds import folds as folds_of
from fusion.data.folds import of_copies
from fusion.data.samples import Samples
from fusion.data.sets.brain_regions import brain_regions
from fusion.demo.features import DEPTHS, ENCODERS, SEEDS, Features, Ints, Key, Sources, Step, features
from fusion.estimators.classifier import FusionClassifier
from fusion.evaluation import metrics, score
from fusion.features import raw
from fusion.heads.calibration import Calibration, calibrate, frequencies
from fusion.heads.losses import Weighting
from fusion.heads.probe import GRID, Folds, Strengths, shared
from fusion.heads.solved import SOLVED, Head

BUDGETS: tuple[int | None, ...] = (60, 300, None)
DRAWS = range(3)  # of labels, and one random control with each; all labels are one draw
HEAD = "concat"  # the winner on the validation slabs, see fusion/heads/README.md
FUSION, SINGLE = "fusion", "best single"

_EVERY = 5  # of the validation patches: neighbours tell the same
_FOLDS = 5
_KEPT = 300  # labels of the model that is saved
_RESAMPLES = 400  # of slabs, for each row: with more the whole takes above three minutes

Probas = list[npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Pick:
    """What the rule took for one draw of labels, and how it did on the validation slabs.

    Attributes:
        inputs: Source and level of each block.
        head: Fitted on the draw.
        calibration: What makes its answers probabilities.
        validation: AUC, the mean over the slabs as they are and under each of `shifts.FITTED`.
    """

    inputs: list[Key]
    head: Head
    calibration: Calibration
    validation: float

    @property
    def depths(self) -> list[float]:
        """The depth of each block; raw pixels have none."""
        return [DEPTHS[level] for source, level in self.inputs if source != raw.NAME]

    @property
    def strengths(self) -> list[float]:
        """C of each block, 0 of one that was left out."""
        return list(cast(Strengths, self.head.strengths))

    @property
    def blocks(self) -> list[str]:
        """Names of the blocks, as `zoo.load` takes those of encoders."""
        return [source if source == raw.NAME else f"{source}@{DEPTHS[level]:g}" for source, level in self.inputs]


@dataclass(frozen=True)
class Choice:
    """One row of the table before the test: what was picked for each draw of labels, or each seed of a control."""

    row: str
    budget: int | None
    picks: list[Pick]

    @property
    def validation(self) -> float:
        """The mean over draws."""
        return float(np.mean([pick.validation for pick in self.picks]))


@dataclass(frozen=True)
class Outcome:
    """A choice with its test figures: means over draws, with intervals over slabs.

    Attributes:
        choice: The row.
        test: Its figures.
        aucs: Of each draw.
        gain: Where it is not the fusion, how much that is above it.
        probabilities: (N, K) of each draw.
        decisions: (N,) of each draw, what `predict` would say: as classes count in the fit.
    """

    choice: Choice
    test: score.Evaluation
    aucs: list[float]
    gain: score.Evaluation | None
    probabilities: Probas
    decisions: list[npt.NDArray[np.str_]]

    @property
    def spread(self) -> float | None:
        """Standard deviation of the AUC over draws; None of one."""
        return float(np.std(self.aucs, ddof=1)) if len(self.aucs) > 1 else None


def choose(sources: Sources, step: Step) -> list[Choice]:
    """Every row at every label budget; depths and penalties are chosen, on Colin27 only."""
    bench = _Bench(sources, step)
    choices = []
    for budget in BUDGETS:
        choices += bench.rows(budget)
        step(f"choices for {budget or 'all'} labels")
    return choices


def judge(choices: list[Choice], sources: Sources, step: Step) -> tuple[list[Outcome], Samples]:
    """Judge every choice on the test brain, once."""
    test = brain_regions("test")
    found = features(sources, test, [(np.arange(len(test)), [])], step)
    rows = [_judged(choice, test, found) for choice in choices]
    fusion = {row.choice.budget: row.test for row in rows if row.choice.row == FUSION}
    rows = [
        row if row.choice.row == FUSION else replace(row, gain=fusion[row.choice.budget] - row.test) for row in rows
    ]
    step("test brain")
    return rows, test


def fitted(choices: list[Choice]) -> FusionClassifier:
    """The fusion of the first draw of 300 labels as a user would fit it, ready to save."""
    fused = next(c for c in choices if c.row == FUSION and c.budget == _KEPT).picks[0]
    train = brain_regions("train", labels=_KEPT, seed=DRAWS[0])
    options: dict[str, Any] = {"select": "shifted", "calibration": "temperature", "compare_baselines": False}
    model = FusionClassifier(fused.blocks, HEAD, folds=_FOLDS, **options)
    return model.fit(train.images, train.labels, train.groups)


def _judged(choice: Choice, test: Samples, found: Features) -> Outcome:
    own = [pick.head.log_proba(found.of(pick.inputs)) for pick in choice.picks]
    probas = [np.exp(pick.calibration.apply(said)) for pick, said in zip(choice.picks, own, strict=True)]
    classes, y = np.unique(test.labels, return_inverse=True)
    said = [classes[each.argmax(1)] for each in own]
    figures = score.score(test.labels, probas, classes, test.groups, decisions=np.array(said), resamples=_RESAMPLES)
    return Outcome(choice, figures, [metrics.auc_of(y, proba) for proba in probas], None, probas, said)


@dataclass(frozen=True)
class _Draw:
    """Training images of one draw of labels, with their copies."""

    held: Features
    index: Ints  # those of `held` that are of the draw
    y: Ints
    folds: Folds
    weighting: Weighting
    wanted: npt.NDArray[np.float64]

    def fit(self, keys: list[Key], penalties: Sequence[float] | None) -> Head:
        head = cast(Head, SOLVED[HEAD]())
        blocks = self.held.of(keys, self.index)
        return head.fit(blocks, self.y, self.folds, penalties, self.weighting, hold=False)


class _Bench:
    """Training and validation features, and the rows that are chosen with them."""

    def __init__(self, sources: Sources, step: Step) -> None:
        self.train, whole = brain_regions("train"), brain_regions("validation")
        self.drawn = {n: [self._places(n, seed) for seed in DRAWS] for n in BUDGETS if n is not None}
        few = np.unique(np.concatenate([index for draws in self.drawn.values() for index in draws]))
        self.few = features(sources, self.train, [(few, shifts.fitted())], step)
        self.many = features(sources, self.train, shifts.copies(len(self.train)), step)
        self.validation = whole.take(np.arange(0, len(whole), _EVERY))
        held = [(np.arange(len(self.validation)), shifts.fitted())]
        self.held = features(sources, self.validation, held, step)
        self.classes = np.unique(self.train.labels)
        self.truth = np.searchsorted(self.classes, self.validation.labels)

    def _places(self, labels: int, seed: int) -> Ints:
        places = {image.tobytes(): i for i, image in enumerate(self.train.images)}
        return np.array([places[image.tobytes()] for image in brain_regions("train", labels=labels, seed=seed).images])

    def rows(self, budget: int | None) -> list[Choice]:
        """Return all rows of the table for one label budget."""
        draws = self._draws(budget)
        found: dict[str, list[Pick]] = {}
        for place, draw in enumerate(draws):
            for row, pick in self._picks(draw, SEEDS if budget is None else [SEEDS[place]]):
                found.setdefault(row, []).append(pick)
        return [Choice(row, budget, picks) for row, picks in found.items()]

    def _picks(self, draw: _Draw, seeds: Sequence[int]) -> list[tuple[str, Pick]]:
        at = {(name, level): self._best(draw, [(name, level)]) for name in ENCODERS for level in range(len(DEPTHS))}
        best = [max((at[name, level] for level in range(len(DEPTHS))), key=_validation) for name in ENCODERS]
        deepest: list[Key] = [(name, len(DEPTHS) - 1) for name in ENCODERS]
        return [
            (raw.NAME, self._best(draw, [(raw.NAME, 0)])),
            *(("random init @ 0.25", self._best(draw, [(f"random init {seed}", 0)])) for seed in seeds),
            *((f"{name} @ {DEPTHS[level]:g}", pick) for (name, level), pick in at.items()),
            (SINGLE, max(best, key=_validation)),
            ("all-concat @ 1", self._pick(draw, deepest, [shared(tuple(at[key].strengths[0] for key in deepest))])),
            (FUSION, self._pick(draw, [pick.inputs[0] for pick in best], [None])),
        ]

    def _best(self, draw: _Draw, keys: list[Key]) -> Pick:
        return self._pick(draw, keys, [[penalty] for penalty in GRID])

    def _pick(self, draw: _Draw, keys: list[Key], grid: Sequence[Sequence[float] | None]) -> Pick:
        heads = [draw.fit(keys, penalties) for penalties in grid]
        answers = [np.asarray(head.log_proba(self.held.of(keys))) for head in heads]
        figures = [self._auc(said) for said in answers]
        best = int(np.argmax(figures))
        calibration = calibrate(answers[best], self.truth[self.held.rows], draw.wanted, temperature=True)
        return Pick(keys, heads[best], calibration, figures[best])

    def _auc(self, said: npt.NDArray[np.float64]) -> float:
        """The mean over the slabs as they are and under each shift."""
        views = said.reshape(1 + len(shifts.FITTED), len(self.truth), -1)
        return float(np.mean([metrics.auc_of(self.truth, view) for view in views]))

    def _draws(self, budget: int | None) -> list[_Draw]:
        if budget is None:
            return [self._draw(self.many, np.arange(len(self.train)))]
        return [self._draw(self.few, index) for index in self.drawn[budget]]

    def _draw(self, held: Features, images: Ints) -> _Draw:
        groups = cast(npt.NDArray[np.str_], self.train.groups)
        numbers = np.searchsorted(self.classes, self.train.labels)
        index = np.flatnonzero(np.isin(held.rows, images))
        shown = held.rows[index]  # (M,) of each, the image
        folds = of_copies(folds_of(numbers[images], groups[images], _FOLDS, 0), np.searchsorted(images, shown))
        each = 1 / np.bincount(shown)[shown]
        return _Draw(held, index, numbers[shown], folds, Weighting(images=each), frequencies(numbers[images]))


def _validation(pick: Pick) -> float:
    return pick.validation
