"""The command `fusion select`."""

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusion.commands.console import (
    Json,
    Source,
    busy,
    check_folder,
    clear_errors,
    command_line,
    record,
    say,
    show,
    write_report,
)

if TYPE_CHECKING:
    from fusion.data.samples import Samples
    from fusion.selection.scan import Scan

Learned = Annotated[
    str | None, typer.Option(help="The split of a CSV, an .npz or brain-regions, train unless said otherwise.")
]


def select(
    encoders: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ENCODERS]...", help="Names, whole or up to @depth; those in the package otherwise."),
    ] = None,
    source: Source = "brain-regions",
    output: Annotated[Path, typer.Option(help="Folder for report.html, pictures and levels.csv.")] = Path(
        "sslzoo-select"
    ),
    split: Learned = None,
    labels: Annotated[int | None, typer.Option(help="Draw this many images, as many of each class.")] = None,
    folds: Annotated[int, typer.Option(help="Of the cross-validation.")] = 5,
    json_path: Json = None,
) -> None:
    """Say which encoders to fuse, cut where, judged without training them."""
    from fusion.data.samples import draw
    from fusion.data.sources import open_all
    from fusion.report import charts, selection
    from fusion.selection.scan import EMBEDDED, scan

    names = list(encoders or EMBEDDED)
    with clear_errors():
        check_folder(output)
        part, said = open_all(source, split or "train", split or _training(source))
        part = draw(part, labels, 0)
        unit = "images" if part.groups is None else "groups"
        with busy(f"{', '.join(names)} on {len(part)} images"):
            found = scan(names, part.images, part.labels, part.groups, folds=folds)
        task = f"{_counted(part)}, {'drawn from' if labels else 'all of'} {said}."
        command = command_line("select", names, {"data": source, "split": split, "labels": labels, "folds": folds})
        shown = {"depths": charts.depth_curves(found)}
        if found.pairs:
            likeness, cka, _ = selection.similarities(found)
            shown["map"] = charts.zoo_map(likeness, cka)
        page = selection.selection_page(found, task=task, unit=unit, command=command)
        write_report(output, page, shown, ("levels.csv", _csv(found)))
        record(json_path, {**_plain(dataclasses.asdict(found)), "python": selection.use(found, unit)})
    show(selection.levels_table(found))
    last = f"{task} Report: {output / 'report.html'}", selection.use(found, unit)
    for line in (*selection.verdict(found, unit), *last):
        say(line)


def _training(source: str) -> str | None:
    """What is chosen on the part to be judged on is flattered there: of a source with splits, `train` is taken."""
    from fusion.data.files import names_splits
    from fusion.data.sources import BRAIN_REGIONS

    return "train" if source != BRAIN_REGIONS and names_splits(source) else None


def _counted(part: "Samples") -> str:
    groups = "" if part.groups is None else f" in {len(set(part.groups.tolist()))} groups"
    return f"{len(part)} images of {len(part.classes)} classes{groups}"


def _csv(found: "Scan") -> str:
    from fusion.report.words import csv_text
    from fusion.selection.scan import Level

    head = (*(field.name for field in dataclasses.fields(Level)), "recommended")
    rows = ((*dataclasses.astuple(level), level.depth == found.depths[level.encoder]) for level in found.levels)
    return csv_text(head, rows)


def _plain(value: Any) -> Any:
    """As JSON has it: null for what is not a number."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value
