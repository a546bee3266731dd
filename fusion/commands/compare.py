"""The commands `fusion compare` and `fusion changes`."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusion.commands import windows
from fusion.commands.console import (
    Json,
    Source,
    Split,
    busy,
    check_folder,
    clear_errors,
    command_line,
    record,
    say,
    show,
    write_report,
)
from fusion.commands.windows import Window

if TYPE_CHECKING:
    from fusion.data.samples import Samples
    from fusion.similarity.compare import Comparison

Measure = Annotated[str, typer.Option(help="cka, biased-cka, cca or minibatch-cka.")]
Limit = Annotated[int | None, typer.Option(help="Draw this many images.")]

_VALUES = ("measure", "first", "first_depth", "second", "second_depth", "value")


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="Name, or name@depth.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The other; may be the same.")],
    source: Source = "brain-regions",
    measure: Measure = "cka",
    output: Annotated[Path, typer.Option(help="Folder for report.html, the picture and values.csv.")] = Path(
        "sslzoo-compare"
    ),
    split: Split = None,
    limit: Limit = None,
    window: Window = None,
    json_path: Json = None,
) -> None:
    """Show how alike each block of one encoder is to each block of another, on the same images."""
    import zoo
    from fusion.report import charts, comparison
    from fusion.similarity.compare import compare, over_batch_sizes

    with clear_errors():
        check_folder(output)
        encoders, view = windows.windowed([first, second], window)
        part, task = _opened(source, split, limit, view)
        one, other = (zoo.load(each) if isinstance(each, str) else each for each in encoders)
        with busy(f"{first} and {second} on {len(part)} images"):
            found = compare(one, other, part.images, measure=measure)
            sizes = over_batch_sizes(one, other, part.images)
        options = {"data": source, "measure": measure, "split": split, "limit": limit, "window": window}
        command = command_line("compare", [first, second], options)
        page = comparison.comparison_page([found], task=task, batches=[sizes], command=command)
        write_report(output, page, {measure: charts.heat_map(found)}, ("values.csv", _csv([found])))
        kept = dataclasses.asdict(found) | {"values": found.values.tolist()}
        record(json_path, kept | {"batch_sizes": dataclasses.asdict(sizes)})
    show(comparison.matches_table(found))
    say(f"{task} Report: {output / 'report.html'}")


def changes(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a saved model.")],
    source: Source = "brain-regions",
    measure: Measure = "cka",
    output: Annotated[Path, typer.Option(help="Folder for report.html, the pictures and values.csv.")] = Path(
        "sslzoo-changes"
    ),
    split: Split = None,
    limit: Limit = None,
) -> None:
    """Show what fine-tuning changed in a saved model's encoders, and in how alike they are to one another."""
    from fusion.estimators.classifier import FusionClassifier
    from fusion.report import charts, comparison
    from fusion.similarity.compare import changes

    with clear_errors():
        check_folder(output)
        fitted = FusionClassifier.load(model)
        part, task = _opened(source, split, limit, windows.of(fitted.encoders_))
        with busy(f"{model} on {len(part)} images"):
            found = changes(fitted, part.images, measure=measure)
        if len(found) < len(fitted.encoders_) ** 2:  # each with itself, and every two before and after
            task += " Encoders whose images differ in size are not compared with one another."
        options = {"data": source, "measure": measure, "split": split, "limit": limit}
        command = command_line("changes", [str(model)], options)
        shown = {f"{measure}-{place}": charts.heat_map(each) for place, each in enumerate(found, 1)}
        page = comparison.comparison_page(found, task=task, command=command)
        write_report(output, page, shown, ("values.csv", _csv(found)))
    for each in found:
        if each.depths[0] == each.depths[1]:
            show(comparison.matches_table(each))
    say(f"{task} Report: {output / 'report.html'}")


def _opened(source: str, split: str | None, limit: int | None, window: Any = None) -> tuple["Samples", str]:
    """The images in a drawn order, since folders are sorted by class and batches should not be of one; and the task."""
    import numpy as np

    from fusion.data.sets.sources import open_part

    part, said = open_part(source, _looked_at(source), split, window=window)
    if limit is not None and not 0 < limit <= len(part):
        raise ValueError(f"limit must be from 1 to the images, {len(part)} (got {limit}). Leave it out to take all.")
    part = part.take(np.random.default_rng(0).permutation(len(part))[:limit])
    return part, f"{len(part)} images, {'drawn from' if limit else 'all of'} {said}."


def _looked_at(source: str) -> str:
    """Choices follow from what is seen here, so it is never the test part: validation, else training."""
    from fusion.data.files import names_splits
    from fusion.data.sets.sources import BRAIN_REGIONS

    declared = [] if source == BRAIN_REGIONS else names_splits(source)
    return "train" if declared and "validation" not in declared else "validation"


def _csv(found: "Iterable[Comparison]") -> str:
    from fusion.report.words import csv_text

    return csv_text(_VALUES, (row for each in found for row in _values(each)))


def _values(found: "Comparison") -> Iterable[Sequence[Any]]:
    for depth, line in zip(found.depths[0], found.values.tolist(), strict=True):
        for other, value in zip(found.depths[1], line, strict=True):
            yield found.measure, found.first, depth, found.second, other, value
