"""The commands `fusion compare`, `fusion changes` and `fusion select`."""

import dataclasses
import math
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from matplotlib.figure import Figure
from rich.box import SIMPLE
from rich.table import Table

import zoo
from fusion.commands.console import busy, clear_errors, console, record, say
from fusion.data import files
from fusion.data.sets.brain_regions import brain_regions
from fusion.data.sources import Part, draw
from fusion.estimators.classifier import FusionClassifier
from fusion.report import charts, comparison, style
from fusion.report import page as page_
from fusion.selection.scan import EMBEDDED, Level, Scan, scan
from fusion.similarity import compare
from fusion.similarity.batch_sizes import BatchSizes, over_batch_sizes
from fusion.similarity.compare import Comparison
from fusion.study.results.table import csv_text

BRAIN_REGIONS = "brain-regions"

# Never the test brain: what is chosen here would be chosen on it.
_SLABS: dict[str, Literal["train", "validation"]] = {"train": "train", "validation": "validation", "val": "validation"}

_VALUES = ("measure", "first", "first_depth", "second", "second_depth", "value")
_LEVELS = (*(field.name for field in dataclasses.fields(Level)), "recommended")

Source = Annotated[str, typer.Option("--data", help="Folder per class, CSV path,label[,patient][,split], .npz.")]
Split = Annotated[str | None, typer.Option(help="Only this split of a CSV, an .npz or brain-regions.")]
Learned = Annotated[
    str | None, typer.Option(help="The split of a CSV, an .npz or brain-regions, train unless said otherwise.")
]
Json = Annotated[Path | None, typer.Option("--json", help="Write what was found to this file.")]


def run_compare(
    first: Annotated[str, typer.Argument(metavar="A", help="Name, or name@depth.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Likewise; may be the same.")],
    source: Source = BRAIN_REGIONS,
    measure: Annotated[str, typer.Option(help=f"{', '.join(compare.MEASURES)}.")] = "cka",
    output: Annotated[Path, typer.Option(help="Folder for report.html, the picture and values.csv.")] = Path(
        "sslzoo-compare"
    ),
    split: Split = None,
    limit: Annotated[int | None, typer.Option(help="Draw this many images.")] = None,
    json_path: Json = None,
) -> None:
    """How alike each block of one encoder is to each block of another, on the same images."""
    with clear_errors():
        _check_folder(output)
        part, said = _opened(source, split or "validation", split)
        part = _shuffled(part, limit)
        pair = zoo.load(first), zoo.load(second)
        with busy(f"{first} and {second} on {len(part)} images"):
            found = compare.compare(*pair, part.images, measure=measure)
            sizes = over_batch_sizes(*pair, part.images)
        task = f"{len(part)} images, {'drawn from' if limit else 'all of'} {said}."
        command = _command("compare", [first, second], data=source, measure=measure, split=split, limit=limit)
        page = comparison.comparison_page([found], task=task, batches=[sizes], command=command)
        _write(output, page, {measure: charts.heat_map(found)})
        (output / "values.csv").write_text(csv_text(_VALUES, _values(found)), encoding="utf-8")
        record(json_path, _compared(found, sizes))
    _show(comparison.matches_table(found))
    say(f"{task} Report: {output / 'report.html'}")


def run_changes(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a saved model.")],
    source: Source = BRAIN_REGIONS,
    measure: Annotated[str, typer.Option(help=f"{', '.join(compare.MEASURES)}.")] = "cka",
    output: Annotated[Path, typer.Option(help="Folder for report.html, the pictures and values.csv.")] = Path(
        "sslzoo-changes"
    ),
    split: Split = None,
    limit: Annotated[int | None, typer.Option(help="Draw this many images.")] = None,
) -> None:
    """What fine-tuning changed in a saved model's encoders, and in how alike they are to one another."""
    with clear_errors():
        _check_folder(output)
        part, said = _opened(source, split or "validation", split)
        part = _shuffled(part, limit)
        with busy(f"{model} on {len(part)} images"):
            fitted = FusionClassifier.load(model)
            found = compare.changes(fitted, part.images, measure=measure)
        task = f"{len(part)} images, {'drawn from' if limit else 'all of'} {said}."
        if len(found) < len(fitted.encoders_) ** 2:  # each with itself, and every two before and after
            task += " Encoders whose images differ in size are not compared with one another."
        command = _command("changes", [str(model)], data=source, measure=measure, split=split, limit=limit)
        shown = {f"{measure}-{place}": charts.heat_map(each) for place, each in enumerate(found, 1)}
        _write(output, comparison.comparison_page(found, task=task, command=command), shown)
        (output / "values.csv").write_text(
            csv_text(_VALUES, (row for each in found for row in _values(each))), encoding="utf-8"
        )
    for each in found:
        if each.depths[0] == each.depths[1]:
            _show(comparison.matches_table(each))
    say(f"{task} Report: {output / 'report.html'}")


