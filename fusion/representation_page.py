"""What `fusion.representations` measured, as a page and tables in the folder of the series."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fusion import landing, pictures
from fusion.evaluation import Interval
from fusion.inside_page import Page, Section, Table, number, render

if TYPE_CHECKING:  # a page is made of what was measured; it measures nothing
    from fusion.representations import Representations, Together, Trend

_LIKENESS = ("target", "fold", "first", "second", "quarter", "cca")
_TOGETHER = ("target", "fold", "strategy", "first", "second", "same", "errors", "expected", "kappa")
_ENDS = ("", "_low", "_high")
_TRENDS = ("encoder", "strategy", "quarter", "points", *(f"{r}{end}" for r in ("pearson", "spearman") for end in _ENDS))
_QUARTERS = ("quarter 1", "quarter 2", "quarter 3", "quarter 4")

_CCA = (
    "Mean canonical correlation at the end of each quarter, pixels of maps as samples, the same 64 channels of both; "
    "means over folds, on the images of the fold that no model was trained on."
)
_RANDOM = "Two draws of random weights are the yardstick: what is no more alike than these has nothing in common."
_ERRORS = "Errors: both right or both wrong. Expected: were mistakes independent. Kappa: what lies between, 1 at most."
_TREND = "A point per fold. With a single target the folds share their training images: read intervals as too narrow."


def write(output: Path, found: "Representations") -> list[Path]:
    """Write `inside.html`, `representations.csv`, `predictions.csv` and `correlations.csv` into the folder."""
    texts = {
        "inside.html": render(page(found)),
        "representations.csv": _csv(_LIKENESS, _likeness(found)),
        "predictions.csv": _csv(_TOGETHER, map(_errors, found.together)),
        "correlations.csv": _csv(_TRENDS, map(_correlation, found.trends)),
    }
    for name, text in texts.items():
        landing.replace(output / name, text.encode())
    return [output / name for name in texts]


def page(found: "Representations") -> Page:
    """The page: likeness by quarter, mistakes in common, and likeness against gain."""
    members = list(dict.fromkeys(str(entry.member) for entry in found.likeness))
    sections = [*_alike(found), _mistakes(found)]
    if found.trends:
        sections.append(_against_gain(found))
    return Page("What fine-tuning changed inside", f"{len(members)} folds: {'; '.join(members)}.", sections)


def means(found: "Representations") -> dict[str, list[float]]:
    """Mean CCA per quarter of each pair of encoders, over folds and targets."""
    rows: dict[str, list[list[float]]] = {}
    for entry in found.likeness:
        rows.setdefault(f"{entry.first} | {entry.second}", []).append(entry.quarters)
    return {pair: np.mean(values, axis=0).tolist() for pair, values in rows.items()}


def _alike(found: "Representations") -> Iterator[Section]:
    """Pairs of as many quarters share a picture."""
    curves = means(found)
    for count in dict.fromkeys(len(values) for values in curves.values()):
        own = {pair: values for pair, values in curves.items() if len(values) == count}
        rows = [[pair, *map(number, values)] for pair, values in own.items()]
        depths = [(place + 1) / 4 for place in range(count)]
        yield Section(
            "Likeness by quarter",
            [_CCA, _RANDOM],
            picture=pictures.by_layer(own, depths, ylabel="mean CCA"),
            tables=[Table("Mean CCA.", ("pair", *_QUARTERS[:count]), rows)],
        )


def _mistakes(found: "Representations") -> Section:
    rows = []
    for key in dict.fromkeys((entry.strategy, entry.first, entry.second) for entry in found.together):
        own = [e.found for e in found.together if (e.strategy, e.first, e.second) == key]
        columns = [[getattr(a, name).value for a in own] for name in ("same", "errors", "expected", "kappa")]
        rows.append([f"{key[1]} | {key[2]}, {key[0]}", *(_spread(values) for values in columns)])
    head = ("pair", "same label", "errors", "expected", "kappa")
    return Section("Mistakes in common", [_ERRORS], tables=[Table("Mean and deviation over folds.", head, rows)])


def _against_gain(found: "Representations") -> Section:
    rows = []
    for trend in found.trends:
        both = number(trend.found.pearson), number(trend.found.spearman)
        rows.append([f"{trend.encoder}, {trend.strategy}, quarter {trend.quarter}", str(trend.found.points), *both])
    caption = "Correlation of likeness before and after with the gain over random weights; 95 % intervals in brackets."
    head = ("source", "points", "Pearson", "Spearman")
    return Section("Likeness against gain", [_TREND], tables=[Table(caption, head, rows)])


def _spread(values: Sequence[float]) -> str:
    deviation = f" ± {number(float(np.std(values, ddof=1)))}" if len(values) > 1 else ""
    return f"{number(float(np.mean(values)))}{deviation}"


def _likeness(found: "Representations") -> Iterator[list[str]]:
    for entry in found.likeness:
        for quarter, value in enumerate(entry.quarters, 1):
            target, fold = entry.member.target, str(entry.member.fold or "")
            yield [target, fold, entry.first, entry.second, str(quarter), f"{value:.4f}"]


def _errors(entry: "Together") -> list[str]:
    figures = (entry.found.same, entry.found.errors, entry.found.expected, entry.found.kappa)
    head = [entry.member.target, str(entry.member.fold or ""), entry.strategy, entry.first, entry.second]
    return [*head, *(f"{figure.value:z.4f}" for figure in figures)]


def _correlation(trend: "Trend") -> list[str]:
    head = [trend.encoder, trend.strategy, str(trend.quarter), str(trend.found.points)]
    return [*head, *_three(trend.found.pearson), *_three(trend.found.spearman)]


def _three(interval: Interval) -> list[str]:
    return [f"{value:z.4f}" for value in (interval.value, interval.low, interval.high)]


def _csv(columns: Sequence[str], rows: Iterable[list[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([columns, *rows])
    return stream.getvalue()
