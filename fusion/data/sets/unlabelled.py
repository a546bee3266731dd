"""Images to be answered, which need no labels: files, all below a folder, and the rows of a CSV."""

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import zoo
from fusion.data import files, tables
from fusion.evaluation import units

_TABLES = (".csv", ".tsv")
_THREADS = 8


@dataclasses.dataclass(frozen=True)
class Asked:
    """An image to be answered.

    Attributes:
        path: Its file.
        name: How whoever asks calls it: the path as it is in the CSV, else the path.
        patient: Of a CSV that names patients, else empty.
    """

    path: Path
    name: str
    patient: str = ""


def read(sources: Sequence[Path], columns: tables.Columns | None = None) -> list[Asked]:
    """Find the images, in the order given; whether they can be read is not looked at.

    Args:
        sources: Files, folders of images at any depth, and CSVs with a column `path` and maybe `patient`.
        columns: As in `files.read`.

    Raises:
        ValueError: A folder or a CSV holds no images, or a column is not filled.
    """
    return [asked for source in sources for asked in _of(source, columns)]


def _of(source: Path, columns: tables.Columns | None) -> Iterator[Asked]:
    if source.is_dir() and (found := _inside(source)):
        yield from (Asked(path, str(path)) for path in found)
    elif source.is_file() and source.suffix.lower() in _TABLES:
        yield from _rows(source, columns)
    else:  # an empty folder, too: the line that names it says why
        yield Asked(source, str(source))


def _inside(folder: Path) -> list[Path]:
    found = sorted(files.walked(folder))
    with ThreadPoolExecutor(_THREADS) as pool:  # those without a suffix are opened
        return [path for path, yes in zip(found, pool.map(zoo.is_image, found), strict=True) if yes]


def _rows(source: Path, columns: tables.Columns | None) -> Iterator[Asked]:
    rows, header = tables.read(source, columns)
    patients = any(row.get("patient") for row in rows)
    for column in ("path", *(["patient"] if patients else [])):
        tables.fill(source, rows, column, header)
    if not rows:
        raise ValueError(f"{source} must hold rows (got none). Write a column path, and a row for each image.")
    tables.written_out(source, rows, "patient")
    ids = units.ids([row.get("patient") for row in rows], "patients") if patients else [""] * len(rows)
    for row, patient in zip(rows, ids, strict=True):
        yield Asked(tables.located(source, row.get("path"), row.written), row.get("path"), str(patient))
