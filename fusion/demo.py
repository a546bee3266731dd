"""The main job on the shipped task: choose on the validation slabs, then look at the test brain once.

`choose` sees Colin27 only. `judge` opens MNI152, after every choice is made.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold

import zoo
from fusion import evaluation, features
from fusion.classifier import FusionClassifier
from fusion.heads import GRID, HEADS, Folds, Head
from fusion.samples import Samples, brain_regions

ENCODERS = ("mocov2-mini", "mae-mini")
BUDGETS: tuple[int | None, ...] = (60, 300, None)
DEPTHS = (0.25, 0.5, 0.75, 1.0)
SEEDS = range(5)
HEAD = "convex"  # the winner on the validation slabs, see README

Floats = npt.NDArray[np.floating]
Levels = dict[str, list[Floats]]
Step = Callable[[str], None]


@dataclass(frozen=True)
class Choice:
    """One row of the table before the test: what was chosen on the validation slabs, and how it did there.

    `inputs` names the features of each block as (source, level); a row that is a mean over seeds has one
    entry of `inputs` and `heads` per seed.
    """

    row: str
    budget: int | None
    inputs: list[list[tuple[str, int]]]
    heads: list[Head]
    penalties: list[float]
    validation: evaluation.Evaluation

    @property
    def depths(self) -> list[float]:
        """The depth of each block; raw pixels have none."""
        return [DEPTHS[level] for source, level in self.inputs[0] if source != "raw pixels"]


@dataclass(frozen=True)
class Row:
    """A choice with its test figures and, where it is not the reference, how much the fusion is above it."""

    choice: Choice
    test: evaluation.Evaluation
    gain: evaluation.Evaluation | None
    probabilities: list[npt.NDArray[np.float64]]


def sources() -> dict[str, zoo.Encoder | None]:
    """What features come from: raw pixels, the encoders at full depth, and five untrained controls."""
    named: dict[str, zoo.Encoder | None] = {"raw pixels": None}
    named |= {name: zoo.load(name, 1.0) for name in ENCODERS}
    return named | {f"random init {seed}": zoo.untrained(ENCODERS[0], 1.0, seed=seed) for seed in SEEDS}


def extract(encoders: dict[str, zoo.Encoder | None], samples: Samples, step: Step) -> Levels:
    """Features of `samples` from every source, at the end of every quarter."""
    found: Levels = {}
    for name, encoder in encoders.items():
        found[name] = [_raw(samples.images)] if encoder is None else list(features.levels(encoder, samples.images))
        step(name)
    return found


def choose(encoders: dict[str, zoo.Encoder | None], step: Step) -> list[Choice]:
    """Every row at every label budget; depth, penalty and nothing else are chosen, on the validation slabs only."""
    train, validation = brain_regions("train"), brain_regions("validation")
    bench = _Bench(extract(encoders, train, step), extract(encoders, validation, step), train, validation)
    choices = []
    for budget in BUDGETS:
        choices += bench.rows(budget)
        step(f"choices for {budget or 'all'} labels")
    return choices


def judge(choices: list[Choice], encoders: dict[str, zoo.Encoder | None], step: Step) -> tuple[list[Row], Samples]:
    """Judge every choice on the test brain, once."""
    test = brain_regions("test")
    levels = extract(encoders, test, step)
    classes = np.unique(test.labels)
    probas = [_probabilities(choice, levels) for choice in choices]
    reference = {c.budget: p for c, p in zip(choices, probas, strict=True) if c.row == "fusion"}
    rows = []
    for choice, proba in zip(choices, probas, strict=True):
        figures = evaluation.mean_score(test.labels, proba, classes, test.groups)
        gain = None
        if choice.row != "fusion":
            gain = evaluation.difference(test.labels, reference[choice.budget], proba, classes, test.groups)
        rows.append(Row(choice, figures, gain, proba))
    step("test brain")
    return rows, test


def fitted(choices: list[Choice]) -> FusionClassifier:
    """The fusion of the full label budget as a user would fit it, ready to save."""
    fused = next(c for c in choices if c.row == "fusion" and c.budget is None)
    names = [f"{source}@{DEPTHS[level]:g}" for source, level in fused.inputs[0]]
    train = brain_regions("train")
    model = FusionClassifier(names, head=HEAD, C=fused.penalties)
    return model.fit(train.images, train.labels, train.groups)


class _Bench:
    """Training and validation features, and the rows that are chosen with them."""

    def __init__(self, train: Levels, validation: Levels, samples: Samples, held: Samples) -> None:
        self.train, self.validation, self.samples, self.held = train, validation, samples, held
        self.classes = np.unique(samples.labels)

    def rows(self, budget: int | None) -> list[Choice]:
        """All rows of the table for one label budget."""
        picked = brain_regions("train", labels=budget)
        at = partial(self._best, budget=budget, index=_where(picked, self.samples))
        raw = at("raw pixels", [[[("raw pixels", 0)]]])
        random = at("random init", [[[(f"random init {seed}", level)] for seed in SEEDS] for level in range(4)])
        singles = {
            name: [at(f"{name} @ {depth:g}", [[[(name, level)]]]) for level, depth in enumerate(DEPTHS)]
            for name in ENCODERS
        }
        best = [max(rows, key=_auc) for rows in singles.values()]
        chosen = [row.inputs[0][0] for row in best]
        penalties = [row.penalties[0] for row in best]
        concat = at("all-concat @ 1", [[[(name, 3) for name in ENCODERS]]])
        fused = at("fusion", [[chosen]], head=HEAD, grid=[penalties])
        return [raw, random, *[row for rows in singles.values() for row in rows], concat, fused]

    def _best(
        self,
        row: str,
        options: list[list[list[tuple[str, int]]]],
        *,
        budget: int | None,
        index: npt.NDArray[np.int64],
        head: str = "concat",
        grid: Sequence[list[float]] = (),
    ) -> Choice:
        candidates = []
        for inputs in options:
            for penalties in grid or [[c] * len(inputs[0]) for c in GRID]:
                candidates.append(self._candidate(row, budget, index, inputs, head, penalties))
        return max(candidates, key=_auc)

    def _candidate(
        self,
        row: str,
        budget: int | None,
        index: npt.NDArray[np.int64],
        inputs: list[list[tuple[str, int]]],
        head: str,
        penalties: list[float],
    ) -> Choice:
        y = np.searchsorted(self.classes, self.samples.labels[index])
        folds = _folds(y, self.samples.groups[index])
        heads, probas = [], []
        for keys in inputs:
            blocks = [self.train[source][level][index] for source, level in keys]
            fitted = cast(Head, HEADS[head]()).fit(blocks, y, folds, penalties)
            heads.append(fitted)
            probas.append(np.exp(fitted.log_proba([self.validation[source][level] for source, level in keys])))
        figures = evaluation.mean_score(self.held.labels, probas, self.classes, self.held.groups, resamples=100)
        return Choice(row, budget, inputs, heads, penalties, figures)


def _auc(choice: Choice) -> float:
    return choice.validation.auc.value


def _probabilities(choice: Choice, levels: Levels) -> list[npt.NDArray[np.float64]]:
    return [
        np.exp(head.log_proba([levels[source][level] for source, level in keys]))
        for head, keys in zip(choice.heads, choice.inputs, strict=True)
    ]


def _folds(y: npt.NDArray[np.int64], groups: npt.NDArray[Any]) -> Folds:
    return list(StratifiedGroupKFold(5, shuffle=True, random_state=0).split(y, y, groups))


def _where(picked: Samples, whole: Samples) -> npt.NDArray[np.int64]:
    places = {image.tobytes(): i for i, image in enumerate(whole.images)}
    return np.array([places[image.tobytes()] for image in picked.images])


def _raw(images: npt.NDArray[np.uint8]) -> Floats:
    side = images.shape[1] // 16
    tiles = images.reshape(len(images), 16, side, 16, side)  # (N, H, W) -> (N, 16, s, 16, s)
    return np.asarray(tiles.mean((2, 4)).reshape(len(images), 256) / 255)  # -> (N, 16 * 16)
