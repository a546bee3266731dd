"""Reads arguments, calls one function, says what came out; decides nothing.

Here is the switchboard of the command `fusion`. The files beside it import what computes only when it is to compute, so
that help comes at once.
"""

from typing import Annotated

import typer

from fusion.commands import compare, console, demo, models, predict, select, study

app = typer.Typer(help="From encoders and images to an answer with an error bar.", no_args_is_help=True)
studies = typer.Typer(help="Compare encoders and strategies on a data set: run, go on, report.", no_args_is_help=True)


@app.callback()
def _start(
    version: Annotated[
        bool, typer.Option("--version", callback=console.tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command("demo")(demo.demo)
app.command("fit")(models.fit)
app.command("evaluate")(models.evaluate)
app.command("predict")(predict.predict)
app.command("compare")(compare.compare)
app.command("changes")(compare.changes)
app.command("select")(select.select)
app.add_typer(studies, name="study")
studies.command("run")(study.run)
studies.command("status")(study.status)
studies.command("report")(study.report)
studies.command("inside")(study.inside)
