"""A user's own images: a folder per class, a CSV `path,label[,patient][,split]`, or a MedMNIST `.npz`; and their parts.

Several labels of one image are written `a|b` in a CSV; an empty label then says that it has none of them.
"""

import csv
import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fusion.data import splits
from fusion.data.samples import Samples

PARTS = ("train", "validation", "test")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom", ".ima")

_DICOM = SUFFIXES[-3:]
_VOLUME = re.compile(r"(.+\.nii(?:\.gz)?)(?::.*)?", flags=re.IGNORECASE)  # `brain.nii.gz:42` is a slice
_ARCHIVED = {"train": "train", "validation": "val", "test": "test"}  # MedMNIST's names of the parts

_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}

Array = npt.NDArray[Any]


def read(source: str | Path, *, split: str | None = None) -> Samples:
    """Read a data set and check that every image opens.

    Args:
        source: A folder with one folder of images per class; a CSV whose paths are relative to it; or a MedMNIST
            `.npz`.
        split: Take only this split of a CSV or `.npz`; None takes all. `val` is `validation`.

    Raises:
        ValueError: The source holds no images, a column is missing, a class folder is empty, or images cannot be read
            (all are named).
    """
    source, split = Path(source), split and _part(split)
    if source.suffix.lower() == ".npz":
        return _joined(_archive(source, (split,) if split else PARTS))
    data, names = _listed(source, split)
    if names and split:
        data = data.take([i for i, name in enumerate(names) if name == split])
    return _opened(data)


def names_splits(source: str | Path) -> bool:
    """Tell whether a CSV names the split of any image; a MedMNIST `.npz` always does."""
    source = Path(source)
    if source.suffix.lower() == ".npz":
        return True
    return not source.is_dir() and any(row.get("split") for row in _rows(source))


def parts(source: str | Path, seed: int = 0) -> dict[str, Samples]:
    """Training, validation and test data; every part holds every class, and no patient is in two.

    Args:
        source: As in `read`. Its own splits are kept; where only validation is missing, a quarter of training is it.
        seed: Of the draw where there are none: 60, 20 and 20 % of the patients (of the images, where no patients are
            named), stratified by class; more alike in size where so few patients would leave a part without a class.

    Returns:
        `train`, `validation` and `test`.

    Raises:
        ValueError: As `read`; or splits have other names, lack train or test, or share a patient; or a part lacks a
            class, or there are too few patients or images to draw from.
    """
    found = _declared(Path(source))
    if "" in found:
        found = _drawn(found[""], PARTS, seed)
    missing = {"train", "test"} - set(found)
    if missing:
        raise ValueError(
            f"splits of {source} must hold train and test (got {list(found)}). Add {' and '.join(sorted(missing))}."
        )
    if "validation" not in found:
        found |= _drawn(found["train"], PARTS[:2], seed)
    classes = sorted({name for data in found.values() for name in data.classes})
    splits.check({part: found[part].held(classes) for part in PARTS}, classes)
    return {part: found[part] for part in PARTS}


def unreadable(paths: list[Path]) -> dict[Path, str]:
    """Find `paths` that do not decode, with the reason; of DICOM and NIfTI, those that do not open or are empty."""
    reasons = {path: _fault(path) for path in paths}
    return {path: why for path, why in reasons.items() if why}


def _declared(source: Path) -> dict[str, Samples]:
    """The data by the splits that the source names; all under "" where it names none."""
    if source.suffix.lower() == ".npz":
        return _archive(source, PARTS)
    data, names = _listed(source, None)
    if not names or not any(names):
        return {"": _opened(data)}
    odd = sorted(set(names) - set(PARTS))
    if odd:
        raise ValueError(f"splits of {source} must be train, validation or test (got {odd[:5]}). Rename or fill them.")
    splits.check_patients(source, list(map(str, data.paths if data.groups is None else data.groups)), names)
    data = _opened(data)
    return {part: data.take(np.flatnonzero(np.asarray(names) == part)) for part in PARTS if part in names}


def _drawn(data: Samples, names: Sequence[str], seed: int) -> dict[str, Samples]:
    if len(data.classes) < 2 and data.names is None:
        raise ValueError(f"images must be of at least two classes (got {data.classes}). Add images of another.")
    rows = splits.draw(data.held(data.classes), data.classes, data.groups, parts=names, seed=seed)
    return {part: data.take(places) for part, places in rows.items()}


def _part(split: str) -> str:
    return "validation" if split == "val" else split


def _opened(data: Samples) -> Samples:
    broken = unreadable(data.paths)
    if broken:
        names = "; ".join(f"{path}: {why}" for path, why in broken.items())
        raise ValueError(
            f"images must be readable ({len(broken)} of {len(data.paths)} are not: {names}). Replace or remove them; "
            f"the other {len(data.paths) - len(broken)} are fine."
        )
    return data


def _fault(path: Path) -> str | None:
    volume = _VOLUME.fullmatch(str(path))
    try:
        if volume or path.suffix.lower() in _DICOM:  # the encoder decodes these, as its card says
            with open(volume[1] if volume else path, "rb") as stream:
                return None if stream.read(1) else "is empty"
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError) as error:
        return "not a readable image" if "identify" in str(error) else str(error)
    return None


def _listed(source: Path, split: str | None) -> tuple[Samples, list[str] | None]:
    """The data set, and the split of each image ("" for none) where there is such a thing."""
    return (_folder(source), None) if source.is_dir() else _table(source, split)


