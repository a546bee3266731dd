"""The command `fusion demo`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fusion.commands.console import Json, console, figures, record, say

if TYPE_CHECKING:
    from fusion.demo.protocol import Choice, Outcome, Pick
    from fusion.evaluation.intervals import Interval


def demo(
    output: Annotated[Path, typer.Argument(help="Folder for report.html, results.json and model/.")] = Path(
        "sslzoo-demo"
    ),
    json_path: Json = None,
) -> None:
    """The whole line, offline: load, truncate, fuse, judge on another brain, draw."""
    from fusion.data.writing import write
    from fusion.demo import features, page, protocol

    started = time.monotonic()
    columns = (TextColumn("{task.description:<28}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        sources = features.sources()
        task = progress.add_task("", total=4 * len(sources) + len(protocol.BUDGETS) + 2)

        def step(what: str) -> None:
            progress.update(task, advance=1, description=what)

        choices = protocol.choose(sources, step)
        record(output / "choices.json", [_chosen(choice) for choice in choices])
        rows, test = protocol.judge(choices, sources, step)
        model = protocol.fitted(choices)
        model.save(output / "model")
        step("model")
    seconds = time.monotonic() - started
    write(output / "report.html", page.render(rows, test, seconds))
    results = {"rows": [_row(row) for row in rows], "seconds": round(seconds, 1)}
    record(output / "results.json", results)
    for budget in protocol.BUDGETS:
        console.print(_table(budget, rows))
        for row in rows:
            if row.choice.budget == budget and row.choice.row in (protocol.SINGLE, protocol.FUSION):
                say(page.row_name(row.choice))
    say("One brain against one brain: trained on Colin27, tested on MNI152; 95 % intervals over its slabs.")
    say("Heads are fitted on images and shifted copies; depths were chosen on the validation slabs, shifted too.")
    say(f"60 and 300 labels: means of {len(protocol.DRAWS)} draws, whose deviation (sd) no interval holds.")
    say(f"{seconds:.0f} s. Report: {output / 'report.html'}   Model: {output / 'model'}")
    record(json_path, results)


def _table(budget: int | None, rows: "list[Outcome]") -> Table:
    from fusion.demo import page

    table = Table(title=page.budget_name(budget), box=SIMPLE, padding=(0, 1, 0, 0))
    for column in ("features", "val.", "test AUC", "sd", "balanced acc.", "ECE"):
        table.add_column(column, justify="left" if column == "features" else "right", no_wrap=True)
    for row in rows:
        if row.choice.budget == budget:
            test, held = row.test, f"{row.choice.validation:.3f}"
            error = f"{test.calibration_error.value:.3f}"
            cells = [held, _short(test.auc), page.spread(row), _short(test.balanced_accuracy), error]
            table.add_row(row.choice.row, *cells, style="bold" if row.choice.row == "fusion" else None)
    return table


def _short(interval: "Interval") -> str:
    return str(interval).replace("0.", ".")


def _chosen(choice: "Choice") -> dict[str, Any]:
    return {
        "row": choice.row,
        "budget": choice.budget,
        "picks": [_picked(pick) for pick in choice.picks],
        "validation_auc": choice.validation,
    }


def _picked(pick: "Pick") -> dict[str, Any]:
    return {"blocks": pick.blocks, "C": pick.strengths, "validation_auc": pick.validation}


def _row(row: "Outcome") -> dict[str, Any]:
    gain = figures(row.gain) if row.gain else None
    return {**_chosen(row.choice), "test": figures(row.test), "aucs": row.aucs, "fusion_minus_row": gain}
