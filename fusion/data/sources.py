"""The parts of a study's data set, the draws of training images, and what tells one data set from another.

A source is `brain-regions`, or what `fusion.data.files.parts` takes; with `@2/5` behind it, the second of five folds.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fusion.data import files, splits
from fusion.data.sets.brain_regions import brain_regions
from fusion.study.config import BRAIN_REGIONS, LEAST_FOLDS, Config

Ints = npt.NDArray[np.int64]

_FOLD = re.compile(r"(.+)@([^@/]*)/([^@/]*)")


@dataclass(frozen=True)
class Part:
    """Images with labels.

    Attributes:
        images: Paths, or an array (N, H, W[, C]).
        labels: (N,) labels or (N, K) 0/1.
        groups: (N,) patients, or None.
    """

    images: Any
    labels: npt.NDArray[Any]
    groups: npt.NDArray[Any] | None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Ints) -> "Part":
        """Some of the images, in the order given."""
        images = self.images[rows] if isinstance(self.images, np.ndarray) else [self.images[row] for row in rows]
        return Part(images, self.labels[rows], None if self.groups is None else self.groups[rows])


def source(config: Config, data: str | Path | None) -> str:
    """The source of a study wherever it runs: its path is absolute.

    Args:
        config: Of the study.
        data: Goes before what the config names.

    Raises:
        ValueError: Neither names one, or its fold is none.
    """
    given = data or config.data
    if given is None:
        raise ValueError(f"data must be given for {config.name} (got none). Add --data FOLDER, CSV or NPZ.")
    return resolved(given)


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


def open_parts(source: str) -> tuple[Part, Part]:
    """Training and validation; the test part stays closed.

    Args:
        source: `brain-regions`, or what `files.parts` takes; or a fold of one of these, whose own parts are then
            put together and divided anew: that fold is the test part, the next one validation, the others training. Of
            `brain-regions` only the training brain is divided; the test brain stays closed.

    Raises:
        ValueError: The data cannot be read or split.
    """
    base, fold = divided(source)
    if fold is not None:
        train, validation, _ = _folded(base, *fold)
        return _part(train), _part(validation)
    if base == BRAIN_REGIONS:
        return _slabs("train"), _slabs("validation")
    found = files.parts(base, seed=0)
    return _part(found["train"]), _part(found["validation"])


def open_test(source: str) -> Part:
    """The test part: only for the final table, after every choice is made."""
    base, fold = divided(source)
    if fold is not None:
        return _part(_folded(base, *fold)[2])
    return _slabs("test") if base == BRAIN_REGIONS else _part(files.parts(base, seed=0)["test"])


def draw(part: Part, labels: float | int | None, seed: int) -> Part:
    """Training images: all, so many (the same number of each class where there are enough), or a share of each class.

    Raises:
        ValueError: There are fewer images than asked for, or than classes.
    """
    if labels is None:
        return part
    if isinstance(labels, int) and labels > len(part):
        raise ValueError(f"labels must be at most the training images, {len(part)} (got {labels}). Lower it.")
    rng = np.random.default_rng(seed)
    if part.labels.ndim == 2:
        count = labels if isinstance(labels, int) else max(1, round(labels * len(part)))
        return part.take(np.sort(rng.permutation(len(part))[:count]))
    classes, numbers = np.unique(part.labels, return_inverse=True)
    sizes = np.bincount(numbers)
    if isinstance(labels, int):
        if labels < len(classes):
            raise ValueError(f"labels must be at least the classes, {len(classes)} (got {labels}). Raise it.")
        wanted = _even(sizes, labels)
    else:
        # Two of a class at least: folds need one on either side.
        wanted = np.minimum(sizes, np.maximum(2, np.round(sizes * labels))).astype(int)
    rows = [rng.choice(np.flatnonzero(numbers == k), count, replace=False) for k, count in enumerate(wanted)]
    return part.take(np.sort(np.concatenate(rows)))


def held(validation: Part, labels: float | int | None) -> Part:
    """The validation images of a plumbing check: a quarter as many as it is trained on, two of each class at least."""
    classes = len(np.unique(validation.labels)) if validation.labels.ndim == 1 else validation.labels.shape[1]
    return draw(validation, min(max(int(labels or 1) // 4, 2 * classes), len(validation)), 0)


def fingerprint(*parts: Part) -> str:
    """20 hex digits of labels, groups and images: of arrays and files the bytes, of files the names too."""
    found = hashlib.sha256()
    for part in parts:
        found.update(repr((part.labels.tolist(), None if part.groups is None else part.groups.tolist())).encode())
        if isinstance(part.images, np.ndarray):
            found.update(repr(part.images.shape).encode() + np.ascontiguousarray(part.images).tobytes())
        else:
            for path in part.images:
                found.update(repr(Path(path).parts[-2:]).encode() + _bytes(path))
    return found.hexdigest()[:20]


def _bytes(path: Path) -> bytes:
    """The file's sha256; `brain.nii.gz:42` is a slice of one."""
    file = path if path.exists() else Path(str(path).rpartition(":")[0])
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _part(found: files.Dataset) -> Part:
    groups = None if found.patients is None else np.asarray(found.patients)
    return Part(found.images, np.asarray(found.labels), groups)


def _slabs(part: Literal["train", "validation", "test"]) -> Part:
    found = brain_regions(part)
    return Part(found.images, found.labels, found.groups)


def _folded(base: str, fold: int, folds: int) -> tuple[files.Dataset, files.Dataset, files.Dataset]:
    """Training, validation and test data of one fold."""
    pool = _pool(base)
    rows = splits.folds(pool.held(pool.classes), pool.classes, pool.patients, count=folds, seed=0)
    test, validation = rows[fold - 1], rows[fold % folds]
    rest = np.setdiff1d(np.arange(len(pool.labels)), np.concatenate([test, validation]))
    return pool.take(rest), pool.take(validation), pool.take(test)


def _pool(base: str) -> files.Dataset:
    """All that is divided into folds; of `brain-regions` never the test brain."""
    if base != BRAIN_REGIONS:
        return files.read(base)
    slabs = [brain_regions("train"), brain_regions("validation")]
    images, labels, groups = (
        np.concatenate([getattr(s, key) for s in slabs]) for key in ("images", "labels", "groups")
    )
    return files.Dataset(images, labels.tolist(), groups.tolist())


def _even(sizes: Ints, count: int) -> Ints:
    """As equal as the sizes allow: one after the other, each class that still has images gives one."""
    wanted = np.zeros_like(sizes)
    while (missing := count - int(wanted.sum())) > 0:
        able = np.flatnonzero(wanted < sizes)
        each = max(1, missing // len(able))
        for k in able if missing >= len(able) else able[:missing]:
            wanted[k] = min(sizes[k], wanted[k] + each)
    return wanted
