"""The command `fusion predict`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusion.commands import columns, windows
from fusion.commands.columns import PathColumn, PatientColumn
from fusion.commands.console import Json, busy, clear_errors, record, say, telling

if TYPE_CHECKING:
    from fusion.data.sets.unlabelled import Asked
    from fusion.estimators.classifier import FusionClassifier

_LINES = 3  # reasons named in one cell


@dataclass(frozen=True)
class _Row:
    """An image, or a patient by the mean of their images: probabilities, or None and the reason."""

    name: str
    patient: str
    images: int
    proba: Any
    error: str


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL")],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGES...", help="Files, folders of images, CSVs path[,patient].")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write all probabilities to this CSV, a column per class.")
    ] = None,
    per: Annotated[str, typer.Option("--per", help="image, or patient: the mean over a patient's images.")] = "image",
    path_column: PathColumn = None,
    patient_column: PatientColumn = None,
    json_path: Json = None,
) -> None:
    """Predict images; those that cannot be read are named, the others still answered."""
    from fusion.data.sets import unlabelled
    from fusion.estimators.classifier import FusionClassifier

    with clear_errors(), telling():
        _check(out, per)
        fitted = FusionClassifier.load(model)
        asked = unlabelled.read(images, columns.headings(images, path_column, None, patient_column))
        _check_patients(asked, per)
        with busy(f"{len(asked)} images"):
            proba, broken = _answers(fitted, [one.path for one in asked])
        rows = [_Row(a.name, a.patient, 1, proba.get(a.path), broken.get(a.path, "")) for a in asked]
        rows = _of_patients(rows) if per == "patient" else rows
        if out is not None:
            _write(out, fitted, rows, per)
    _say(fitted, rows, out, broken)
    key = "path" if per == "image" else "patient"
    told = [{key: row.name, **_told(fitted, row.proba)} for row in rows if row.proba is not None]
    record(json_path, {"predictions": told, "unreadable": {str(path): why for path, why in broken.items()}})
    if broken:
        raise typer.Exit(1)


def _check(out: Path | None, per: str) -> None:
    if per not in ("image", "patient"):
        raise ValueError(f"--per must be image or patient (got {per!r}). Leave it out for images.")
    if out is not None and out.is_dir():
        raise ValueError(f"--out must be a file (got the folder {str(out)!r}). Try {out / 'predictions.csv'}.")


def _check_patients(asked: "Sequence[Asked]", per: str) -> None:
    nameless = [one.name for one in asked if not one.patient]
    if per == "patient" and nameless:
        raise ValueError(
            f"--per patient must come with a CSV whose column patient is filled (got none for {nameless[0]!r}). "
            "Write path,patient for each image."
        )


def _answers(fitted: "FusionClassifier", paths: Sequence[Path]) -> tuple[dict[Path, Any], dict[Path, str]]:
    """Probabilities of what can be answered, and why the others cannot: one that reads may still be too odd."""
    from fusion.data import files

    broken = files.unreadable(paths, windows.of(fitted.encoders_))
    good = [path for path in dict.fromkeys(paths) if path not in broken]
    if not good:
        return {}, broken
    try:
        return dict(zip(good, fitted.predict_proba(good), strict=True)), broken
    except (ValueError, TypeError, OSError):
        proba, broken = {}, dict(broken)
    for path in good:
        try:
            proba[path] = fitted.predict_proba([path])[0]
        except (ValueError, TypeError, OSError) as error:
            broken[path] = str(error)
    return proba, broken


def _of_patients(rows: Iterable[_Row]) -> list[_Row]:
    """A row per patient, in the order they come: the mean over those of their images that could be read."""
    by_patient: dict[str, list[_Row]] = {}
    for row in rows:
        by_patient.setdefault(row.patient, []).append(row)
    return [_of_patient(patient, own) for patient, own in by_patient.items()]


def _of_patient(patient: str, own: list[_Row]) -> _Row:
    read = [row.proba for row in own if row.proba is not None]
    lost = [f"{row.name}: {row.error}" for row in own if row.proba is None]
    named = "; ".join(lost[:_LINES]) + ("; ..." if len(lost) > _LINES else "")
    error = f"{len(lost)} of {len(own)} images could not be read: {named}" if lost else ""
    return _Row(patient, patient, len(read), sum(read) / len(read) if read else None, error)


def _write(out: Path, fitted: "FusionClassifier", rows: Sequence[_Row], per: str) -> None:
    from fusion.data import writing
    from fusion.data.sets import predictions
    from fusion.report.words import csv_text

    classes = fitted.classes_.tolist()
    first = predictions.OF_IMAGES if per == "image" else predictions.OF_PATIENTS
    columns = [*first, *predictions.headings(classes), predictions.ERROR]
    writing.write(out, csv_text(columns, (_record(fitted, row, per, len(classes)) for row in rows)))


def _record(fitted: "FusionClassifier", row: _Row, per: str, classes: int) -> list[Any]:
    from fusion.data.sets.predictions import BAR

    whose = [row.name, row.patient] if per == "image" else [row.name, row.images]
    if row.proba is None:
        return [*whose, *[""] * (1 + classes), row.error]
    answer = _told(fitted, row.proba)
    said = BAR.join(map(str, answer["labels"])) if "labels" in answer else str(answer["label"])
    return [*whose, said, *map(float, row.proba), row.error]


def _say(fitted: "FusionClassifier", rows: Sequence[_Row], out: Path | None, broken: dict[Path, str]) -> None:
    """A line per answer, or one in all where they are in a file; what could not be read is named either way."""
    answered = [row for row in rows if row.proba is not None]
    for row in answered if out is None else ():
        answer = _told(fitted, row.proba)
        labels = ", ".join(map(str, answer["labels"])) if "labels" in answer else answer["label"]
        _line(row.name, labels, answer["probability"])
    for path, why in broken.items():
        _line(path, f"not read: {why}")
    if out is not None:
        lost = f"; {len(broken)} images could not be read" if broken else ""
        say(f"Answered {len(answered)} of {len(rows)} rows{lost}. Probabilities: {out}")


def _line(*cells: Any) -> None:
    """Print cells with tabs between them, for other programs too: rich would make blanks of these."""
    import zoo

    typer.echo("\t".join(zoo.shown(str(cell)).replace("\t", "\\t").replace("\n", "\\n") for cell in cells))


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
