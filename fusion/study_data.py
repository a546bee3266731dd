"""The parts of a study's data set, the draws of training images, and what tells one data set from another."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion import data
from fusion.samples import brain_regions
from fusion.study_config import BRAIN_REGIONS

Ints = npt.NDArray[np.int64]


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


def open_parts(source: str) -> tuple[Part, Part]:
    """Training and validation; the test part stays closed.

    Args:
        source: `brain-regions`, or what `fusion.data.parts` takes.

    Raises:
        ValueError: The data cannot be read or split.
    """
    if source == BRAIN_REGIONS:
        train, validation = (brain_regions(part) for part in ("train", "validation"))
        return Part(train.images, train.labels, train.groups), Part(
            validation.images, validation.labels, validation.groups
        )
    found = data.parts(source, seed=0)
    return _part(found["train"]), _part(found["validation"])


def open_test(source: str) -> Part:
    """The test part: only for the final table, after every choice is made."""
    if source == BRAIN_REGIONS:
        test = brain_regions("test")
        return Part(test.images, test.labels, test.groups)
    return _part(data.parts(source, seed=0)["test"])


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


def _part(found: Any) -> Part:
    groups = None if found.patients is None else np.asarray(found.patients)
    return Part(found.images, np.asarray(found.labels), groups)


def _even(sizes: Ints, count: int) -> Ints:
    """As equal as the sizes allow: one after the other, each class that still has images gives one."""
    wanted = np.zeros_like(sizes)
    while (missing := count - int(wanted.sum())) > 0:
        able = np.flatnonzero(wanted < sizes)
        each = max(1, missing // len(able))
        for k in able if missing >= len(able) else able[:missing]:
            wanted[k] = min(sizes[k], wanted[k] + each)
    return wanted