def run_select(
    encoders: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ENCODERS]...", help=f"Names, whole or up to @depth; {' and '.join(EMBEDDED)}."),
    ] = None,
    source: Source = BRAIN_REGIONS,
    output: Annotated[Path, typer.Option(help="Folder for report.html, pictures and levels.csv.")] = Path(
        "sslzoo-select"
    ),
    split: Learned = None,
    labels: Annotated[int | None, typer.Option(help="Draw this many images, as many of each class.")] = None,
    folds: Annotated[int, typer.Option(help="Of the cross-validation.")] = 5,
    json_path: Json = None,
) -> None:
    """Which encoders to fuse, cut where, judged without training them."""
    names = list(encoders or EMBEDDED)
    with clear_errors():
        _check_folder(output)
        part, said = _opened(source, split or "train", split or _training(source))
        part = draw(part, labels, 0)
        unit = "images" if part.groups is None else "groups"
        with busy(f"{', '.join(names)} on {len(part)} images"):
            found = scan(names, part.images, part.labels, part.groups, folds=folds)
        task = f"{_counted(part)}, {'drawn from' if labels else 'all of'} {said}."
        command = _command("select", names, data=source, split=split, labels=labels, folds=folds)
        shown = {"depths": charts.depth_curves(found)}
        if found.pairs:
            likeness, cka, _ = comparison.similarities(found)
            shown["map"] = charts.zoo_map(likeness, cka)
        _write(output, comparison.selection_page(found, task=task, unit=unit, command=command), shown)
        (output / "levels.csv").write_text(csv_text(_LEVELS, _levels(found)), encoding="utf-8")
        record(json_path, {**_plain(dataclasses.asdict(found)), "python": comparison.use(found, unit)})
    _show(comparison.levels_table(found))
    for line in (
        *comparison.verdict(found, unit),
        f"{task} Report: {output / 'report.html'}",
        comparison.use(found, unit),
    ):
        say(line)


def _check_folder(output: Path) -> None:
    """Before the work: what comes out of it needs a place."""
    if output.exists() and not output.is_dir():
        raise ValueError(f"output must be a folder (got the file {str(output)!r}). Try --output another.")


def _opened(source: str, slabs: str, split: str | None) -> tuple[Part, str]:
    """The images, and what they are in words."""
    if source != BRAIN_REGIONS:
        found = files.read(source, split=split)
        groups = None if found.patients is None else np.asarray(found.patients)
        said = source if split is None else f"{source}, split {split}"
        return Part(found.images, np.asarray(found.labels), groups), said
    if slabs not in _SLABS:
        raise ValueError(
            f"split of {BRAIN_REGIONS} must be train or validation (got {slabs!r}): the test brain stays closed. "
            "Leave --split out."
        )
    samples = brain_regions(_SLABS[slabs])
    return Part(samples.images, samples.labels, samples.groups), f"the {_SLABS[slabs]} part of {BRAIN_REGIONS}"


def _training(source: str) -> str | None:
    """What is chosen on the part to be judged on is flattered there: of a source with splits, `train` is taken."""
    return "train" if source != BRAIN_REGIONS and files.names_splits(source) else None


def _shuffled(part: Part, limit: int | None) -> Part:
    """In a drawn order, since folders are sorted by class and batches should not be of one."""
    if limit is not None and not 0 < limit <= len(part):
        raise ValueError(f"limit must be from 1 to the images, {len(part)} (got {limit}). Leave it out to take all.")
    return part.take(np.random.default_rng(0).permutation(len(part))[:limit])


def _counted(part: Part) -> str:
    groups = "" if part.groups is None else f" in {len(np.unique(part.groups))} groups"
    return f"{len(part)} images of {len(np.unique(part.labels))} classes{groups}"


def _write(output: Path, page: str, shown: dict[str, Figure]) -> None:
    output.mkdir(parents=True, exist_ok=True)
    (output / "report.html").write_text(page, encoding="utf-8")
    for name, figure in shown.items():
        for suffix in ("png", "svg"):
            style.save(figure, output / f"{name}.{suffix}")


def _values(found: Comparison) -> Iterable[Sequence[Any]]:
    for depth, line in zip(found.depths[0], found.values.tolist(), strict=True):
        for other, value in zip(found.depths[1], line, strict=True):
            yield found.measure, found.first, depth, found.second, other, value


def _levels(found: Scan) -> Iterable[Sequence[Any]]:
    for level in found.levels:
        yield *dataclasses.astuple(level), level.depth == found.depths[level.encoder]


def _compared(found: Comparison, sizes: BatchSizes) -> dict[str, Any]:
    kept = dataclasses.asdict(found) | {"values": found.values.tolist()}
    return kept | {"batch_sizes": dataclasses.asdict(sizes)}


def _plain(value: Any) -> Any:
    """As JSON has it: null for what is not a number."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _command(name: str, arguments: Sequence[str], **options: Any) -> str:
    given = [part for key, value in options.items() if value is not None for part in (f"--{key}", str(value))]
    return shlex.join(["fusion", name, *arguments, *given])


def _show(table: page_.Table) -> None:
    shown = Table(title=table.caption, box=SIMPLE, padding=(0, 1, 0, 0))
    for place, column in enumerate(table.head):
        shown.add_column(column, justify="left" if place == 0 else "right")
    for place, row in enumerate(table.rows):
        shown.add_row(*row, style="bold" if place in table.chosen else None)
    console.print(shown)
