"""A user's own images: a folder per class, a CSV `path,label[,patient][,split]`, or a MedMNIST `.npz`; and their parts.

Several labels of one image are written `a|b` in a CSV; an empty label then says that it has none of them. Rows of one
file, and files of the same bytes, are one group.
"""

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt

import zoo
from fusion.data import splits, tables
from fusion.data.samples import Samples
from fusion.data.sets import archives
from fusion.evaluation import labels as door
from fusion.evaluation import units

PARTS = ("train", "validation", "test")

_SAME = {"training": "train", "val": "validation", "valid": "validation", "testing": "test"}
_SPLITS = {*PARTS, *_SAME}
_HIDDEN = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information"}
_THREADS = 8
_NAMED = 10
_ROUNDED = 11  # spreadsheets write out whole numbers of up to eleven digits; 1e+05 may be how a class is called

Window = Sequence[float]


def read(
    source: str | Path,
    *,
    split: str | None = None,
    window: Window | None = None,
    several: bool | None = None,
    columns: tables.Columns | None = None,
    skip: bool = False,
) -> Samples:
    """Read a data set and check that every image opens.

    Args:
        source: A folder with one folder of images per class; a CSV whose paths are relative to it; or a MedMNIST
            `.npz`.
        split: Take only this split of a CSV or `.npz`; None takes all. `val` is `validation`.
        window: Of the encoders that are to see the images: NIfTI volumes state none.
        several: Whether an image of a CSV may have several labels, or none; None: where a label holds a bar.
        columns: How a CSV calls `path`, `label`, `patient` and `split`, where otherwise.
        skip: Leave out images that cannot be read, with a warning that names them.

    Raises:
        ValueError: The source holds no images, a column is missing or not filled, a class folder is empty, or images
            cannot be read (all are named).
    """
    source, split = Path(source), split and _part(split)
    if source.suffix.lower() == ".npz":
        return archives.joined(archives.read(source, (split,) if split else PARTS))
    data, names = _listed(source, split, several, columns)
    if names and split:
        data = data.take([i for i, name in enumerate(names) if name == split])
    return _opened(data, window, skip)


def names_splits(source: str | Path, columns: tables.Columns | None = None) -> list[str]:
    """The splits that a CSV or a MedMNIST `.npz` names, in the order of `PARTS`; none for what has no such names."""
    source = Path(source)
    if source.suffix.lower() == ".npz":
        return archives.parts(source)
    found = set() if source.is_dir() else {_part(row.get("split")) for row in tables.read(source, columns)[0]} - {""}
    return sorted(found, key=lambda name: (PARTS.index(name) if name in PARTS else len(PARTS), name))


def parts(source: str | Path, seed: int = 0, *, window: Window | None = None) -> dict[str, Samples]:
    """Training, validation and test data; every part holds every class, and no patient is in two.

    Args:
        source: As in `read`. Its own splits are kept; where only validation is missing, a quarter of training is it.
        seed: Of the draw where there are none: 60, 20 and 20 % of the patients (of the files, where no patients are
            named), stratified by class; more alike in size where so few patients would leave a part without a class.
        window: As in `read`.

    Returns:
        `train`, `validation` and `test`.

    Raises:
        ValueError: As `read`; or splits have other names, lack train or test, or share a patient; or a part lacks a
            class, or there are too few patients or images to draw from.
    """
    found = _declared(Path(source), window)
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


def unreadable(paths: Sequence[Path], window: Window | None = None) -> dict[Path, str]:
    """Find `paths` that `encoder.preprocess` refuses, with the reason."""
    different = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(_THREADS) as pool:
        reasons = list(pool.map(zoo.fault, different, repeat(window)))
    return {path: why for path, why in zip(different, reasons, strict=True) if why}


def _declared(source: Path, window: Window | None) -> dict[str, Samples]:
    """The data by the splits that the source names; all under "" where it names none."""
    if source.suffix.lower() == ".npz":
        found = archives.read(source, PARTS)
        archives.warn_shared(source, found)
        return found
    data, names = _listed(source, None, None)
    if not names or not any(names):
        return {"": _opened(data, window)}
    odd = sorted(set(names) - set(PARTS))
    if odd:
        raise ValueError(f"splits of {source} must be train, validation or test (got {odd[:5]}). Rename or fill them.")
    _check_apart(source, data, names)
    data = _opened(data, window)
    return {part: data.take(np.flatnonzero(np.asarray(names) == part)) for part in PARTS if part in names}


