"""Data by name or path: `brain-regions`, or what `files.parts` takes; with `@2/5` behind it, the second of five folds.

The test part is opened by `open_test` alone.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from fusion.data import files, splits
from fusion.data.samples import Samples
from fusion.data.sets.brain_regions import brain_regions

BRAIN_REGIONS = "brain-regions"
ALL = "all"  # every split
LEAST_FOLDS = 3  # one to test, one to validate, one to train

# Never the test brain: what is chosen here would be chosen on it.
_SLABS: dict[str, Literal["train", "validation"]] = {"train": "train", "validation": "validation", "val": "validation"}
_FOLD = re.compile(r"(.+)@([^@/]*)/([^@/]*)")


def resolved(source: str | Path) -> str:
    """The source with an absolute path.

    Raises:
        ValueError: Its fold is none.
    """
    base, fold = divided(source)
    place = base if base == BRAIN_REGIONS else str(Path(base).resolve())
    return place if fold is None else at_fold(place, *fold)


def at_fold(base: str, fold: int, folds: int) -> str:
    """The source that is one fold of another."""
    return f"{base}@{fold}/{folds}"


def divided(source: str | Path) -> tuple[str, tuple[int, int] | None]:
    """The data themselves; and fold and number of folds, where the source names them.

    Raises:
        ValueError: What it names is no fold.
    """
    match = _FOLD.fullmatch(str(source))
    if match is None or Path(source).exists():
        return str(source), None
    base, *numbers = match.groups()
    fold, folds = (int(number) if re.fullmatch("[0-9]+", number) else 0 for number in numbers)
    if not 1 <= fold <= folds or folds < LEAST_FOLDS:
        got = "/".join(numbers)
        raise ValueError(
            f"fold must be K/N, K from 1 to N and N from {LEAST_FOLDS} (got {got!r}). Try {at_fold(base, 1, 5)}."
        )
    return base, (fold, folds)


def open_parts(source: str, window: files.Window | None = None) -> tuple[Samples, Samples]:
    """Training and validation; the test part stays closed.

    Args:
        source: `brain-regions`, or what `files.parts` takes; or a fold of one of these, whose own parts are then
            put together and divided anew: that fold is the test part, the next one validation, the others training. Of
            `brain-regions` only the training brain is divided; the test brain stays closed.
        window: As in `files.read`.

    Raises:
        ValueError: The data cannot be read or split.
    """
    base, fold = divided(source)
    if fold is not None:
        train, validation, _ = _folded(base, *fold, window)
        return train, validation
    if base == BRAIN_REGIONS:
        return brain_regions("train"), brain_regions("validation")
    found = files.parts(base, seed=0, window=window)
    return found["train"], found["validation"]


def open_test(source: str, window: files.Window | None = None) -> Samples:
    """The test part: only for the final table, after every choice is made."""
    base, fold = divided(source)
    if fold is not None:
        return _folded(base, *fold, window)[2]
    return brain_regions("test") if base == BRAIN_REGIONS else files.parts(base, seed=0, window=window)["test"]


def _folded(base: str, fold: int, folds: int, window: files.Window | None) -> tuple[Samples, Samples, Samples]:
    """Training, validation and test data of one fold."""
    pool = _pool(base, window)
    rows = splits.divide(pool.held(pool.classes), pool.classes, pool.groups, count=folds, seed=0)
    test, validation = rows[fold - 1], rows[fold % folds]
    rest = np.setdiff1d(np.arange(len(pool)), np.concatenate([test, validation]))
    return pool.take(rest), pool.take(validation), pool.take(test)


def _pool(base: str, window: files.Window | None) -> Samples:
    """All that is divided into folds; of `brain-regions` never the test brain."""
    if base != BRAIN_REGIONS:
        return files.read(base, window=window)
    slabs = [brain_regions("train"), brain_regions("validation")]
    images, labels, groups = (
        np.concatenate([getattr(s, key) for s in slabs]) for key in ("images", "labels", "groups")
    )
    return Samples(images, labels, groups)


def open_all(source: str, slabs: str, split: str | None) -> tuple[Samples, str]:
    """The images, and what they are in words; `all` takes every split of a source that names splits, as None does."""
    if source != BRAIN_REGIONS:
        split = None if split == ALL else split
        return files.read(source, split=split), source if split is None else f"{source}, split {split}"
    if slabs not in _SLABS:
        raise ValueError(
            f"split of {BRAIN_REGIONS} must be train or validation (got {slabs!r}): the test brain stays closed. "
            "Leave --split out."
        )
    return brain_regions(_SLABS[slabs]), f"the {_SLABS[slabs]} part of {BRAIN_REGIONS}"


def open_part(
    source: str,
    part: str,
    split: str | None,
    *,
    window: files.Window | None = None,
    several: bool | None = None,
    columns: Mapping[str, str] | None = None,
    skip: bool = False,
) -> tuple[Samples, str]:
    """One part of the data, and which in words: what is learned on one part is not judged on it by oversight.

    Args:
        source: `brain-regions`, or what `files.read` takes.
        part: What is taken where the source names splits: `train` to learn, `test` to judge. Of `brain-regions`,
            whose test brain stays closed, `test` is validation.
        split: Another, or `all`; None leaves it at `part`.
        window: As in `files.read`.
        several: As in `files.read`.
        columns: As in `files.read`.
        skip: As in `files.read`.

    Raises:
        ValueError: As `files.read`, or the source does not name the split.
    """
    if source == BRAIN_REGIONS:
        return open_all(source, split or {"test": "validation"}.get(part, part), split)
    declared = files.names_splits(source, columns)
    taken = split or (part if declared else None)
    taken = None if taken == ALL else taken
    if split is None and declared and part not in declared:
        raise ValueError(
            f"splits of {source} must hold {part} (got {declared}). Name another by --split, or --split {ALL}."
        )
    if taken is None:
        said = f"{source}, all of its splits ({', '.join(declared)})" if declared else source
    else:
        said = f"{source}, split {taken}"
    return files.read(source, split=taken, window=window, several=several, columns=columns, skip=skip), said
