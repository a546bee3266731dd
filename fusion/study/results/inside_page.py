"""What `fusion.study.results.inside` measured, as a page and tables in the folder of the series."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from fusion.data import writing
from fusion.evaluation.intervals import Interval
from fusion.report import charts, words
from fusion.report.page import Page, Section, Table, number, render
from fusion.report.words import Labels, csv_text
from fusion.study.results.inside import Representations, Run, Together, Trend
from fusion.study.series import Member

_RUN = ("target", "fold", "labels", "seed")
_LIKENESS = (*_RUN, "first", "second", "quarter", "cca")
_FIGURES = ("same", "errors", "expected", "kappa")
_TOGETHER = (*_RUN, "strategy", "first", "second", *_FIGURES)
_ENDS = tuple(f"{measure}{end}" for measure in ("pearson", "spearman") for end in ("", "_low", "_high"))
_TRENDS = ("encoder", "strategy", "labels", "quarter", "points", *_ENDS)
_QUARTERS = ("quarter 1", "quarter 2", "quarter 3", "quarter 4")

_CCA = (
    "Mean canonical correlation at the end of each quarter, pixels of maps as samples, the same 64 channels of both; "
    "means over seeds and folds, on the images of the fold that no model was trained on."
)
_RANDOM = "Two draws of random weights are the yardstick: what is no more alike than these has nothing in common."
_ERRORS = "Errors: both right or both wrong. Expected: were mistakes independent. Kappa: what lies between, 1 at most."
_TREND = "A point per fold. With a single target the folds share their training images: read intervals as too narrow."
_GAIN = (
    "Gain: of the test AUC, mean over seeds, over that of random weights of the same architecture and depth with as "
    "many labels; of several strategies for these, the one with the highest AUC on the validation part."
)


def write(output: Path, found: Representations) -> list[Path]:
    """Write `inside.html`, `representations.csv`, `predictions.csv` and `correlations.csv` into the folder."""
    texts = {
        "inside.html": render(page(found)),
        "representations.csv": csv_text(_LIKENESS, _likeness(found)),
        "predictions.csv": csv_text(_TOGETHER, map(_errors, found.together)),
        "correlations.csv": csv_text(_TRENDS, map(_correlation, found.trends)),
    }
    for name, text in texts.items():
        writing.write(output / name, text)
    return [output / name for name in texts]


def page(found: Representations) -> Page:
    """The page: likeness by quarter, mistakes in common, and likeness against gain."""
    runs = list(dict.fromkeys(entry.run for entry in found.likeness))
    members = dict.fromkeys(str(run.member) for run in runs)
    seeds = ", ".join(map(str, dict.fromkeys(run.seed for run in runs)))
    budgets = ", ".join(map(words.labels_name, _budgets(found)))
    task = f"Folds: {'; '.join(members)}. Label budget: {budgets}. Seeds: {seeds}."
    sections = [*_alike(found), _mistakes(found), *_against_gain(found)]
    return Page("What fine-tuning changed inside", task, sections)


def means(found: Representations) -> dict[str, list[float]]:
    """Mean CCA per quarter of each pair of encoders, over seeds, folds and targets."""
    rows: dict[str, list[list[float]]] = {}
    budgets = _budgets(found)
    for entry in found.likeness:
        rows.setdefault(f"{entry.first} | {entry.second}{budgets[entry.run.labels]}", []).append(entry.quarters)
    return {pair: np.mean(values, axis=0).tolist() for pair, values in rows.items()}


def _alike(found: Representations) -> Iterator[Section]:
    """Pairs of as many quarters share a picture."""
    curves = means(found)
    for count in dict.fromkeys(len(values) for values in curves.values()):
        own = {pair: values for pair, values in curves.items() if len(values) == count}
        rows = [[pair, *map(number, values)] for pair, values in own.items()]
        depths = [(place + 1) / 4 for place in range(count)]
        yield Section(
            "Likeness by quarter",
            [_CCA, _RANDOM],
            picture=charts.by_layer(own, depths, ylabel="mean CCA"),
            tables=[Table("Mean CCA.", ("pair", *_QUARTERS[:count]), rows)],
        )


def _mistakes(found: Representations) -> Section:
    """Means over the seeds of a fold, then mean and deviation over folds."""
    folds: dict[str, dict[Member, list[list[float]]]] = {}
    budgets = _budgets(found)
    for entry in found.together:
        pair = f"{entry.first} | {entry.second}, {entry.strategy}{budgets[entry.run.labels]}"
        values = [getattr(entry.found, name).value for name in _FIGURES]
        folds.setdefault(pair, {}).setdefault(entry.run.member, []).append(values)
    rows = []
    for pair, own in folds.items():
        columns = np.array([np.mean(values, axis=0) for values in own.values()]).T  # (4, F)
        rows.append([pair, *map(_spread, columns)])
    head = ("pair", "same label", "errors", "expected", "kappa")
    return Section("Mistakes in common", [_ERRORS], tables=[Table("Mean and deviation over folds.", head, rows)])


def _against_gain(found: Representations) -> Iterator[Section]:
    """The correlations, and why others are not there; nothing where there is no source."""
    rows, budgets = [], _budgets(found)
    for trend in found.trends:
        name = f"{trend.encoder}, {trend.strategy}{budgets[trend.labels]}, quarter {trend.quarter}"
        both = number(trend.found.pearson), number(trend.found.spearman)
        rows.append([name, str(trend.found.points), *both])
    caption = "Correlation of likeness before and after with the gain over random weights; 95 % intervals in brackets."
    shown = [Table(caption, ("source", "points", "Pearson", "Spearman"), rows)] if rows else []
    if rows or found.left_out:
        yield Section("Likeness against gain", [_TREND, _GAIN, *_left_out(found.left_out)], tables=shown)


def _left_out(reasons: Mapping[str, str]) -> Iterator[str]:
    for why in dict.fromkeys(reasons.values()):
        yield f"Left out: {'; '.join(what for what, own in reasons.items() if own == why)}: {why}."


def _budgets(found: Representations) -> dict[Labels, str]:
    """Of each label budget what tells its rows from those of others."""
    budgets = dict.fromkeys(entry.run.labels for entry in found.likeness)
    return {labels: f", {words.labels_name(labels)}" if len(budgets) > 1 else "" for labels in budgets}


def _spread(values: Sequence[float]) -> str:
    deviation = f" ± {number(float(np.std(values, ddof=1)))}" if len(values) > 1 else ""
    return f"{number(float(np.mean(values)))}{deviation}"


def _likeness(found: Representations) -> Iterator[list[str]]:
    for entry in found.likeness:
        for quarter, value in enumerate(entry.quarters, 1):
            yield [*_run(entry.run), entry.first, entry.second, str(quarter), f"{value:.4f}"]


def _errors(entry: Together) -> list[str]:
    figures = (getattr(entry.found, name).value for name in _FIGURES)
    return [*_run(entry.run), entry.strategy, entry.first, entry.second, *(f"{value:z.4f}" for value in figures)]


def _correlation(trend: Trend) -> list[str]:
    head = [trend.encoder, trend.strategy, _labels(trend.labels), str(trend.quarter), str(trend.found.points)]
    return [*head, *_three(trend.found.pearson), *_three(trend.found.spearman)]


def _run(run: Run) -> list[str]:
    return [run.member.target, str(run.member.fold or ""), _labels(run.labels), str(run.seed)]


def _labels(labels: Labels) -> str:
    return "all" if labels is None else str(labels)


def _three(interval: Interval) -> list[str]:
    return [f"{value:z.4f}" for value in (interval.value, interval.low, interval.high)]
