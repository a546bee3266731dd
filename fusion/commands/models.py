"""The commands `fusion fit` and `fusion evaluate`."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from fusion.commands import columns, windows
from fusion.commands.columns import LabelColumn, PathColumn, PatientColumn
from fusion.commands.console import Json, busy, clear_errors, console, figures, record, say, telling
from fusion.commands.leaderboard import tell
from fusion.commands.windows import Window

if TYPE_CHECKING:
    from fusion.data.samples import Samples
    from fusion.evaluation.score import Evaluation
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

Skip = Annotated[bool, typer.Option("--skip-unreadable", help="Leave out images that cannot be read, and name them.")]


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
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    patient_column: PatientColumn = None,
    skip: Skip = False,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda or cuda:1; auto takes the GPU where there is one.")
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Of the folds, of a new head and of the order of images.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model that is in the folder.")] = False,
    json_path: Json = None,
) -> None:
    """Fit a fusion of encoders on your own images, frozen or fine-tuned."""
    from fusion.data.sets.sources import open_part
    from fusion.estimators.classifier import FusionClassifier
    from fusion.selection.scan import EMBEDDED

    with clear_errors(), telling():
        _check_free(output, overwrite)
        settings = _settings(training, strategy)
        named = columns.headings([source], path_column, label_column, patient_column)
        how: dict[str, Any] = {"columns": named, "skip": skip}
        encoders, view = windows.windowed(list(encoder or EMBEDDED), window, several=True)
        images, said = open_part(source, "train", split, window=view, **how)
        held = _validation(source, split, settings, view, how) if strategy != "probe" else None
        stopped = f"; early stopping on its split validation, {len(held)} images" if held else ""
        say(f"Learned from: {said}, {len(images)} images{stopped}.")
        options: dict[str, Any] = {"head": head, "strategy": strategy, "folds": folds, "select": select}
        options |= {"compare_baselines": leaderboard, "device": device, "seed": seed}
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
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A saved model; or PREDICTIONS.csv of anybody's, as predict --out.")
    ],
    source: Data,
    split: Judged = None,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    patient_column: PatientColumn = None,
    skip: Skip = False,
    allow_seen: Annotated[bool, typer.Option("--allow-seen", help="Judge images and patients of the fit too.")] = False,
    json_path: Json = None,
) -> None:
    """Judge a saved model, or a CSV of probabilities: AUC and others with intervals over patients."""
    from fusion.evaluation import intervals

    with clear_errors(), telling():
        named = columns.headings([source], path_column, label_column, patient_column)
        how: dict[str, Any] = {"columns": named, "skip": skip}
        if model.suffix.lower() in (".csv", ".tsv"):
            found, images, said = _of_predictions(model, source, split, allow_seen, how)
        else:
            found, images, said = _of_model(model, source, split, allow_seen, how)
    say(f"Judged on: {said}.")
    few = found.groups < intervals.LEAST
    unit = "images, each taken as a patient of its own" if images.groups is None else "patients"
    few = few or len(found.rare) == len(found.classes)
    over = f"{found.groups} {unit}: too few for an interval" if few else f"95 % interval over {found.groups} {unit}"
    table = Table(title=f"{found.images} images, {over}")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name in found.figures:
        table.add_row(name.replace("_", " "), found.told(name))
    console.print(table)
    record(json_path, {**figures(found), "data": said})


def _of_model(
    model: Path, source: str, split: str | None, allow_seen: bool, how: dict[str, Any]
) -> "tuple[Evaluation, Samples, str]":
    """The figures of a saved model, on which images, and which these are in words."""
    from fusion.data.sets.sources import open_part
    from fusion.estimators.classifier import FusionClassifier
    from fusion.evaluation import score

    fitted = FusionClassifier.load(model)
    several = True if fitted.multilabel_ else None
    images, said = open_part(source, "test", split, window=windows.of(fitted.encoders_), several=several, **how)
    labels = _lists(images) if fitted.multilabel_ else images.named()
    with _advising_options():
        return score.evaluate(fitted, images.images, labels, images.groups, allow_seen=allow_seen), images, said


def _of_predictions(
    table: Path, source: str, split: str | None, allow_seen: bool, how: dict[str, Any]
) -> "tuple[Evaluation, Samples, str]":
    """The same of probabilities in a CSV, whose rows are matched with the images by path."""
    from fusion.data.sets import predictions
    from fusion.data.sets.sources import open_part
    from fusion.evaluation import score

    if allow_seen:
        raise ValueError("--allow-seen must come with a saved model: nobody knows what others learned from. Drop it.")
    given = predictions.read(table)
    # A window tells whether a volume can be read, and here nothing is computed from it.
    images, said = open_part(source, "test", split, window=(0.0, 1.0), several=True if given.several else None, **how)
    if not isinstance(images.images, list):
        raise ValueError(
            f"DATA must be a folder or a CSV to be matched by path (got {source!r}). Write out its images."
        )
    several = images.names is not None or given.several
    base = Path(source) if Path(source).is_dir() else Path(source).parent
    rows = predictions.rows_of(given, images.paths, base, several=several)
    labels = _lists(images) if several else images.named()
    decisions = given.decisions(rows, several=several)
    found = score.score(labels, given.proba[rows], given.classes, images.groups, decisions=decisions)
    return found, images, f"{said}; probabilities of {table}, whose model may have seen these images"


def _lists(images: "Samples") -> list[Any]:
    """The labels of images that may have several: of a folder, or an archive of one label each, lists of one."""
    return images.named() if images.names is not None else [[label] for label in images.named()]


def _check_free(output: Path, overwrite: bool) -> None:
    """Refuse, before the work, a folder whose model would be lost."""
    if (output / "model.json").exists() and not overwrite:
        raise ValueError(
            f"MODEL must be a folder without a model (got {str(output)!r}, which holds one). "
            "Name another, or add --overwrite."
        )


def _validation(
    source: str, split: str | None, settings: "Training | None", window: Any, how: dict[str, Any]
) -> "Samples | None":
    """The validation split, by which a training stops early, where the data name one."""
    from fusion.data.files import names_splits, read
    from fusion.data.sets.sources import BRAIN_REGIONS

    stops = settings is None or settings.patience is not None
    if (
        split is not None
        or not stops
        or source == BRAIN_REGIONS
        or "validation" not in names_splits(source, how["columns"])
    ):
        return None
    return read(source, split="validation", window=window, **how)


@contextmanager
def _advising_options() -> Iterator[None]:
    """An argument of Python is an option here."""
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error).replace("pass allow_seen=True", "add --allow-seen")) from None


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
