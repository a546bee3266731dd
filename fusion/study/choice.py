"""From the landed cells of a study to its tables: learning rates and contest sides are chosen on validation, first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

import zoo
from fusion.report import words
from fusion.study.config import Config, Filter
from fusion.study.grid import Cell

Floats = npt.NDArray[np.float64]
Records = dict[str, dict[str, Any]]  # what landed of the cells that are done, by key
Predictions = Callable[[Cell], Floats]


@dataclass(frozen=True)
class Chosen:
    """One row of the table: the cells, one per seed, of the learning rate that validation chose.

    Attributes:
        cells: One per seed.
        auc: Mean over seeds, on validation.
    """

    cells: tuple[Cell, ...]
    auc: float

    @property
    def row(self) -> Cell:
        """One of the cells, no matter which: what the row is, but for the seed."""
        return self.cells[0]

    def __str__(self) -> str:
        return str(self.row).rpartition(", seed ")[0]


@dataclass(frozen=True)
class Match:
    """A contest whose sides are picked."""

    name: str
    ours: Chosen
    theirs: Chosen


def choose(cells: Sequence[Cell], records: Records) -> list[Chosen]:
    """The rows with their learning rates: the highest mean validation AUC, among those with the most seeds done."""
    rows: dict[Cell, dict[float | None, list[Cell]]] = {}
    for cell in cells:
        if cell.key in records:
            row = replace(cell, learning_rate=None, seed=0)
            rows.setdefault(row, {}).setdefault(cell.learning_rate, []).append(cell)
    found = []
    for rates in rows.values():
        candidates = [Chosen(tuple(own), _mean_auc(own, records)) for own in rates.values()]
        found.append(max(candidates, key=lambda chosen: (len(chosen.cells), chosen.auc)))
    return found


def pair(config: Config, chosen: Sequence[Chosen]) -> list[Match]:
    """The contests of the config at every label budget; one whose side is empty is left out."""
    found = []
    for contest in config.contests:
        for labels in config.labels:
            rows = [row for row in chosen if row.row.labels == labels and type(row.row.labels) is type(labels)]
            sides = [[row for row in rows if admits(side, row.row)] for side in (contest.ours, contest.theirs)]
            if all(sides):
                ours, theirs = (max(side, key=lambda row: (len(row.cells), row.auc)) for side in sides)
                name = contest.name if len(config.labels) == 1 else f"{contest.name}, {words.labels_name(labels)}"
                found.append(Match(name, ours, theirs))
    return found


def admits(side: Filter, row: Cell) -> bool:
    """Tell whether the row may stand on this side; raw pixels and random weights never do."""
    pairs = [zoo.split_name(name) for name in row.encoders]
    stems, depths = {stem for stem, _ in pairs}, {depth for _, depth in pairs}
    return (
        bool(row.encoders)
        and not row.untrained
        and side.fused in (None, len(row.encoders) > 1)
        and (side.strategies is None or row.strategy in side.strategies)
        and (side.encoders is None or stems <= set(side.encoders))
        and (side.depths is None or depths <= set(side.depths))
    )


def _mean_auc(cells: Sequence[Cell], records: Records) -> float:
    return float(np.mean([records[cell.key]["figures"]["auc"] for cell in cells]))
