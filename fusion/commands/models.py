"""The command `fusion`."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.box import SIMPLE
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fusion.commands import compare, study
from fusion.commands.console import busy, clear_errors, console, record, say, write
from fusion.data import files
from fusion.demo import page, protocol
from fusion.estimators.classifier import FusionClassifier
from fusion.evaluation import score
from fusion.tuning.settings import Training

app = typer.Typer(help="From encoders and images to an answer with an error bar.", no_args_is_help=True)
app.add_typer(study.app, name="study")

Json = Annotated[Path | None, typer.Option("--json", help="Write what is printed to this file.")]
Split = Annotated[str | None, typer.Option(help="Take only these rows of a CSV with a `split` column.")]


@app.command("demo")
def run_demo(
    output: Annotated[Path, typer.Argument(help="Folder for report.html, results.json and model/.")] = Path(
        "sslzoo-demo"
    ),
    json_path: Json = None,
) -> None:
    """The whole line, offline: load, truncate, fuse, judge on another brain, draw."""
    started = time.monotonic()
    output.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description:<28}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        encoders = protocol.sources()
        task = progress.add_task("", total=3 * len(encoders) + len(protocol.BUDGETS) + 2)

        def step(what: str) -> None:
            progress.update(task, advance=1, description=what)

        choices = protocol.choose(encoders, step)
        write(output / "choices.json", [_chosen(choice) for choice in choices])
        rows, test = protocol.judge(choices, encoders, step)
        model = protocol.fitted(choices)
        model.save(output / "model")
        step("model")
    seconds = time.monotonic() - started
    (output / "report.html").write_text(page.render(rows, test, seconds), encoding="utf-8")
    results = {"rows": [_row(row) for row in rows], "seconds": round(seconds, 1)}
    write(output / "results.json", results)
    for budget in protocol.BUDGETS:
        console.print(_table(budget, rows))
    say("One brain against one brain: trained on Colin27, tested on MNI152; 95 % intervals over its slabs.")
    say("Random init is the mean of five seeds; depths and C were chosen on the validation slabs.")
    say(f"{seconds:.0f} s. Report: {output / 'report.html'}   Model: {output / 'model'}")
    record(json_path, results)


@app.command()
def fit(
    source: Annotated[
        Path, typer.Argument(metavar="DATA", help="Folder per class, or CSV path,label[,patient][,split].")
    ],
    output: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder for the model.")] = Path("model"),
    encoder: Annotated[list[str], typer.Option(help="Name, or name@depth; may be repeated.")] = list(protocol.ENCODERS),  # noqa: B006
    head: Annotated[str, typer.Option(help="concat, convex, gated, attention, stack or mean.")] = protocol.HEAD,
    strategy: Annotated[str, typer.Option(help="How the encoders' weights move, of fusion.strategies().")] = "probe",
    training: Annotated[
        list[str] | None, typer.Option("--set", help="FIELD=VALUE of fusion.Training, such as epochs=10; repeatable.")
    ] = None,
    folds: Annotated[int, typer.Option(help="Folds for the choice of the penalty and of the weights.")] = 5,
    split: Split = None,
    json_path: Json = None,
) -> None:
    """Fit a fusion of encoders on your own images, frozen or fine-tuned."""
    with clear_errors():
        images = files.read(source, split=split)
        model = FusionClassifier(encoder, head=head, strategy=strategy, folds=folds, training=_settings(training))
        with busy(f"{strategy} on {len(images.labels)} images"):
            model.fit(images.images, images.named(), images.patients)
        model.save(output)
    names = [e.name for e in model.encoders_]
    say(f"Fitted {head} on {len(images.labels)} images, {len(model.classes_)} classes: {', '.join(names)}.")
    say(f"Model: {output}")
    record(json_path, {"model": str(output), "encoders": names, "head": head, "classes": model.classes_.tolist()})


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL")],
    source: Annotated[Path, typer.Argument(metavar="DATA")],
    split: Split = None,
    json_path: Json = None,
) -> None:
    """Judge a saved model: AUC, balanced accuracy, calibration error, with intervals over patients."""
    with clear_errors():
        images = files.read(source, split=split)
        figures = score.evaluate(FusionClassifier.load(model), images.images, images.labels, images.patients)
    unit = "patients" if images.patients else "images, each taken as a patient of its own"
    table = Table(title=f"{figures.images} images, 95 % interval over {figures.groups} {unit}")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name in score.METRICS:
        table.add_row(name.replace("_", " "), str(getattr(figures, name)))
    console.print(table)
    record(json_path, _figures(figures))


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...")],
    json_path: Json = None,
) -> None:
    """Predict single images; those that cannot be read are named, the others still answered."""
    broken = files.unreadable(images)
    good = [path for path in images if path not in broken]
    with clear_errors():
        fitted = FusionClassifier.load(model)
        proba = fitted.predict_proba(good) if good else np.empty((0, len(fitted.classes_)))
    answers = [
        {"path": str(path), "label": fitted.classes_[p.argmax()].item(), "probability": round(float(p.max()), 4)}
        for path, p in zip(good, proba, strict=True)
    ]
    for answer in answers:
        say(f"{answer['path']}\t{answer['label']}\t{answer['probability']}")
    for path, why in broken.items():
        say(f"{path}\tnot read: {why}", style="red")
    record(json_path, {"predictions": answers, "unreadable": {str(path): why for path, why in broken.items()}})
    if broken:
        raise typer.Exit(1)


def _settings(given: list[str] | None) -> Training:
    pairs = [entry.partition("=") for entry in given or []]
    known = [field.name for field in dataclasses.fields(Training)]
    for name, equals, _ in pairs:
        if name not in known or not equals:
            raise ValueError(f"--set must be FIELD=VALUE with a field of {known} (got {name!r}). Try --set epochs=10.")
    return Training(**{name: _value(value) for name, _, value in pairs})


def _value(text: str) -> Any:
    """A number, true, false or null as JSON has them, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _table(budget: int | None, rows: list[protocol.Row]) -> Table:
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


def _short(interval: score.Interval) -> str:
    return str(interval).replace("0.", ".")


def _chosen(choice: protocol.Choice) -> dict[str, Any]:
    return {
        "row": choice.row,
        "budget": choice.budget,
        "depths": choice.depths,
        "C": choice.penalties,
        "validation": _figures(choice.validation),
    }


def _row(row: protocol.Row) -> dict[str, Any]:
    gain = _figures(row.gain) if row.gain else None
    return {**_chosen(row.choice), "test": _figures(row.test), "fusion_minus_row": gain}


def _figures(figures: score.Evaluation) -> dict[str, Any]:
    intervals = {name: vars(getattr(figures, name)) for name in score.METRICS}
    return {**intervals, "images": figures.images, "groups": figures.groups, "resamples": figures.resamples}


app.command("compare")(compare.run_compare)
app.command("changes")(compare.run_changes)
app.command("select")(compare.run_select)
