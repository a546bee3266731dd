"""Tables as spreadsheets, R and pandas write them, to rows of cells by column; what cannot be read is said by line.

Columns are told by name, whatever its case. Commas, semicolons, tabs and bars are told apart by the first line; a byte
order mark, `sep=;`, UTF-16, columns of row names, blank rows and blanks around cells are no content.
"""

import csv
import io
import os
import re
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion.evaluation import digits, labels

COLUMNS = ("path", "label", "patient", "split")

Columns = Mapping[str, str]

_SEPARATORS = ",;\t|"
_PATIENTS = re.compile(r"patient|subject|person|^case")
_SPLITS = re.compile(r"split|^fold|subset|partition|^set$")
_LISTED = 5


@dataclass(frozen=True)
class Record:
    """A row of a table.

    Attributes:
        line: Where it begins in the file, from 1.
        cells: Of the columns of `COLUMNS` that there are, without blanks around them.
        written: The cell of the path, with its blanks and in its own spelling of letters.
    """

    line: int
    cells: dict[str, str]
    written: str = ""

    def get(self, column: str) -> str:
        """The cell; empty where there is none."""
        return self.cells.get(column, "")


def read(source: Path, columns: Columns | None = None) -> tuple[list[Record], list[str]]:
    """The rows that hold anything, and the names of all columns as they are written, or as we call them.

    Args:
        source: The table.
        columns: Of columns of `COLUMNS` how the table calls them, where otherwise.

    Raises:
        ValueError: It is no such table; with the line and the likely cause.
    """
    header, body = grid(source, columns)
    header = _renamed(source, header, columns or {})
    places = _places(source, header)
    return [found for line, cells in body if (found := _row(source, line, cells, header, places))], header


