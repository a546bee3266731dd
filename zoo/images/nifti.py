"""Slices of NIfTI volumes, by nibabel, one read at a time."""

import re
from typing import Any

import numpy as np

from zoo.images.scale import Array, Window, extra, limit, readable, windowed

VOLUME = re.compile(r"(.+\.nii(?:\.gz)?)(?::(.*))?", flags=re.IGNORECASE)


def read_nifti(path: str, index: str | None, window: Window | None) -> Array:
    """Slice `index` of the third axis as stored, (second, first) axis as (H, W), float32 in [0, 1] by the window."""
    with extra("nibabel", "NIfTI"):
        import nibabel
    if window is None:
        raise ValueError(
            f"a card must have a window to read NIfTI, which states no range (got None for {path!r}). "
            "Pass zoo.load(..., card=PATH) with an own card that has one, or arrays in [0, 1]."
        )
    with readable(path, "NIfTI"):
        volume: Any = nibabel.load(path)
        shape, kind = volume.shape, volume.get_data_dtype()
    if kind.kind not in "iuf":
        raise ValueError(f"a volume must hold real numbers (got {kind} in {path!r}). Convert it first.")
    chosen = _index(path, shape, index)
    with readable(path, "NIfTI"):
        limit(shape[0], shape[1])
        # dataobj reads and scales one slice; get_fdata would read the volume.
        values = np.asarray(volume.dataobj[:, :, chosen], dtype=np.float64).T
        if np.isnan(values).any():
            raise ValueError("its values must be numbers, not NaN")
        return windowed(values, window)


def _index(path: str, shape: tuple[int, ...], index: str | None) -> int:
    if len(shape) != 3:
        one = ", ".join("0" * (len(shape) - 2))
        raise ValueError(
            f"a volume must be 3-D (got {shape} in {path!r}). "
            f"Pass slices as arrays: [nibabel.load({path!r}).get_fdata()[:, :, {one}].T]."
        )
    if index is None or not index.isdecimal() or int(index) >= shape[2]:
        raise ValueError(f"slice must be in 0..{shape[2] - 1} (got {index!r}). Try {f'{path}:{shape[2] // 2}'!r}.")
    return int(index)