def _drawn(data: Samples, names: Sequence[str], seed: int) -> dict[str, Samples]:
    if len(data.classes) < 2 and data.names is None:
        raise ValueError(f"images must be of at least two classes (got {data.classes}). Add images of another.")
    rows = splits.draw(data.held(data.classes), data.classes, data.groups, parts=names, seed=seed)
    return {part: data.take(places) for part, places in rows.items()}


def _part(split: str) -> str:
    name = "" if door.missing(split) else door.clean(split)
    return _SAME.get(name.casefold(), name.casefold() if name.casefold() in PARTS else name)


def _is_nifti(path: str | Path) -> bool:
    return units.is_slice(path) or str(path).lower().endswith((".nii", ".nii.gz"))


def _opened(data: Samples, window: Window | None, skip: bool = False) -> Samples:
    slices = sum(map(_is_nifti, data.paths)) if window is None else 0
    if slices:  # not one of them could be read, whatever it holds
        raise ValueError(
            f"window must be given for slices of NIfTI, which states no range ({slices} of {len(data)} images). "
            "Pass --window LOW HIGH in their unit; in Python window=[low, high], in a study's config `window`."
        )
    broken = unreadable(data.paths, window)
    if broken:
        rows = sum(path in broken for path in data.paths)
        names = "; ".join(f"{path}: {why}" for path, why in broken.items())
        if skip and rows < len(data):
            warnings.warn(f"left out, as they cannot be read, {rows} of {len(data)} images: {names}", stacklevel=3)
            return _grouped(data.take([row for row, path in enumerate(data.paths) if path not in broken]))
        raise ValueError(
            f"images must be readable ({rows} of {len(data)} are not: {names}). Replace or remove them; "
            f"the other {len(data) - rows} are fine."
        )
    return _grouped(data)


def _grouped(data: Samples) -> Samples:
    """With rows of one content in one group, so that whoever draws groups keeps them together."""
    _warn_two_labels(data)
    groups = units.held(data.groups, data.images, len(data))
    if data.groups is not None and groups is not None and (moved := data.groups[data.groups != groups]).size:
        joined = sorted({*moved.tolist(), *groups[data.groups != groups].tolist()})
        warnings.warn(f"patients share images, and are taken as one: {joined[:_NAMED]}. Check the ids.", stacklevel=3)
    return replace(data, groups=groups)


def _warn_two_labels(data: Samples) -> None:
    """Warn of one content under two labels; slices of a volume are several images in one file."""
    first: dict[bytes, int] = {}
    for row, key in enumerate(units.contents(data.images, len(data))):
        if key is None or units.is_slice(data.paths[row]):
            continue
        other = first.setdefault(key, row)
        if np.any(data.labels[row] != data.labels[other]):
            pair = f"{str(data.paths[other])!r} and {str(data.paths[row])!r}"
            warnings.warn(f"an image must have one label (got others for {pair}). Check the labels.", stacklevel=4)
            return


def _check_apart(source: Path, data: Samples, names: Sequence[str]) -> None:
    shown = list(map(str, data.paths if data.groups is None else data.groups))
    found = data.units
    first = np.unique(found, return_index=True)[1]
    splits.check_patients(source, [shown[first[unit]] for unit in found], names)


def _listed(
    source: Path, split: str | None, several: bool | None, columns: tables.Columns | None = None
) -> tuple[Samples, list[str] | None]:
    """The data set, and the split of each image ("" for none) where there is such a thing."""
    return (_folder(source), None) if source.is_dir() else _table(source, split, several, columns)


