"""Probabilities as a CSV: a row per image, a column per class, what was decided, and why an image has no answer.

`fusion predict --out` writes it, and `fusion evaluate` judges it, whoever's model it is of.
"""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion.data import tables
from fusion.evaluation import labels

OF_IMAGES = ("path", "patient", "predicted")
OF_PATIENTS = ("patient", "images", "predicted")
ERROR = "error"
BAR = "|"  # between the labels of one image

_OTHERS = {
    *OF_IMAGES,
    *OF_PATIENTS,
    ERROR,
    "label",
    "split",
    "",
}  # columns that are no class; pandas' index has no name
_PREFIX = "probability of "
_FORMULAS = "=+-@\uff1d\uff0b\uff0d\uff20"  # what is written with a ' in front, as a spreadsheet would run it
_ROUNDED = 0.01  # how far a row of probabilities, rounded to two digits, may be from 1
_NAMED = 3


@dataclass(frozen=True)
class Predictions:
    """What somebody's model says of images.

    Attributes:
        source: The CSV.
        lines: (N,) where each row begins in it.
        paths: (N,) as they are written.
        classes: (K,) the columns.
        proba: (N, K) in [0, 1]; NaN in a row without answer.
        predicted: (N,) what was decided, labels of one image with bars between; None where there is no such column.
        errors: (N,) why a row has no answer.
    """

    source: Path
    lines: list[int]
    paths: list[str]
    classes: list[str]
    proba: npt.NDArray[np.float64]
    predicted: list[str] | None
    errors: list[str]

    @property
    def several(self) -> bool:
        """Whether what was decided shows that an image may have several labels, or none."""
        answered = zip(self.predicted or [], np.isfinite(self.proba[:, 0]), strict=False)
        return any(BAR in said or (yes and not said) for said, yes in answered)

    def decisions(self, rows: Sequence[int], *, several: bool) -> Any:
        """What was decided in some rows: (N,) labels, or (N, K) of 0 and 1; None where nothing is said of it."""
        if self.predicted is None:
            return None
        said = [self.predicted[row] for row in rows]
        if not several:
            return said
        return labels.table([[labels.clean(name) for name in one.split(BAR) if name] for one in said], self.classes)


def headings(classes: Sequence[Any]) -> list[str]:
    """The columns of the classes: their names, told apart from the other columns where they are called as these."""
    return [_PREFIX + str(name) if str(name).casefold() in _OTHERS else str(name) for name in classes]


def read(source: Path) -> Predictions:
    """Read a CSV with a column `path`, one per class, and maybe `predicted` and `error`.

    Raises:
        ValueError: It is no such table, or holds what is no probability; with the line.
    """
    header, body = tables.grid(source)
    lower = [name.casefold() for name in header]
    places = [place for place, name in enumerate(lower) if name not in _OTHERS]
    classes = [_plain(header[place]).removeprefix(_PREFIX) for place in places]
    if lower.count("path") != 1 or len(classes) < 2 or len(set(classes)) < len(classes):
        raise ValueError(
            f"{source} must have one column 'path' and one for each class (got columns {header}). "
            "Write them as fusion predict --out does."
        )
    rows = [_filled(source, line, cells, header) for line, cells in body]
    cells = {
        name: [_plain(row[lower.index(name)]) for row in rows] for name in ("path", "predicted", ERROR) if name in lower
    }
    lines = [line for line, _ in body]
    proba = [_numbers(source, line, [row[place] for place in places]) for line, row in zip(lines, rows, strict=True)]
    return Predictions(
        source,
        lines,
        cells["path"],
        classes,
        np.array(proba, dtype=np.float64).reshape(-1, len(classes)),
        cells.get("predicted"),
        cells.get(ERROR, [""] * len(rows)),
    )


