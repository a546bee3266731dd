"""The labelled task that ships: which of six brain regions is at the centre of an axial T1 patch?

Training and validation patches come from one brain (Colin27), test patches from another (the MNI152 average). Sources
and licences: `fusion/data/sets/_brain_regions/NOTICE`.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fusion.data.samples import Samples

FOLDER = Path(__file__).parent / "_brain_regions"
SIZE = 64

Part = Literal["train", "validation", "test"]
_FILES = {"train": "colin27.npz", "validation": "colin27.npz", "test": "mni152.npz"}


def brain_regions(part: Part, *, labels: int | None = None, variant: str = "matched", seed: int = 0) -> Samples:
    """One part of the brain-region task.

    Args:
        part: `train`, `validation` (both Colin27, in slabs 3 mm apart) or `test` (MNI152).
        labels: Draw this many patches, the same number of each region; None takes all.
        variant: `matched` (brain-extracted, like the test brain) or `shifted` (training patches with the skull on).
        seed: Of the draw.

    Raises:
        ValueError: A part or variant is unknown, or `labels` is not a multiple of 6 that the part can give.

    Example:
        >>> from fusion import brain_regions
        >>> brain_regions("train", labels=60).images.shape
        (60, 64, 64)
    """
    if part not in _FILES or variant not in ("matched", "shifted"):
        raise ValueError(
            f"part must be train, validation or test, variant matched or shifted (got {part!r}, {variant!r}). "
            'Try brain_regions("train").'
        )
    with np.load(FOLDER / _FILES[part]) as file:
        rows = np.flatnonzero(file["part"] == part)
        if labels is not None:
            rows = _draw(rows, file["region"], labels, seed)
        stack = file["head" if variant == "shifted" and part == "train" else "brain"]
        slabs = file["slab"][rows]
        if part == "test":  # a slab at one height of another brain is another slab
            slabs = np.char.add("mni152-", slabs)
        return Samples(_cut(stack, file, rows), file["region"][rows], slabs)


def _draw(rows: npt.NDArray[Any], regions: npt.NDArray[Any], count: int, seed: int) -> npt.NDArray[Any]:
    names, available = np.unique(regions[rows], return_counts=True)
    each, rest = divmod(count, len(names))
    if rest or not 0 < each <= available.min():
        most = len(names) * int(available.min())
        raise ValueError(f"labels must be a multiple of {len(names)} up to {most} (got {count}). Try labels=300.")
    rng = np.random.default_rng(seed)
    drawn = [rng.choice(rows[regions[rows] == name], each, replace=False) for name in names]
    return np.sort(np.concatenate(drawn))


def _cut(stack: npt.NDArray[np.uint8], file: Any, rows: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    places = zip(file["plane"][rows], file["top"][rows], file["left"][rows], strict=True)
    return np.stack([stack[z, top : top + SIZE, left : left + SIZE] for z, top, left in places])