def _folder(source: Path) -> Samples:
    inside = [path for path in sorted(source.iterdir()) if not _is_hidden(path.name)]
    places = [path for path in inside if path.is_dir()]
    if not places:
        raise ValueError(f"{source} must hold one folder of images per class (got none). Try {source}/CLASS/IMAGE.png.")
    if {place.name.lower() for place in places} <= _SPLITS:
        raise ValueError(f"{source} must hold folders of classes (got splits). List them in a CSV path,label,split.")
    files = {place: sorted(walked(place)) for place in places}
    with ThreadPoolExecutor(_THREADS) as pool:  # those without a suffix are opened
        taken = {place: list(pool.map(zoo.is_image, held)) for place, held in files.items()}
    found = {place: [p for p, yes in zip(files[place], taken[place], strict=True) if yes] for place in places}
    left = {place: [p for p, yes in zip(files[place], taken[place], strict=True) if not yes] for place in places}
    _warn_left_out(source, [path for path in inside if not path.is_dir()], *left.values())
    empty = [place.name for place, images in found.items() if not images]
    if empty:
        raise ValueError(
            f"every class folder of {source} must hold images (got none in {empty[:5]}). Fill or remove it; "
            "images are PNG, JPEG, TIFF, BMP, WebP or DICOM."
        )
    images = [path for paths in found.values() for path in paths]
    return Samples(images, np.array([door.clean(place.name) for place, paths in found.items() for _ in paths]))


def walked(place: Path) -> Iterator[Path]:
    """The files below a folder, linked folders too, each once; hidden ones are nobody's."""
    above = {os.path.realpath(folder) for folder in place.resolve().parents}
    for folder, inside, names in os.walk(place, onerror=_refuse_unreadable, followlinks=True):
        real = os.path.realpath(folder)
        if real in above:  # a link back
            inside.clear()
            continue
        above.add(real)
        inside[:] = sorted(name for name in inside if not _is_hidden(name))
        yield from (Path(folder, name) for name in names if not _is_hidden(name))


def _refuse_unreadable(error: OSError) -> None:
    raise OSError(
        f"every folder of a class must be readable (got {str(error.filename)!r}: {error.strerror}). "
        "Run chmod u+rx on it, or move it out of the data set."
    ) from None


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _HIDDEN


def _warn_left_out(source: Path, *left: Iterable[Path]) -> None:
    names = [str(path.relative_to(source)) for paths in left for path in paths]
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        warnings.warn(f"{source}: left out, as no images: {names[:_NAMED]}{more}.", stacklevel=2)


def _table(
    source: Path, split: str | None, several: bool | None, columns: tables.Columns | None
) -> tuple[Samples, list[str]]:
    rows, header = tables.read(source, columns)
    several = any("|" in row.get("label") for row in rows) if several is None else several
    optional = ["patient"] if any(row.get("patient") for row in rows) else []
    for column in ("path", *([] if several else ["label"]), *(["split"] if split else []), *optional):
        tables.fill(source, rows, column, header)
    tables.written_out(source, rows, "patient")
    tables.written_out(source, rows, "label", _ROUNDED)
    names = [_part(row.get("split")) for row in rows]
    if not (rows if split is None else split in names):
        there = f" of {sorted(set(names) - {''})}" if any(names) else ""
        raise ValueError(
            f"{source} must hold rows{f' of split {split!r}' if split else ''} (got none{there}). Add some."
        )
    tables.warn_unread(source, header)
    tables.warn_empty(source, rows)
    groups = units.ids([row.get("patient") for row in rows], "patients") if optional else None
    labels, names_of = _several(source, rows) if several else (np.array([row.get("label") for row in rows]), None)
    data = Samples([tables.located(source, row.get("path"), row.written) for row in rows], labels, groups, names_of)
    if split is not None:
        _check_apart(source, data, names)
    return data, names


def _several(source: Path, rows: Sequence[tables.Record]) -> tuple[npt.NDArray[np.int64], list[str]]:
    named = [[door.clean(name) for name in row.get("label").split("|")] if row.get("label") else [] for row in rows]
    for row, names in zip(rows, named, strict=True):
        if any(map(door.missing, names)):
            got = f"{'an empty one' if '' in names else names} in line {row.line}"
            raise ValueError(
                f"labels of {source} must be names between bars (got {got}). Write a|b, and nothing for none."
            )
    columns = sorted({name for names in named for name in names})
    return np.array([[int(column in names) for column in columns] for names in named]), columns
