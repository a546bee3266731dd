"""The command `fusion select`."""

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusion.commands import windows
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
from fusion.commands.windows import Window

if TYPE_CHECKING:
    from fusion.data.samples import Samples
    from fusion.selection.scan import Scan

Learned = Annotated[
    str | None, typer.Option(help="The split to choose on; train, where the data name splits. all: every one.")
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
    window: Window = None,
    select: Annotated[
        str, typer.Option(help="shifted: judge on copies as other scanners might have made them too.")
    ] = "clean",
    json_path: Json = None,
) -> None:
    """Say which encoders to fuse, cut where, judged without training them."""
    from fusion.data.samples import draw
    from fusion.data.sets.sources import open_part
    from fusion.report import charts, selection
    from fusion.selection.scan import EMBEDDED, scan

    names = list(encoders or EMBEDDED)
    with clear_errors():
        check_folder(output)
        scanned, view = windows.windowed([name if "@" in name else f"{name}@1" for name in names], window)
        part, said = open_part(source, "train", split, window=view)
        part = draw(part, labels, 0)
        unit = "images" if part.groups is None else "groups"
        with busy(f"{', '.join(names)} on {len(part)} images"):
            found = scan(scanned, part.images, part.labels, part.groups, folds=folds, select=select)
        task = f"{_counted(part)}, {'drawn from' if labels else 'all of'} {said}."
        options = {"data": source, "split": split, "labels": labels, "folds": folds, "window": window}
        options |= {"select": select} if select != "clean" else {}
        command = command_line("select", names, options)
        shown = {"depths": charts.depth_curves(found)}
        if found.pairs:
            likeness, cka, _ = selection.similarities(found)
            shown["map"] = charts.zoo_map(likeness, cka)
        page = selection.selection_page(found, task=task, unit=unit, window=window, command=command)
        write_report(output, page, shown, ("levels.csv", _csv(found)))
        record(json_path, {**_plain(dataclasses.asdict(found)), "python": selection.use(found, unit, window)})
    show(selection.levels_table(found))
    last = f"{task} Report: {output / 'report.html'}", selection.use(found, unit, window)
    for line in (*selection.verdict(found, unit), *last):
        say(line)


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