def _folder(source: Path) -> Samples:
    places = [place for place in sorted(source.iterdir()) if place.is_dir() and not place.name.startswith(".")]
    found = {place: [p for p in sorted(place.rglob("*")) if p.suffix.lower() in SUFFIXES] for place in places}
    if not found:
        raise ValueError(f"{source} must hold one folder of images per class (got none). Try {source}/CLASS/IMAGE.png.")
    if {place.name.lower() for place in places} <= _SPLITS:
        raise ValueError(f"{source} must hold folders of classes (got splits). List them in a CSV path,label,split.")
    empty = [place.name for place, images in found.items() if not images]
    if empty:
        raise ValueError(
            f"every class folder of {source} must hold images (got none in {empty[:5]}). Fill or remove it; "
            f"images end in {', '.join(SUFFIXES)}."
        )
    images = [path for paths in found.values() for path in paths]
    return Samples(images, np.array([place.name for place, paths in found.items() for _ in paths]))


def _table(source: Path, split: str | None) -> tuple[Samples, list[str]]:
    rows = _rows(source)
    several = any("|" in (row.get("label") or "") for row in rows)
    optional = ["patient"] if any(row.get("patient") for row in rows) else []
    for column in ("path", *([] if several else ["label"]), *(["split"] if split else []), *optional):
        if rows and not all(row.get(column) for row in rows):
            raise ValueError(f"{source} must have a filled column {column!r} (got {list(rows[0])}). Add it.")
    names = [_part(row.get("split") or "") for row in rows]
    if not (rows if split is None else split in names):
        raise ValueError(f"{source} must hold rows{f' of split {split!r}' if split else ''} (got none). Add some.")
    patients = [row["patient"] for row in rows] if optional else None
    if split is not None:
        splits.check_patients(source, patients or [row["path"] for row in rows], names)
    labels, columns = _several(source, rows) if several else (np.array([row["label"] for row in rows]), None)
    groups = None if patients is None else np.array(patients)
    return Samples([source.parent / row["path"] for row in rows], labels, groups, columns), names


def _rows(source: Path) -> list[dict[str, str]]:
    try:
        with source.open(newline="", encoding="utf-8-sig") as stream:  # spreadsheets write a byte order mark
            return list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else f"no CSV in UTF-8, {error}"
        raise ValueError(f"data must be a folder or a CSV (got {str(source)!r}: {why}). Check the path.") from None


def _several(source: Path, rows: list[dict[str, str]]) -> tuple[npt.NDArray[np.int64], list[str]]:
    named = [[name.strip() for name in row["label"].split("|")] if row.get("label") else [] for row in rows]
    if not all(name for names in named for name in names):
        raise ValueError(f"labels of {source} must be names between bars (got an empty one). Write them as a|b.")
    columns = sorted({name for names in named for name in names})
    return np.array([[int(column in names) for column in columns] for names in named]), columns


def _archive(source: Path, parts: Sequence[str]) -> dict[str, Samples]:
    names = {_ARCHIVED[part]: part for part in parts if part in _ARCHIVED}
    try:
        with np.load(source) as archive:
            held = list(archive)
            there = [name for name in names if f"{name}_images" in held]
            stored = {name: (archive[f"{name}_images"], archive[f"{name}_labels"]) for name in there}
    except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        # Of a ValueError numpy's own text advises to unpickle.
        why = "no archive of numbers" if isinstance(error, ValueError | TypeError) else error
        raise ValueError(f"{source} must be a MedMNIST .npz (got {why}). Check the path, or fetch it anew.") from None
    if not stored:
        wanted = [f"{name}_images" for name in names] or list(parts)
        raise ValueError(f"{source} must hold {' or '.join(wanted)} (got {held}). Name another split, or add it.")
    found = {names[name]: _arrays(source, name, *arrays) for name, arrays in stored.items()}
    forms = {(data.images.shape[1:], tuple(data.names or ())) for data in found.values()}
    if len(forms) > 1:
        raise ValueError(f"parts of {source} must have equal sizes and labels (got {sorted(forms)}). Store them alike.")
    return found


def _arrays(source: Path, name: str, images: Array, labels: Array) -> Samples:
    if not len(images) or images.ndim not in (3, 4) or images.shape[3:] not in ((), (1,), (3,)):
        raise ValueError(
            f"{name}_images of {source} must be (N, H, W) or (N, H, W, 1 or 3) (got {images.shape}). Store slices."
        )
    if labels.ndim not in (1, 2) or len(labels) != len(images) or not labels.size or labels.dtype.kind not in "iub":
        raise ValueError(
            f"{name}_labels of {source} must be integers, (N,), (N, 1) or (N, K), for N {len(images)} "
            f"(got {labels.dtype} {labels.shape}). Store one row per image."
        )
    if labels.ndim == 1 or labels.shape[1] == 1:
        return Samples(images, labels.ravel().astype(str))
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"{name}_labels of {source} must be 0 and 1 (got {labels.max()}). Store an indicator.")
    width = len(str(labels.shape[1] - 1))  # sorted names are then in the order of the columns
    return Samples(images, labels.astype(np.int64), None, [f"{k:0{width}}" for k in range(labels.shape[1])])


def _joined(parts: dict[str, Samples]) -> Samples:
    if len(parts) == 1:
        return next(iter(parts.values()))
    images, labels = (np.concatenate([getattr(data, key) for data in parts.values()]) for key in ("images", "labels"))
    return Samples(images, labels, None, next(iter(parts.values())).names)
