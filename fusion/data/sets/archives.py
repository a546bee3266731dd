"""MedMNIST's `.npz`: `train_images`, `train_labels`, and the same of `val` and `test`."""

import warnings
import zipfile
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion.data.samples import Samples
from fusion.evaluation import units

_ARCHIVED = {"train": "train", "validation": "val", "test": "test"}  # MedMNIST's names of the parts

Array = npt.NDArray[Any]


def parts(source: Path) -> list[str]:
    """The parts that the archive holds, by our names; all, where it does not open, as whoever reads it then says."""
    try:
        with np.load(source) as archive:
            held = set(archive)
    except Exception:  # numpy reads headers by Python's own parser: of a damaged file anything may come
        return list(_ARCHIVED)
    return [part for part, name in _ARCHIVED.items() if f"{name}_images" in held]


def read(source: Path, parts: Sequence[str]) -> dict[str, Samples]:
    """Those of the parts that the archive holds; equal images of a part are one group.

    Raises:
        ValueError: It is no such archive, holds none of the parts, or its parts differ in size or labels.
    """
    names = {_ARCHIVED[part]: part for part in parts if part in _ARCHIVED}
    try:
        with np.load(source) as archive:
            held = list(archive)
            there = [name for name in names if f"{name}_images" in held]
            stored = {name: (archive[f"{name}_images"], archive[f"{name}_labels"]) for name in there}
    except Exception as error:
        # Of a ValueError numpy's own text advises to unpickle.
        why = (
            error if isinstance(error, OSError | KeyError | EOFError | zipfile.BadZipFile) else "no archive of numbers"
        )
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
        return _grouped(images, labels.ravel().astype(str))
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"{name}_labels of {source} must be 0 and 1 (got {labels.max()}). Store an indicator.")
    width = len(str(labels.shape[1] - 1))  # sorted names are then in the order of the columns
    return _grouped(images, labels.astype(np.int64), [f"{k:0{width}}" for k in range(labels.shape[1])])


def joined(parts: Mapping[str, Samples]) -> Samples:
    """All parts as one; equal images are one group."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    images, labels = (np.concatenate([getattr(data, key) for data in parts.values()]) for key in ("images", "labels"))
    return _grouped(images, labels, next(iter(parts.values())).names)


def warn_shared(source: Path, parts: Mapping[str, Samples]) -> None:
    """Warn of images that are in two parts: published parts are not ours to change, but figures on them flatter."""
    held = {part: set(units.contents(data.images, len(data))) - {None} for part, data in parts.items()}
    shared = {f"{a} and {b}": len(held[a] & held[b]) for a, b in combinations(held, 2)}
    if said := [f"{pair} share {count}" for pair, count in shared.items() if count]:
        warnings.warn(
            f"{source}: parts hold the same images ({', '.join(said)}). Figures flatter by these.", stacklevel=2
        )


def _grouped(images: Array, labels: Array, names: Sequence[str] | None = None) -> Samples:
    return Samples(images, labels, units.held(None, images, len(labels)), names)
