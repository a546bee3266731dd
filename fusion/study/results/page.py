"""The self-contained HTML page of a study: tables, paired tests, curves, cost, failures, how the choices were made."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

import zoo
from fusion.evaluation.intervals import Interval
from fusion.evaluation.score import Evaluation
from fusion.report import words
from fusion.report.html import fill
from fusion.report.style import COLOURS, MARKERS, svg
from fusion.report.words import Labels
from fusion.study.results.table import Against, Line

# Name, ours, theirs, and the figures of ours minus those of theirs.
Decided = tuple[str, str, str, Evaluation]
Column = tuple[tuple[str, ...], str]  # encoders, head

MECHANICS = "random weights: plumbing, not evidence"
_WIDE = 6  # columns that a sheet of paper takes


@dataclass(frozen=True)
class StudyPage:
    """Content of a study's page.

    Attributes:
        title: Of the study.
        task: What was predicted from what, in sentences.
        command: What reproduces the page.
        settings: All that the command took, as plain data.
        validation: Judged on the part that choices were made on.
        test: Judged on the part that was opened after them; None where there is none.
        comparisons: Against the reference, on `compared_on`.
        contests: The pairs that were named beforehand, on `compared_on`.
        compared_on: `validation` or `test`.
        warnings: What a reader has to know before the tables.
        choices: How the choices were made, one sentence or more each.
        mechanics: Lines of random weights; they stand in a table of their own.
        failures: (cell, error) of what gave no row.
    """

    title: str
    task: str
    command: str
    settings: dict[str, Any]
    validation: Sequence[Line]
    test: Sequence[Line] | None = None
    comparisons: Sequence[Against] = ()
    contests: Sequence[Decided] = ()
    compared_on: str = "validation"
    warnings: Sequence[str] = ()
    choices: Sequence[str] = ()
    mechanics: Sequence[Line] = ()
    failures: Sequence[tuple[str, str]] = ()

    def __post_init__(self) -> None:
        if self.compared_on not in ("validation", "test"):
            raise ValueError(
                f"compared_on must be validation or test (got {self.compared_on!r}). Name the part that was compared."
            )


@dataclass(frozen=True)
class Shown:
    """A line in a grid: whether its column holds another one, and whether it is the best there."""

    line: Line
    ranked: bool
    best: bool


@dataclass(frozen=True)
class Sheet:
    """Strategies by columns at one label budget; a wide one is cut into several that fit a sheet."""

    columns: list[Column]
    rows: list[tuple[str, list[Shown | None]]]


@dataclass(frozen=True)
class Side:
    """One part, judged: its grids by label budget, mean ranks and curves."""

    name: str
    lines: Sequence[Line]
    budgets: list[tuple[str, list[Sheet]]] = field(default_factory=list)
    ranks: list[Line] = field(default_factory=list)
    depths: list[Markup] = field(default_factory=list)
    labels: list[Markup] = field(default_factory=list)


@dataclass(frozen=True)
class Point:
    """One point of a curve: which panel and curve it is on, and where."""

    panel: str
    strategy: str
    x: float
    auc: Interval


def render(page: StudyPage) -> str:
    """One HTML page without links to anything outside it."""
    named = [("test", page.test), ("validation", page.validation)]
    values = {
        "page": page,
        "parts": [part(name, lines) for name, lines in named if lines],
        "mechanics": MECHANICS,
        "settings": json.dumps(page.settings, indent=2, default=str, ensure_ascii=False),
        "mean": np.mean,
    }
    return fill("fusion.study.results", values)


def part(name: str, lines: Sequence[Line]) -> Side:
    """Gather everything that is shown of one part."""
    budgets = sorted({line.row.labels for line in lines}, key=_order)
    strategies = _strategies(lines)
    ranked = {line.row.strategy: line for line in lines if line.mean_rank is not None}
    return Side(
        name,
        lines,
        budgets=[(words.labels_name(b), list(_grids([i for i in lines if i.row.labels == b]))) for b in budgets],
        ranks=sorted(ranked.values(), key=lambda line: line.mean_rank or 0),
        depths=[svg(figure) for figure in depth_curves(lines, strategies)],
        labels=[svg(figure) for figure in label_curves(lines, strategies)],
    )


def depth_curves(lines: Sequence[Line], strategies: Sequence[str]) -> Iterator[Figure]:
    """AUC over depth, a figure per encoder, head and label budget; fused encoders of unlike depths have no place."""
    points = []
    for line in lines:
        names, depths = zip(*map(_split, line.row.encoders), strict=True) if line.row.encoders else ((), ())
        if len(set(depths)) == 1 and depths[0] is not None:
            panel = f"{' + '.join(names)}, {line.row.head}\n{words.labels_name(line.row.labels)}"
            points.append(Point(panel, line.row.strategy, depths[0], line.figures.auc))
    return _curves(points, strategies, "depth", lambda depth: f"{depth:g}")


def label_curves(lines: Sequence[Line], strategies: Sequence[str]) -> Iterator[Figure]:
    """AUC over the label count, a figure per encoders and head; the budgets stand at equal steps."""
    budgets = sorted({line.row.labels for line in lines}, key=_order)
    points = [
        Point(
            f"{_folded(line.row.encoders)}, {line.row.head}",
            line.row.strategy,
            budgets.index(line.row.labels),
            line.figures.auc,
        )
        for line in lines
    ]
    return _curves(points, strategies, "training images", lambda place: _short(budgets[int(place)]))


def _curves(
    points: list[Point], strategies: Sequence[str], xlabel: str, tick: Callable[[float], str]
) -> Iterator[Figure]:
    ends = [end for point in points for end in (point.auc.low, point.auc.value, point.auc.high)]
    for name in dict.fromkeys(point.panel for point in points):
        own = [point for point in points if point.panel == name]
        places = sorted({point.x for point in own})
        if len(places) > 1:
            figure = _panel(own, strategies, 0.03 * min(np.diff(places)))
            figure.axes[0].set(title=name, xlabel=xlabel, ylabel="AUC", xticks=places)
            figure.axes[0].set_xticklabels([tick(place) for place in places])
            figure.axes[0].set_ylim(min(ends) - 0.02, max(ends) + 0.02)  # the same for all, so that panels compare
            yield figure


def _panel(points: list[Point], strategies: Sequence[str], step: float) -> Figure:
    """Curves with their intervals, side by side by `step`, so that none hides another."""
    shown = [s for s in strategies if any(point.strategy == s for point in points)]
    figure = Figure(figsize=(3.9, 2.8 + 0.2 * -(-len(shown) // 3)), layout="constrained")
    panel = figure.subplots()
    for i, strategy in enumerate(shown):
        own = sorted((point for point in points if point.strategy == strategy), key=lambda point: point.x)
        place = [point.x + (i - (len(shown) - 1) / 2) * step for point in own]
        n = list(strategies).index(strategy)  # the same colour in every figure
        colour, marker = COLOURS[n % len(COLOURS)], MARKERS[n % len(MARKERS)]
        line = "-" if n < len(COLOURS) else "--"
        panel.plot(place, [p.auc.value for p in own], line, color=colour, marker=marker, ms=5, lw=1.2, label=strategy)
        panel.vlines(place, [p.auc.low for p in own], [p.auc.high for p in own], color=colour, alpha=0.5, lw=1)
    panel.grid(alpha=0.3)
    panel.title.set_fontsize(9)
    figure.legend(loc="outside lower center", ncols=min(3, len(shown)), fontsize=7)
    return figure


def _grids(lines: Sequence[Line]) -> Iterator[Sheet]:
    """The grids of one label budget."""
    columns: dict[Column, dict[str, Line]] = {}
    for line in lines:
        columns.setdefault((line.row.encoders, line.row.head), {})[line.row.strategy] = line
    names = list(columns)
    for some in (names[start : start + _WIDE] for start in range(0, len(names), _WIDE)):
        rows = [(strategy, [_shown(columns[name], strategy) for name in some]) for strategy in _strategies(lines)]
        yield Sheet(some, [(strategy, row) for strategy, row in rows if any(row)])


def _shown(column: dict[str, Line], strategy: str) -> Shown | None:
    if strategy not in column:
        return None
    line, ranked = column[strategy], len(column) > 1
    return Shown(line, ranked, ranked and line.rank == min(other.rank for other in column.values()))


def _strategies(lines: Iterable[Line]) -> list[str]:
    return list(dict.fromkeys(line.row.strategy for line in lines))


def _split(encoder: str) -> tuple[str, float | None]:
    try:
        return zoo.split_name(encoder)
    except ValueError:  # a page may be made of other people's rows
        return encoder, None


def _order(labels: Labels) -> tuple[bool, bool, float]:
    """Shares, then counts, then all."""
    return labels is None, not isinstance(labels, float), labels or 0


def _folded(encoders: tuple[str, ...]) -> str:
    return " +\n".join(encoders) or "raw pixels"


def _short(labels: Labels) -> str:
    return words.labels_name(labels).removesuffix(" of labels").removesuffix(" labels")
