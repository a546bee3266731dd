"""The commands `fusion fit`, `fusion evaluate` and `fusion predict`."""

import dataclasses
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from fusion.commands import windows
from fusion.commands.console import Json, busy, clear_errors, console, figures, record, say
from fusion.commands.leaderboard import tell
from fusion.commands.windows import Window

if TYPE_CHECKING:
    from fusion.data.samples import Samples
    from fusion.estimators.classifier import FusionClassifier
    from fusion.tuning.settings import Training

_OF_A_PROBE = ("class_weight",)  # what --set may say of it

Data = Annotated[
    str, typer.Argument(metavar="DATA", help="Folder per class, CSV path,label[,patient][,split], .npz, brain-regions.")
]

Learned = Annotated[
    str | None,
    typer.Option("--split", help="The split to learn from; train, where the data name splits. all: every one."),
]
Judged = Annotated[
    str | None, typer.Option("--split", help="The split to judge on; test, where the data name splits. all: every one.")
]


def fit(  # noqa: PLR0913 - each is an option of its own
    source: Data,
    output: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder for the model.")] = Path("model"),
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help="Name, name@depth, or of several depths name@0.25+0.5+1 or name@quarters; may be repeated. "
            "Otherwise those in the package."
        ),
    ] = None,
    head: Annotated[str, typer.Option(help="concat, convex, gated, attention, stack or mean.")] = "concat",
    strategy: Annotated[str, typer.Option(help="How the encoders' weights move, of fusion.strategies().")] = "probe",
    training: Annotated[
        list[str] | None, typer.Option("--set", help="FIELD=VALUE of fusion.Training, such as epochs=10; repeatable.")
    ] = None,
    select: Annotated[
        str, typer.Option(help="clean, or shifted: fit and choose on copies as other scanners make them, too.")
    ] = "clean",
    folds: Annotated[int, typer.Option(help="Folds for the choice of the penalty and of the weights.")] = 5,
    leaderboard: Annotated[
        bool, typer.Option("--leaderboard/--no-leaderboard", help="Judge also what the fit must beat, on its folds.")
    ] = True,
    window: Window = None,
    split: Learned = None,
    json_path: Json = None,
) -> None:
    """Fit a fusion of encoders on your own images, frozen or fine-tuned."""
    from fusion.data.sets.sources import open_part
    from fusion.estimators.classifier import FusionClassifier
    from fusion.selection.scan import EMBEDDED

    with clear_errors(), _telling():
        settings = _settings(training, strategy)
        encoders, view = windows.windowed(list(encoder or EMBEDDED), window, several=True)
        images, said = open_part(source, "train", split, window=view)
        held = _validation(source, split, settings, view) if strategy != "probe" else None
        stopped = f"; early stopping on its split validation, {len(held)} images" if held else ""
        say(f"Learned from: {said}, {len(images)} images{stopped}.")
        options: dict[str, Any] = {"head": head, "strategy": strategy, "folds": folds, "select": select}
        options["compare_baselines"] = leaderboard
        model = FusionClassifier(encoders, training=settings, **options)
        with busy(f"{strategy} on {len(images)} images"):
            validation = (held.images, held.named()) if held else None
            model.fit(images.images, images.named(), images.groups, validation=validation)
        model.save(output)
    names = [e.name for e in model.encoders_]
    say(f"Fitted {head} on {len(images)} images, {len(model.classes_)} classes: {', '.join(names)}.")
    board = model.leaderboard_
    if leaderboard:
        tell(board, images.images, model.encoders_)
    say(f"Model: {output}")
    told = {"model": str(output), "encoders": names, "head": head, "classes": model.classes_.tolist()}
    record(json_path, {**told, "leaderboard": board.values() if board else None})


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL")],
    source: Data,
    split: Judged = None,
    allow_seen: Annotated[bool, typer.Option("--allow-seen", help="Judge images and patients of the fit too.")] = False,
    json_path: Json = None,
) -> None:
    """Judge a saved model: AUC, balanced accuracy, calibration error, with intervals over patients."""
    from fusion.data.sets.sources import open_part
    from fusion.estimators.classifier import FusionClassifier
    from fusion.evaluation import intervals, score

    with clear_errors(), _telling():
        fitted = FusionClassifier.load(model)
        several = True if fitted.multilabel_ else None
        images, said = open_part(source, "test", split, window=windows.of(fitted.encoders_), several=several)
        labels = images.named()
        if fitted.multilabel_ and images.names is None:  # a folder, or an archive of one label each
            labels = [[label] for label in labels]
        with _advising_options():
            found = score.evaluate(fitted, images.images, labels, images.groups, allow_seen=allow_seen)
    say(f"Judged on: {said}.")
    few = found.groups < intervals.LEAST
    unit = "images, each taken as a patient of its own" if images.groups is None else "patients"
    few = few or len(found.rare) == len(fitted.classes_)
    over = f"{found.groups} {unit}: too few for an interval" if few else f"95 % interval over {found.groups} {unit}"
    table = Table(title=f"{found.images} images, {over}")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name in found.figures:
        table.add_row(name.replace("_", " "), found.told(name))
    console.print(table)
    record(json_path, {**figures(found), "data": said})


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...")],
    json_path: Json = None,
) -> None:
    """Predict single images; those that cannot be read are named, the others still answered."""
    from fusion.data import files
    from fusion.estimators.classifier import FusionClassifier

    with clear_errors(), _telling():
        fitted = FusionClassifier.load(model)
        broken = files.unreadable(images, windows.of(fitted.encoders_))
        good = [path for path in images if path not in broken]
        proba, broken = _answers(fitted, good, broken)
        good = [path for path in images if path not in broken]
    told = [_told(fitted, row) for row in proba]
    for path, answer in zip(good, told, strict=True):
        labels = ", ".join(map(str, answer["labels"])) if "labels" in answer else answer["label"]
        _line(path, labels, answer["probability"])
    for path, why in broken.items():
        _line(path, f"not read: {why}")
    answers = [{"path": str(path), **answer} for path, answer in zip(good, told, strict=True)]
    record(json_path, {"predictions": answers, "unreadable": {str(path): why for path, why in broken.items()}})
    if broken:
        raise typer.Exit(1)


