"""What a folder holds, be it of one study or of a series: how far it is, and its tables.

Of a series `folds.csv` has a row per study and row of its table, `results.csv` their means over folds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fusion.data import writing
from fusion.evaluation import score
from fusion.report import words
from fusion.report.words import csv_text
from fusion.study import folder, series
from fusion.study.results import read
from fusion.study.results.read import Judged, Results, State
from fusion.study.results.table import Row
from fusion.study.series import Member

_NAMES = ("auc", "balanced_accuracy")
_FIGURES = tuple(f"{part}_{name}" for part in ("test", "validation") for name in _NAMES)
_ROW = ("target", "encoders", "head", "strategy", "labels")
FOLDS = ("target", "fold", *_ROW[1:], "learning_rate", "seeds", *_FIGURES)
MEANS = (*_ROW, "folds", "folds_tested", *(f"{name}{sd}" for name in _FIGURES for sd in ("", "_sd")))


@dataclass(frozen=True)
class FoldLine:
    """One row of one study, in points: means over its seeds, without intervals.

    Attributes:
        member: The study.
        row: As its own table has it, of the validation part.
        figures: By name, `test_auc` and so on; without those of the test part where that was not opened.
    """

    member: Member
    row: Row
    figures: dict[str, float]

    @property
    def over(self) -> tuple[str, ...]:
        """Target and settings of the row, the same whatever the fold."""
        row = self.row
        labels = "all" if row.labels is None else str(row.labels)
        return self.member.target, words.encoders_name(row.encoders), row.head, row.strategy, labels


def state(output: Path) -> State:
    """Tell how far the study in the folder is, or all studies of the series in it; what was not begun is missing.

    Raises:
        OSError: Nothing was begun there.
    """
    members = series.parts(output)
    if not members:
        return read.state(output)
    begun = {member: read.state(member.folder) for member in members if _begun(member)}
    laid = folder.study(output)["cells"]
    waiting = [f"{member}: {cell}" for member in members if member not in begun for cell in laid]
    paces = [now.pace for now in begun.values() for _ in now.done if now.pace is not None]
    return State(
        done=[f"{member}: {cell}" for member, now in begun.items() for cell in now.done],
        failed={f"{member}: {cell}": why for member, now in begun.items() for cell, why in now.failed.items()}
        | folder.failures(output),
        missing=[f"{member}: {cell}" for member, now in begun.items() for cell in now.missing] + waiting,
        skipped={f"{member}: {cell}": why for member, now in begun.items() for cell, why in now.skipped.items()},
        pace=float(np.mean(paces)) if paces else None,
    )


def write(output: Path) -> list[Path]:
    """Write the tables and pages of what is there so far; of a series its two tables, then those of every study.

    Raises:
        OSError: Nothing was begun there.
        ValueError: No cell is done yet.
    """
    members = series.parts(output)
    if not members:
        return read.write(output)
    found = [member for member in members if _begun(member) and read.state(member.folder).done]
    if not found:
        raise ValueError(f"{output} must hold results (got no cell that is done). Go on with: fusion study run.")
    lines = [line for member in found for line in _lines(member, read.results(member.folder))]
    writing.write(output / "folds.csv", csv_text(FOLDS, map(_record, lines)))
    writing.write(output / "results.csv", csv_text(MEANS, _means(lines)))
    return [output / "folds.csv", output / "results.csv", *(p for m in found for p in read.write(m.folder))]


def _begun(member: Member) -> bool:
    return (member.folder / "study.json").exists()


def _lines(member: Member, found: Results) -> Iterator[FoldLine]:
    tested = _points("test", *found.test) if found.test else [{} for _ in found.validation[0]]
    seen = _points("validation", *found.validation)
    for row, validation, test in zip(found.validation[0], seen, tested, strict=True):
        yield FoldLine(member, row, validation | test)


def _points(part: str, rows: Sequence[Row], truth: Judged) -> list[dict[str, float]]:
    # One draw, which is not looked at: the intervals are the studies' own.
    found = [score.score(truth.labels, r.probabilities, truth.classes, truth.groups, resamples=1) for r in rows]
    return [{f"{part}_{name}": getattr(figures, name).value for name in _NAMES} for figures in found]


def _record(line: FoldLine) -> list[str]:
    target, *rest = line.over
    rate = "" if line.row.learning_rate is None else f"{line.row.learning_rate:g}"
    figures = [_figure(line.figures.get(name)) for name in _FIGURES]
    return [target, str(line.member.fold or ""), *rest, rate, " ".join(map(str, line.row.seeds)), *figures]


def _means(lines: Sequence[FoldLine]) -> Iterator[list[str]]:
    """Mean and sample deviation over folds."""
    for key in dict.fromkeys(line.over for line in lines):
        own = [line.figures for line in lines if line.over == key]
        columns = [[figures[name] for figures in own if name in figures] for name in _FIGURES]
        spreads = [cell for values in columns for cell in (_mean(values), _sd(values))]
        yield [*key, str(len(own)), str(len(columns[0])), *spreads]


def _mean(values: list[float]) -> str:
    return _figure(float(np.mean(values)) if values else None)


def _sd(values: list[float]) -> str:
    return _figure(float(np.std(values, ddof=1)) if len(values) > 1 else None)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:z.4f}"  # z: no minus before a rounded zero
