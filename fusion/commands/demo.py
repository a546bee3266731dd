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
    from fusion.demo.protocol import Choice, Outcome
    from fusion.evaluation.intervals import Interval


def demo(
    output: Annotated[Path, typer.Argument(help="Folder for report.html, results.json and model/.")] = Path(
        "sslzoo-demo"
    ),
    json_path: Json = None,
) -> None:
    """The whole line, offline: load, truncate, fuse, judge on another brain, draw."""
    from fusion.data.writing import write
    from fusion.demo import page, protocol

    started = time.monotonic()
    columns = (TextColumn("{task.description:<28}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        encoders = protocol.sources()
        task = progress.add_task("", total=3 * len(encoders) + len(protocol.BUDGETS) + 2)

        def step(what: str) -> None:
            progress.update(task, advance=1, description=what)

        choices = protocol.choose(encoders, step)
        record(output / "choices.json", [_chosen(choice) for choice in choices])
        rows, test = protocol.judge(choices, encoders, step)
        model = protocol.fitted(choices)
        model.save(output / "model")
        step("model")
    seconds = time.monotonic() - started
    write(output / "report.html", page.render(rows, test, seconds))
    results = {"rows": [_row(row) for row in rows], "seconds": round(seconds, 1)}
    record(output / "results.json", results)
    for budget in protocol.BUDGETS:
        console.print(_table(budget, rows))
    say("One brain against one brain: trained on Colin27, tested on MNI152; 95 % intervals over its slabs.")
    say("Random init is the mean of five seeds; depths and C were chosen on the validation slabs.")
    say("The 60 and the 300 labels are one draw each: intervals do not hold how another draw would do.")
    say(f"{seconds:.0f} s. Report: {output / 'report.html'}   Model: {output / 'model'}")
    record(json_path, results)


def _table(budget: int | None, rows: "list[Outcome]") -> Table:
    from fusion.demo import page

    table = Table(title=page.budget_name(budget), box=SIMPLE, padding=(0, 1, 0, 0))
    for column in ("features", "val.", "test AUC", "balanced acc.", "ECE"):
        table.add_column(column, justify="left" if column == "features" else "right", no_wrap=True)
    for row in rows:
        if row.choice.budget == budget:
            intervals = [_short(row.test.auc), _short(row.test.balanced_accuracy)]
            held, error = row.choice.validation.auc.value, row.test.calibration_error.value
            cells = [page.row_name(row.choice), f"{held:.3f}", *intervals, f"{error:.3f}"]
            table.add_row(*cells, style="bold" if row.choice.row == "fusion" else None)
    return table


def _short(interval: "Interval") -> str:
    return str(interval).replace("0.", ".")


def _chosen(choice: "Choice") -> dict[str, Any]:
    return {
        "row": choice.row,
        "budget": choice.budget,
        "depths": choice.depths,
        "C": choice.penalties,
        "validation": figures(choice.validation),
    }


def _row(row: "Outcome") -> dict[str, Any]:
    gain = figures(row.gain) if row.gain else None
    return {**_chosen(row.choice), "test": figures(row.test), "fusion_minus_row": gain}
