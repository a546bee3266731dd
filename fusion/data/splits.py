"""Parts of a data set that keep patients together and hold every class, from a table of who has what."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

Array = npt.NDArray[np.generic]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Patients = Sequence[str] | npt.NDArray[Any]


def check_patients(source: Path, patients: Sequence[str], names: Sequence[str]) -> None:
    """Refuse data of which a patient, or a file where none is named, is in two splits."""
    places: dict[str, set[str]] = {}
    for patient, split in zip(patients, names, strict=True):
        places.setdefault(patient, set()).add(split)
    shared = sorted(patient for patient, found in places.items() if len(found) > 1)
    if shared:
        raise ValueError(
            f"each patient (or file) of {source} must be in one split "
            f"({len(shared)} are in several: got {shared[:5]}). Move all images of a patient to one of them."
        )


def draw(
    held: Bools, classes: Sequence[str], patients: Patients | None, *, parts: Sequence[str], seed: int
) -> dict[str, Ints]:
    """The places of the images of each part, ascending.

    Args:
        held: (N, K): whether an image has the label.
        classes: (K,) their names.
        patients: (N,), none of which comes into two parts; None means that every image is a patient of its own.
        parts: The first takes what the others leave, each of which is one fold: of five for three parts, of four for
            two. Where a part would lack a class there are fewer and larger folds.
        seed: Of the draw.

    Raises:
        ValueError: There are too few patients or images for every part to hold images with and without each class.
    """
    units, kind = _units(held, patients)
    _check_enough(held, classes, units, needed=len(parts), kind=kind)
    for folds in _folds(held, None if patients is None else units, len(parts), seed):
        for others in permutations(folds, len(parts) - 1):
            rows = [np.setdiff1d(np.arange(len(held)), np.concatenate(others)), *others]
            if not any(lacking(held[part], classes) for part in rows):
                return dict(zip(parts, rows, strict=True))
    raise ValueError(
        f"each of {', '.join(parts)} must hold images with and without every class (got no such draw of "
        f"{len(np.unique(units))} {kind} with seed {seed}). Add {kind}, or try another seed."
    )


def divide(held: Bools, classes: Sequence[str], patients: Patients | None, *, count: int, seed: int) -> list[Ints]:
    """The places of the images of each of `count` folds, ascending; every image is in one, and no patient in two.

    Classes are spread evenly, as far as whole patients allow. Where a fold would lack a class, or be a single patient,
    patients then go over to it from other folds.

    Args:
        held: (N, K): whether an image has the label.
        classes: (K,) their names.
        patients: (N,); None means that every image is a patient of its own.
        count: Of folds.
        seed: Of the draw.

    Raises:
        ValueError: There are too few patients or images, or no folds were found that all hold two patients at least,
            and images with and without each class.
    """
    units, kind = _units(held, patients)
    _check_enough(held, classes, units, needed=count, kind=kind, other="ask for fewer folds")
    owners = np.zeros(units.max() + 1, dtype=np.int64)
    for number, rows in enumerate(_split(held, None if patients is None else units, count, seed)):
        owners[units[rows]] = number
    brought = np.zeros((len(owners), 2 * held.shape[1]), dtype=np.int64)
    np.add.at(brought, units, np.c_[held, ~held])
    if not _mend(owners, brought, count):
        raise ValueError(
            f"each of {count} folds must hold 2 {kind} or more, and images with and without every class (got no such "
            f"folds of {len(owners)} {kind}). Ask for fewer folds, or add {kind}."
        )
    return [np.flatnonzero(owners[units] == number) for number in range(count)]


def lacking(held: Bools, classes: Sequence[str]) -> dict[str, str]:
    """The classes that no image has, or every image has, with which of the two it is."""
    counts = held.sum(0)
    none = {name: "with" for name, count in zip(classes, counts, strict=True) if count == 0}
    return none | {name: "without" for name, count in zip(classes, counts, strict=True) if count == len(held) > 0}


def check(held: Mapping[str, Bools], classes: Sequence[str]) -> None:
    """Refuse parts (N, K) that do not hold images with and without every class."""
    for part, table in held.items():
        found = [f"{word} {name!r}" for name, word in lacking(table, classes).items()]
        if found:
            raise ValueError(
                f"the {part} part must hold images with and without every class (got none {', '.join(found[:5])}). "
                "Add such images, or leave the class out."
            )


def _units(held: Bools, patients: Patients | None) -> tuple[Ints, str]:
    """(N,) who of whom no two parts may have images, numbered; and what that is, in words."""
    if patients is None:
        return np.arange(len(held)), "images"
    return np.unique(np.asarray(patients), return_inverse=True)[1], "patients"


def _mend(owners: Ints, brought: Ints, count: int) -> bool:
    """Units change folds in place, one at a time, the most helpful first; whether in the end every fold holds enough.

    Args:
        owners: (U,) the fold of each unit.
        brought: (U, M) what units bring, of which every fold must hold some, and two units.
        count: F, of folds.
    """
    brought = np.c_[brought, np.ones_like(owners)]  # the last column counts the units
    least = np.r_[np.ones(brought.shape[1] - 1), 2]
    while True:
        sums = np.stack([brought[owners == number].sum(0) for number in range(count)])  # (F, M + 1)
        short = sums < least
        moves = []
        for fold in np.flatnonzero(short.any(1)):
            for unit in np.flatnonzero((brought[:, short[fold]] > 0).any(1) & (owners != fold)):
                after = sums.copy()
                after[owners[unit]] -= brought[unit]
                after[fold] += brought[unit]
                uneven = float(np.square(after / sums.sum(0)).sum())
                moves.append((int((after < least).sum()), uneven, int(unit), int(fold)))
        best = min(moves, default=(int(short.sum()), 0.0, 0, 0))
        if best[0] >= short.sum():
            return not short.any()
        owners[best[2]] = best[3]


def _check_enough(
    held: Bools, classes: Sequence[str], units: Array, *, needed: int, kind: str, other: str = ""
) -> None:
    for table, word in ((held, "with"), (~held, "without")):
        counts = {name: len(np.unique(units[has])) for name, has in zip(classes, table.T, strict=True)}
        few = {name: count for name, count in counts.items() if count < needed}
        if few:
            raise ValueError(
                f"there must be {needed} or more {kind} {word} each class, one per part (got {few}). "
                f"Add some, {other and f'{other}, '}or leave the class out."
            )


def _folds(held: Bools, units: Array | None, parts: int, seed: int) -> Iterator[list[Ints]]:
    """Folds, as lists of places: first many small ones, then fewer."""
    for count in range(parts + 2, parts - 1, -1):
        if count <= np.bincount(_strata(held)).max():
            yield _split(held, units, count, seed)


def _split(held: Bools, units: Array | None, count: int, seed: int) -> list[Ints]:
    strata = _strata(held)
    kind = StratifiedKFold if units is None else StratifiedGroupKFold
    with warnings.catch_warnings():
        # Of a class in fewer images than folds; who asks looks whether every part holds it.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        split = kind(count, shuffle=True, random_state=seed).split(strata, strata, units)
        return [fold for _, fold in split]


def _strata(held: Bools) -> Ints:
    """(N,): the rarest label of each image; images without any are a stratum of their own."""
    rarest = np.argsort(held.sum(0), kind="stable")
    strata: Ints = np.where(held.any(1), rarest[held[:, rarest].argmax(1)], held.shape[1])
    return strata
