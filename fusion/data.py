"""A user's own images: a folder per class, or a CSV `path,label[,patient][,split]`."""

import csv
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


@dataclass(frozen=True)
class Dataset:
    """Paths with labels; `patients` is None where the data do not name them."""

    paths: list[Path]
    labels: list[str]
    patients: list[str] | None


def read(source: str | Path, *, split: str | None = None) -> Dataset:
    """Read a data set and check that every image opens.

    Args:
        source: A folder with one folder of images per class, or a CSV whose paths are relative to it.
        split: Take only the CSV rows of this split; None takes all.

    Raises:
        ValueError: The source holds no images, a column is missing, or images cannot be read (all are named).
    """
    source = Path(source)
    data = _folder(source) if source.is_dir() else _table(source, split)
    broken = unreadable(data.paths)
    if broken:
        names = "; ".join(f"{path}: {why}" for path, why in broken.items())
        raise ValueError(
            f"images must be readable ({len(broken)} of {len(data.paths)} are not: {names}). Replace or remove them; "
            f"the other {len(data.paths) - len(broken)} are fine."
        )
    return data


def unreadable(paths: list[Path]) -> dict[Path, str]:
    """Those of `paths` that do not decode, with the reason."""
    reasons = {path: _fault(path) for path in paths}
    return {path: why for path, why in reasons.items() if why}


def _fault(path: Path) -> str | None:
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError) as error:
        return "not a readable image" if "identify" in str(error) else str(error)
    return None


def _folder(source: Path) -> Dataset:
    rows = [
        (path, place.name)
        for place in sorted(filter(Path.is_dir, source.iterdir()))
        for path in sorted(place.rglob("*"))
        if path.suffix.lower() in SUFFIXES
    ]
    if not rows:
        raise ValueError(f"{source} must hold one folder of images per class (got none). Try {source}/CLASS/IMAGE.png.")
    return Dataset([path for path, _ in rows], [label for _, label in rows], None)


def _table(source: Path, split: str | None) -> Dataset:
    try:
        with source.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except OSError as error:
        raise ValueError(
            f"data must be a folder or a CSV (got {str(source)!r}: {error.strerror}). Check the path."
        ) from None
    optional = ["patient"] if rows and any(row.get("patient") for row in rows) else []
    for column in ("path", "label", *(["split"] if split else []), *optional):
        if rows and not all(row.get(column) for row in rows):
            raise ValueError(f"{source} must have a filled column {column!r} (got {list(rows[0])}). Add it.")
    kept = [row for row in rows if split is None or row["split"] == split]
    if not kept:
        raise ValueError(f"{source} must hold rows{f' of split {split!r}' if split else ''} (got none). Add some.")
    patients = [row["patient"] for row in kept] if optional else None
    return Dataset([source.parent / row["path"] for row in kept], [row["label"] for row in kept], patients)