def grid(source: Path, columns: Columns | None = None) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names of all columns, and (line, cells) of each row that holds anything; both empty for an empty file.

    `columns` are as in `read`, and tell separators apart.

    Raises:
        ValueError: As `read`.
    """
    text = _text(source)
    hint = re.match(r"sep=(.)(?:\r\n|\r|\n)", text, flags=re.IGNORECASE)  # of Excel to itself
    separator = hint[1] if hint else _separator(text, (columns or {}).values())
    parsed = _parsed(source, text[hint.end() :] if hint else text, separator, 1 if hint else 0)
    parsed = [(line, cells) for line, cells in parsed if any(map(labels.clean, cells))]
    if not parsed:
        return [], []
    (_, header), *body = parsed
    return _with_row_names([labels.clean(name) for name in header], [cells for _, cells in body]), body


def fill(source: Path, rows: Sequence[Record], column: str, header: Sequence[str]) -> None:
    """Refuse rows whose cell is empty, or says that nothing is known.

    Raises:
        ValueError: Naming the lines.
    """
    empty = [row for row in rows if labels.missing(row.get(column))]
    if empty:
        lines = ", ".join(str(row.line) for row in empty[:_LISTED]) + (", ..." if len(empty) > _LISTED else "")
        got = f"{empty[0].get(column)!r} in line {lines}" if column in empty[0].cells else f"columns {list(header)}"
        step = "Fill it in, or leave these rows out" if column in empty[0].cells else "Name it in the first line"
        raise ValueError(f"{source} must have a filled column {column!r} (got {got}). {step}.")


def written_out(source: Path, rows: Sequence[Record], column: str, least: int = 0) -> None:
    """Refuse cells that a spreadsheet shortened: those of other patients, or classes, may read the same.

    Args:
        source: The table.
        rows: Of it.
        column: Where numbers must be written out.
        least: The smallest power of ten that is refused.

    Raises:
        ValueError: Naming the lines.
    """
    short = [row for row in rows if digits.shortened(row.get(column), least)]
    if short:
        lines = ", ".join(str(row.line) for row in short[:_LISTED]) + (", ..." if len(short) > _LISTED else "")
        raise ValueError(
            f"{source} must have all digits in its column {column!r} (got {short[0].get(column)!r} in line {lines}, "
            f"and others may read the same). {digits.STEP}"
        )


def warn_empty(source: Path, rows: Sequence[Record]) -> None:
    """Warn of a column of patients or of splits in which nothing is written."""
    said = {
        "patient": "every image is taken as a patient of its own. Fill it in where images share patients",
        "split": "no image is kept apart. Fill it in where the images are in parts",
    }
    for column, meaning in said.items():
        if rows and all(row.cells.get(column) == "" for row in rows):
            warnings.warn(f"{source}: the column {column!r} is empty, so {meaning}.", stacklevel=2)


def warn_unread(source: Path, header: Sequence[str]) -> None:
    """Warn of columns that seem to hold patients or splits, under names that nobody looks for."""
    lower = [name.casefold() for name in header]
    for column, likely in (("patient", _PATIENTS), ("split", _SPLITS)):
        found = [name for name in header if likely.search(name.casefold()) and name.casefold() not in COLUMNS]
        if found and column not in lower:
            warnings.warn(
                f"{source}: the column {found[0]!r} is not read. If it names the {column} of each image, call it "
                f"{column!r}: images of one {column} would else be taken as independent."
                if column == "patient"
                else f"{source}: the column {found[0]!r} is not read. If it names the parts, call it 'split'.",
                stacklevel=2,
            )


def located(source: Path, cell: str, written: str = "") -> Path:
    """The file that a cell names, relative to the table: as it is written, else in the spelling that leads to one.

    Args:
        source: The table.
        cell: Without blanks around it, in NFC.
        written: As it stands in the table; empty: as `cell`.
    """
    names = [written or cell, written.strip(), cell, unicodedata.normalize("NFD", cell)]
    names += [name.replace("\\", "/") for name in names if "\\" in name]  # slashes of Windows
    found = [source.parent / name for name in dict.fromkeys(names) if name]
    return next(filter(_exists, found), source.parent / cell)


def _exists(path: Path) -> bool:
    """Tell whether there is a file, or the volume of a slice."""
    return os.path.exists(path) or os.path.exists(re.sub(r":[^/]*$", "", str(path)))


def _text(source: Path) -> str:
    try:
        data = source.read_bytes()
    except OSError as error:
        raise ValueError(
            f"data must be a folder or a CSV (got {str(source)!r}: {error.strerror}). Check the path."
        ) from None
    if data[:4] == b"PK\x03\x04" or data[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
        raise _no_csv(source, "it is a workbook", "Save it from the spreadsheet as CSV UTF-8")
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")  # Excel's "Unicode text"
    if b"\x00" in data and not wide:
        raise _no_csv(source, "it holds zero bytes", "Save it as CSV UTF-8")
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")  # spreadsheets write a byte order mark
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        why = f"no CSV in UTF-8: line {line} holds the byte {data[error.start]:#04x}, as Excel's plain CSV does"
        raise _no_csv(source, why, "Save it as CSV UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise _no_csv(source, f"line {line} holds a zero character", "Remove it")
    return text


def _no_csv(source: Path, why: str, step: str) -> ValueError:
    return ValueError(f"data must be a folder or a CSV (got {str(source)!r}: {why}). {step}.")


def _separator(text: str, headings: Iterable[str]) -> str:
    """The one that finds the most of our columns in the first line that holds anything; a comma where none does."""
    ours = {*COLUMNS, *(labels.clean(heading).casefold() for heading in headings)}
    first = next((line for line in text.splitlines() if line.strip(' ,;\t|"')), "")

    def known(separator: str) -> int:
        try:
            names = next(csv.reader([first], delimiter=separator), [])
        except csv.Error:  # said with its line when all is read
            return 0
        return sum(labels.clean(name).casefold() in ours for name in names)

    return max(_SEPARATORS, key=known)


def _parsed(source: Path, text: str, separator: str, skipped: int) -> list[tuple[int, list[str]]]:
    """(line, cells) of all rows, with the blanks around cells."""
    reader = _reader(text, separator, skip=True)
    blanks = _reader(text, separator, skip=False)
    found: list[tuple[int, list[str]]] = []
    begun = 1 + skipped
    try:
        for cells in reader:
            found.append((begun, _with_blanks(cells, blanks)))
            begun = reader.line_num + 1 + skipped
    except csv.Error as error:
        step = 'Close every quote, and write " inside quotes as ""'
        raise _no_csv(source, f"{error}, in the row that begins in line {begun}", step) from None
    return found


def _reader(text: str, separator: str, *, skip: bool) -> Any:
    lines = io.StringIO(text, newline="")  # of all three kinds of line ends, and kept inside quotes
    return csv.reader(lines, delimiter=separator, strict=skip, skipinitialspace=skip)


def _with_blanks(cells: list[str], blanks: Iterator[list[str]]) -> list[str]:
    """The cells of the next row with blanks in front, where these are no more than that."""
    try:
        other = next(blanks, [])
    except csv.Error:
        return cells
    return other if [cell.lstrip(" ") for cell in other] == [cell.lstrip(" ") for cell in cells] else cells


def _with_row_names(header: list[str], rows: Sequence[list[str]]) -> list[str]:
    """The header, with a name for R's column of row names, which has none, or for a separator at every line's end."""
    if rows and all(len(cells) == len(header) + 1 for cells in rows):
        return [*header, ""] if not any(labels.clean(cells[-1]) for cells in rows) else ["", *header]
    return header


def _renamed(source: Path, header: list[str], columns: Columns) -> list[str]:
    """The header with our names; what else is called so is not read."""
    found = [f"{name} (not read)" if name.casefold() in columns else name for name in header]
    for column, heading in columns.items():
        at = [k for k, name in enumerate(header) if name.casefold() == labels.clean(heading).casefold()]
        if len(at) != 1:
            raise ValueError(
                f"{source} must have one column {heading!r}, for {column} (got columns {header}). Check its name."
            )
        found[at[0]] = column
    return found


def _places(source: Path, header: Sequence[str]) -> dict[str, int]:
    lower = [name.casefold() for name in header]
    for name in COLUMNS:
        if lower.count(name) > 1:
            at = [place + 1 for place, other in enumerate(lower) if other == name]
            raise ValueError(f"{source} must have one column {name!r} (got columns {at}). Rename or remove the others.")
    return {name: lower.index(name) for name in COLUMNS if name in lower}


def _row(source: Path, line: int, cells: list[str], header: Sequence[str], places: dict[str, int]) -> Record | None:
    """None for a row without content: only separators, or a row name."""
    if len(cells) > len(header) and any(map(labels.clean, cells[len(header) :])):
        raise ValueError(
            f"{source}, line {line}: a row must have {len(header)} cells (got {len(cells)}). "
            'Put a cell that holds the separator in quotes: "a,b".'
        )
    found = {name: labels.clean(cells[place]) for name, place in places.items() if place < len(cells)}
    if places and not any(found.values()):
        return None
    if lacking := [name for name in ("path", "label") if name in places and name not in found]:
        raise ValueError(
            f"{source}, line {line}: a row must have {len(header)} cells (got {len(cells)}, without {lacking[0]!r}). "
            "Write every cell, empty or not."
        )
    return Record(line, {**dict.fromkeys(places, ""), **found}, cells[places["path"]] if "path" in places else "")
