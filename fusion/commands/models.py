"""The commands `fusion fit`, `fusion evaluate` and `fusion predict`."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from fusion.commands.console import Json, Split, busy, clear_errors, console, figures, record, say

if TYPE_CHECKING:
    from fusion.estimators.classifier import FusionClassifier
    from fusion.tuning.settings import Training

Data = Annotated[
    str, typer.Argument(metavar="DATA", help="Folder per class, CSV path,label[,patient][,split], .npz, brain-regions.")
]


def fit(
    source: Data,
    output: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder for the model.")] = Path("model"),
    encoder: Annotated[
        list[str] | None, typer.Option(help="Name, or name@depth; may be repeated. Otherwise those in the package.")
    ] = None,
    head: Annotated[str, typer.Option(help="concat, convex, gated, attention, stack or mean.")] = "concat",
    strategy: Annotated[str, typer.Option(help="How the encoders' weights move, of fusion.strategies().")] = "probe",
    training: Annotated[
        list[str] | None, typer.Option("--set", help="FIELD=VALUE of fusion.Training, such as epochs=10; repeatable.")
    ] = None,
    folds: Annotated[int, typer.Option(help="Folds for the choice of the penalty and of the weights.")] = 5,
    split: Split = None,
    json_path: Json = None,
) -> None:
    """Fit a fusion of encoders on your own images, frozen or fine-tuned."""
    from fusion.data.sources import open_all
    from fusion.estimators.classifier import FusionClassifier
    from fusion.selection.scan import EMBEDDED

    with clear_errors():
        images, _ = open_all(source, split or "train", split)
        names = list(encoder or EMBEDDED)
        model = FusionClassifier(names, head=head, strategy=strategy, folds=folds, training=_settings(training))
        with busy(f"{strategy} on {len(images)} images"):
            model.fit(images.images, images.named(), images.groups)
        model.save(output)
    names = [e.name for e in model.encoders_]
    say(f"Fitted {head} on {len(images)} images, {len(model.classes_)} classes: {', '.join(names)}.")
    say(f"Model: {output}")
    record(json_path, {"model": str(output), "encoders": names, "head": head, "classes": model.classes_.tolist()})


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL")],
    source: Data,
    split: Split = None,
    json_path: Json = None,
) -> None:
    """Judge a saved model: AUC, balanced accuracy, calibration error, with intervals over patients."""
    from fusion.data.sources import open_all
    from fusion.estimators.classifier import FusionClassifier
    from fusion.evaluation import score

    with clear_errors():
        images, _ = open_all(source, split or "validation", split)
        found = score.evaluate(FusionClassifier.load(model), images.images, images.labels, images.groups)
    unit = "images, each taken as a patient of its own" if images.groups is None else "patients"
    table = Table(title=f"{found.images} images, 95 % interval over {found.groups} {unit}")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name in found.figures:
        table.add_row(name.replace("_", " "), str(getattr(found, name)))
    console.print(table)
    record(json_path, figures(found))


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...")],
    json_path: Json = None,
) -> None:
    """Predict single images; those that cannot be read are named, the others still answered."""
    from fusion.data import files
    from fusion.estimators.classifier import FusionClassifier

    broken = files.unreadable(images)
    good = [path for path in images if path not in broken]
    with clear_errors():
        fitted = FusionClassifier.load(model)
        proba: Any = fitted.predict_proba(good) if good else []
    told = [_told(fitted, row) for row in proba]
    for path, answer in zip(good, told, strict=True):
        labels = ", ".join(map(str, answer["labels"])) if "labels" in answer else answer["label"]
        say(f"{path}\t{labels}\t{answer['probability']}")
    for path, why in broken.items():
        say(f"{path}\tnot read: {why}", style="red")
    answers = [{"path": str(path), **answer} for path, answer in zip(good, told, strict=True)]
    record(json_path, {"predictions": answers, "unreadable": {str(path): why for path, why in broken.items()}})
    if broken:
        raise typer.Exit(1)


def _told(model: "FusionClassifier", proba: Any) -> dict[str, Any]:
    """Of one image the label and its probability; where it may have several, every label at 0.5 or more."""
    classes = model.classes_.tolist()
    if not model.multilabel_:
        best = int(proba.argmax())
        return {"label": classes[best], "probability": round(float(proba[best]), 4)}
    on = [k for k, value in enumerate(proba) if value >= 0.5]
    return {
        "labels": [classes[k] for k in on],
        "probability": {str(name): round(float(value), 4) for name, value in zip(classes, proba, strict=True)},
    }


def _settings(given: list[str] | None) -> "Training":
    from fusion.tuning.settings import Training

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
