"""The main job on the shipped task: choose on the validation slabs, then look at the test brain once.

`choose` sees Colin27 only. `judge` opens MNI152, after every choice is made.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

import zoo
from fusion.data.folds import folds as folds_of
from fusion.data.samples import Samples
from fusion.data.sets.brain_regions import brain_regions
from fusion.estimators.classifier import FusionClassifier
from fusion.evaluation import metrics, score
from fusion.features import extract as extract_
from fusion.features import raw
from fusion.heads.probe import GRID, Folds
from fusion.heads.solved import SOLVED, Head

ENCODERS = ("mocov2-mini", "mae-mini")
BUDGETS: tuple[int | None, ...] = (60, 300, None)
DEPTHS = (0.25, 0.5, 0.75, 1.0)
SEEDS = range(5)
HEAD = "concat"  # the winner on the validation slabs, see fusion/heads/README.md

Floats = npt.NDArray[np.floating]
Levels = dict[str, list[Floats]]
Key = tuple[str, int]  # source, level
Step = Callable[[str], None]


@dataclass(frozen=True)
class Choice:
    """One row of the table before the test: what was chosen on the validation slabs, and how it did there.

    `inputs` names the features of each block as (source, level); a row that is a mean over seeds has one
    entry of `inputs` and `heads` per seed.
    """

    row: str
    budget: int | None
    inputs: list[list[Key]]
    heads: list[Head]
    penalties: list[float]
    validation: score.Evaluation

    @property
    def depths(self) -> list[float]:
        """The depth of each block; raw pixels have none."""
        return [DEPTHS[level] for source, level in self.inputs[0] if source != raw.NAME]


@dataclass(frozen=True)
class Outcome:
    """A choice with its test figures and, where it is not the reference, how much the fusion is above it."""

    choice: Choice
    test: score.Evaluation
    gain: score.Evaluation | None
    probabilities: list[npt.NDArray[np.float64]]


def sources() -> dict[str, zoo.Encoder | None]:
    """Return what features come from: raw pixels, the encoders at full depth, and five untrained controls."""
    named: dict[str, zoo.Encoder | None] = {raw.NAME: None}
    named |= {name: zoo.load(name, 1.0) for name in ENCODERS}
    named |= {f"random init {seed}": zoo.untrained(ENCODERS[0], 1.0, seed=seed) for seed in SEEDS}
    fast = torch.channels_last  # 1.6 times the images per second of the default on a CPU
    return {name: encoder and encoder.to(memory_format=fast) for name, encoder in named.items()}


def extract(encoders: dict[str, zoo.Encoder | None], samples: Samples, step: Step) -> Levels:
    """Features of `samples` from every source, at the end of every quarter."""
    found: Levels = {}
    for name, encoder in encoders.items():
        found[name] = (
            [raw.pixels(samples.images)] if encoder is None else list(extract_.quarters(encoder, samples.images))
        )
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


def judge(choices: list[Choice], encoders: dict[str, zoo.Encoder | None], step: Step) -> tuple[list[Outcome], Samples]:
    """Judge every choice on the test brain, once."""
    test = brain_regions("test")
    levels = extract(encoders, test, step)
    classes = np.unique(test.labels)
    probas = [[_predict(h, k, levels) for h, k in zip(c.heads, c.inputs, strict=True)] for c in choices]
    tests = [score.score(test.labels, proba, classes, test.groups) for proba in probas]
    fusion = {c.budget: figures for c, figures in zip(choices, tests, strict=True) if c.row == "fusion"}
    rows = [
        Outcome(choice, figures, None if choice.row == "fusion" else fusion[choice.budget] - figures, proba)
        for choice, figures, proba in zip(choices, tests, probas, strict=True)
    ]
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
        """Return all rows of the table for one label budget."""
        picked = brain_regions("train", labels=budget)
        at = partial(self._best, budget=budget, index=_where(picked, self.samples))
        pixels = at(raw.NAME, [[[(raw.NAME, 0)]]])
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
        return [pixels, random, *[row for rows in singles.values() for row in rows], concat, fused]

    def _best(
        self,
        row: str,
        options: list[list[list[Key]]],
        *,
        budget: int | None,
        index: npt.NDArray[np.int64],
        head: str = "concat",
        grid: Sequence[list[float]] = (),
    ) -> Choice:
        picked = self.samples.take(index)
        y = np.searchsorted(self.classes, picked.labels)
        folds = folds_of(y, picked.groups, 5, 0)
        best = -np.inf
        for inputs in options:
            for penalties in grid or [[c] * len(inputs[0]) for c in GRID]:
                heads = [self._fit(head, keys, index, y, folds, penalties) for keys in inputs]
                proba = [_predict(fitted, keys, self.validation) for fitted, keys in zip(heads, inputs, strict=True)]
                if (figure := self._auc(proba)) > best:
                    best, chosen = figure, (inputs, heads, penalties, proba)
        figures = score.score(self.held.labels, chosen[3], self.classes, self.held.groups, resamples=200)
        return Choice(row, budget, chosen[0], chosen[1], chosen[2], figures)

    def _fit(
        self,
        head: str,
        keys: list[Key],
        index: npt.NDArray[np.int64],
        y: npt.NDArray[np.int64],
        folds: Folds,
        penalties: list[float],
    ) -> Head:
        blocks = [self.train[source][level][index] for source, level in keys]
        return cast(Head, SOLVED[head]()).fit(blocks, y, folds, penalties, hold=False)

    def _auc(self, probas: list[npt.NDArray[np.float64]]) -> float:
        y = np.searchsorted(self.classes, self.held.labels)
        return float(np.mean([metrics.auc(y, proba)(np.ones(len(y))) for proba in probas]))


def _auc(choice: Choice) -> float:
    return choice.validation.auc.value


def _predict(head: Head, keys: list[Key], levels: Levels) -> npt.NDArray[np.float64]:
    return np.exp(head.log_proba([levels[source][level] for source, level in keys]))


def _where(picked: Samples, whole: Samples) -> npt.NDArray[np.int64]:
    places = {image.tobytes(): i for i, image in enumerate(whole.images)}
    return np.array([places[image.tobytes()] for image in picked.images])