def _line(*cells: Any) -> None:
    """Print cells with tabs between them, for other programs too: rich would make blanks of these."""
    import zoo

    typer.echo("\t".join(zoo.shown(str(cell)).replace("\t", "\\t").replace("\n", "\\n") for cell in cells))


def _answers(
    fitted: "FusionClassifier", good: list[Path], broken: dict[Path, str]
) -> tuple[list[Any], dict[Path, str]]:
    """Probabilities of the good images; one that reads and yet cannot be answered is named, and the others go on."""
    if not good:
        return [], broken
    try:
        return list(fitted.predict_proba(good)), broken
    except (ValueError, TypeError, OSError):
        proba, broken = [], dict(broken)
    for path in good:
        try:
            proba.append(fitted.predict_proba([path])[0])
        except (ValueError, TypeError, OSError) as error:
            broken[path] = str(error)
    return proba, broken


def _validation(source: str, split: str | None, settings: "Training | None", window: Any) -> "Samples | None":
    """The validation split, by which a training stops early, where the data name one."""
    from fusion.data.files import names_splits, read
    from fusion.data.sets.sources import BRAIN_REGIONS

    stops = settings is None or settings.patience is not None
    if split is not None or not stops or source == BRAIN_REGIONS or "validation" not in names_splits(source):
        return None
    return read(source, split="validation", window=window)


@contextmanager
def _telling() -> Iterator[None]:
    """Warnings are lines of the console, without the code that they come from."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default")
        try:
            yield
        finally:
            for text in dict.fromkeys(str(warning.message) for warning in found):
                say(text, style="yellow")


@contextmanager
def _advising_options() -> Iterator[None]:
    """An argument of Python is an option here."""
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error).replace("pass allow_seen=True", "add --allow-seen")) from None


def _told(model: "FusionClassifier", proba: Any) -> dict[str, Any]:
    """Of one image the label that `model.predict` says and its probability, or all labels where it may have several."""
    classes, said = model.classes_.tolist(), model.decide(proba[None])[0]
    if not model.multilabel_:
        best = classes.index(said.item() if hasattr(said, "item") else said)
        return {"label": classes[best], "probability": round(float(proba[best]), 4)}
    return {
        "labels": [name for name, flag in zip(classes, said, strict=True) if flag],
        "probability": {str(name): round(float(value), 4) for name, value in zip(classes, proba, strict=True)},
    }


def _settings(given: list[str] | None, strategy: str) -> "Training | None":
    from fusion.tuning.settings import Training

    if not given:
        return None
    pairs = [entry.partition("=") for entry in given or []]
    known = [field.name for field in dataclasses.fields(Training)]
    for name, equals, _ in pairs:
        if name not in known or not equals:
            raise ValueError(f"--set must be FIELD=VALUE with a field of {known} (got {name!r}). Try --set epochs=10.")
    idle = [name for name, _, _ in pairs if strategy == "probe" and name not in _OF_A_PROBE]
    if idle:
        raise ValueError(
            f"--set must come with a strategy that trains step by step (got {idle[0]} with strategy {strategy!r}). "
            "Leave it out, or try --strategy full."
        )
    return Training(**{name: _value(value) for name, _, value in pairs})


def _value(text: str) -> Any:
    """A number, true, false or null as JSON has them, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text