def rows_of(found: Predictions, images: Sequence[Path], base: Path, *, several: bool) -> list[int]:
    """The row of each image; rows of other images are nobody's.

    Args:
        found: Whose paths are relative to `base`, to its own folder, or to where we are.
        images: The files to be judged on.
        base: The folder of the data.
        several: Whether an image may have several labels; where not, a row sums to 1.

    Raises:
        ValueError: An image has no row, no answer, or two different ones; or a row does not sum to 1.
    """
    wanted = [_key(path) for path in images]
    held: dict[str, list[int]] = {key: [] for key in wanted}
    for row, cell in enumerate(found.paths):
        key = next((key for key in _keys(cell, (base, found.source.parent, Path())) if key in held), None)
        if key is not None:
            held[key].append(row)
    _refuse(found, "a row for each image", [str(p) for p, k in zip(images, wanted, strict=True) if not held[k]])
    _refuse(
        found,
        "one row for each image",
        [found.paths[own[0]] for own in held.values() if len(own) > 1 and _differ(found, own)],
    )
    rows = [held[key][0] for key in wanted]
    lost = [row for row in dict.fromkeys(rows) if not np.isfinite(found.proba[row]).all()]
    _refuse(found, "probabilities for each image", [f"{found.paths[row]}: {found.errors[row]}" for row in lost])
    if not several:
        _check_sums(found, rows)
    return rows


def _refuse(found: Predictions, wanted: str, odd: Sequence[str]) -> None:
    if odd:
        more = "; ..." if len(odd) > _NAMED else ""
        raise ValueError(
            f"{found.source} must hold {wanted} of the data (not so for {len(odd)}: {'; '.join(odd[:_NAMED])}{more}). "
            "Write paths as the data do, each once, and leave out of both what has no answer."
        )


def _check_sums(found: Predictions, rows: Sequence[int]) -> None:
    sums = found.proba[rows].sum(1)
    odd = np.flatnonzero(np.abs(sums - 1) > _ROUNDED)
    if odd.size:
        raise ValueError(
            f"{found.source}, line {found.lines[rows[odd[0]]]}: probabilities of classes must sum to 1 "
            f"(got {sums[odd[0]]:.3f}). Apply softmax; where an image may have several labels, write a|b in the data."
        )


def _differ(found: Predictions, own: Sequence[int]) -> bool:
    """Whether rows of one image say different things."""
    numbers = np.nan_to_num(found.proba[list(own)], nan=-1).tolist()
    return len({(*said, found.predicted and found.predicted[row]) for said, row in zip(numbers, own, strict=True)}) > 1


def _key(path: Path) -> str:
    return unicodedata.normalize("NFC", os.path.abspath(path))


def _keys(cell: str, bases: Sequence[Path]) -> Iterator[str]:
    for name in dict.fromkeys((cell, cell.replace("\\", "/"))):
        yield from (_key(base / name) for base in bases)


def _plain(cell: str) -> str:
    """The cell without what keeps spreadsheets from running it."""
    return labels.clean(cell[1:] if cell[:1] == "'" and cell[1:].lstrip()[:1] in [*_FORMULAS] else cell)


def _filled(source: Path, line: int, cells: list[str], header: Sequence[str]) -> list[str]:
    if len(cells) != len(header):
        raise ValueError(
            f"{source}, line {line}: a row must have {len(header)} cells (got {len(cells)}). "
            'Write every cell, and put those that hold the separator in quotes: "a,b".'
        )
    return cells


def _numbers(source: Path, line: int, cells: Sequence[str]) -> list[float]:
    """Probabilities; NaN where all cells are empty."""
    if all(map(labels.missing, cells)):
        return [np.nan] * len(cells)
    for cell in cells:
        if not _is_share(cell):
            raise ValueError(
                f"{source}, line {line}: probabilities must be numbers from 0 to 1 (got {cell!r}). "
                "Apply softmax or sigmoid, with a point as in 0.5, and take out columns that are no class."
            )
    return [min(float(cell), 1.0) for cell in cells]


def _is_share(cell: str) -> bool:
    try:
        return 0 <= float(cell) <= 1 + 1e-6
    except ValueError:
        return False
