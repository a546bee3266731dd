"""Images with labels and groups: the one container, what is drawn from it, and what tells it from others."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion.evaluation import units

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
Rows = Sequence[int] | npt.NDArray[np.integer]


@dataclass(frozen=True)
class Samples:
    """Images with labels; those of one group (a patient, a slab of slices) depend on each other.

    Attributes:
        images: Paths, or an array (N, H, W[, C]); a fit also holds what `encoder.preprocess` takes.
        labels: (N,), or (N, K) of 0 and 1 where an image may have several.
        groups: (N,) of the patients; None where the data do not name them. Of data that were read, rows of one file
            and files of the same bytes are in one group, too.
        names: The K labels of (N, K), sorted; None where each image has one label.
    """

    images: Any
    labels: Array
    groups: Array | None = None
    names: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def paths(self) -> list[Path]:
        """The images, where they are files."""
        if not isinstance(self.images, list):
            raise TypeError("images must be files to have paths (got an array). Use `images`.")
        return self.images

    @property
    def classes(self) -> list[Any]:
        """The names of the columns, or the labels that occur, sorted."""
        return np.unique(self.labels).tolist() if self.names is None else list(self.names)

    @property
    def units(self) -> Ints:
        """(N,) what each image is drawn with, by number: its group, and all groups with which that shares an image."""
        return units.numbered(self.groups, self.images, len(self))

    def named(self) -> list[Any]:
        """The labels by name: one per image, or a list per image."""
        if self.names is None:
            return list(self.labels.tolist())
        names = np.asarray(self.names)
        return [names[row == 1].tolist() for row in self.labels]

    def held(self, classes: Sequence[Any]) -> npt.NDArray[np.bool_]:
        """(N, K): whether an image has the label; `classes` are the names of the columns, where there are columns."""
        return np.asarray(self.labels[:, None] == np.asarray(classes) if self.names is None else self.labels == 1)

    def take(self, rows: Rows) -> "Samples":
        """Take some of the images, in the order given."""
        index = np.asarray(rows, dtype=np.int64)
        groups = None if self.groups is None else self.groups[index]
        return Samples(taken(self.images, index), self.labels[index], groups, self.names)

    def name(self, row: int) -> str:
        """The image's file, or its place where it has none."""
        image = self.images[row]
        return str(image) if isinstance(image, str | Path) else f"image {row}"


def taken(images: Any, rows: Rows) -> Any:
    """Take some of the images, in the order given: of an array an array, of anything else a list."""
    return images[np.asarray(rows, dtype=np.int64)] if isinstance(images, np.ndarray) else [images[i] for i in rows]


def draw(part: Samples, labels: float | int | None, seed: int) -> Samples:
    """Training images: all, so many (the same number of each class where there are enough), or a share of each class.

    An image that is listed more than once counts once, and only its first row is drawn.

    Raises:
        ValueError: There are fewer images than asked for, or than classes.
    """
    if labels is None:
        return part
    part = _once(part)
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


def fingerprint(*parts: Samples) -> str:
    """20 hex digits of labels, groups and images: of pixels and files the bytes, of files the names too."""
    found = hashlib.sha256()
    for part in parts:
        found.update(repr((part.labels.tolist(), None if part.groups is None else part.groups.tolist())).encode())
        if isinstance(part.images, np.ndarray) and part.images.dtype != object:
            found.update(units.of_pixels(part.images))
            continue
        for image in part.images:
            is_file = isinstance(image, str | Path)
            name = repr(Path(image).parts[-2:]).encode() if is_file else b""
            found.update(name + (units.of_file(image) if is_file else units.of_pixels(image)))
    return found.hexdigest()[:20]


def digests(samples: Samples) -> set[str]:
    """What a model remembers of its fit: 16 hex digits of every image's content (bytes or pixels) and every group's id.

    Nothing is salted, so that two machines agree; who has the list can test whether an id is in it.

    Raises:
        ValueError: An id is missing.
    """
    return units.digests(samples.images, samples.groups)


def overlap(samples: Samples, seen: set[str]) -> list[int]:
    """The rows whose image, or whose group, is among the digests."""
    return units.seen_rows(seen, samples.images, samples.groups)


def _once(part: Samples) -> Samples:
    """Each image once: slices of a volume are as many, other rows of one content are not."""
    keys = units.contents(part.images, len(part))
    known = [key if key is None else (key, _slice(part.images[row])) for row, key in enumerate(keys)]
    first: dict[Any, int] = {}
    rows = [row for row, key in enumerate(known) if key is None or first.setdefault(key, row) == row]
    return part if len(rows) == len(part) else part.take(rows)


def _slice(image: Any) -> str:
    return str(image).rpartition(":")[2] if isinstance(image, str | Path) and ".nii" in str(image).lower() else ""


def _even(sizes: Ints, count: int) -> Ints:
    """As equal as the sizes allow: one after the other, each class that still has images gives one."""
    wanted = np.zeros_like(sizes)
    while (missing := count - int(wanted.sum())) > 0:
        able = np.flatnonzero(wanted < sizes)
        each = max(1, missing // len(able))
        for k in able if missing >= len(able) else able[:missing]:
            wanted[k] = min(sizes[k], wanted[k] + each)
    return wanted
