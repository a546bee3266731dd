"""Slices of NIfTI volumes, by nibabel, one read at a time."""

import gzip
import re
import struct
from typing import Any

import numpy as np

from zoo.images.guards import extra, limit, readable
from zoo.images.scale import Array, Window, windowed

VOLUME = re.compile(r"(.+\.nii(?:\.gz)?)(?::(.*))?", flags=re.IGNORECASE)

_LARGEST = 540  # bytes of a header, NIfTI-2's
_HEADER = 2**24  # bytes before the voxels, extensions included


def read_nifti(path: str, index: str | None, window: Window | None, most: int) -> Array:
    """Slice `index` of the third axis as stored, (second, first) axis as (H, W), float32 in [0, 1] by the window."""
    with extra("nibabel", "NIfTI"):
        import nibabel
    if window is None:
        raise ValueError(
            f"a card must have a window to read NIfTI, which states no range (got None for {path!r}). "
            "Pass zoo.load(..., window=[low, high]), in the volume's unit, or arrays in [0, 1]."
        )
    with readable(path, "NIfTI"):
        _check_header(path)
        volume: Any = nibabel.load(path)
        shape, kind = volume.shape, volume.get_data_dtype()
    if kind.kind not in "iuf":
        raise ValueError(f"a volume must hold real numbers (got {kind} in {path!r}). Convert it first.")
    chosen = _index(path, shape, index)
    with readable(path, "NIfTI"):
        limit(shape[0], shape[1], most)
        # dataobj reads and scales one slice; get_fdata would read the volume.
        place = (slice(None), slice(None), chosen, *(0 for _ in shape[3:]))[: len(shape)]
        values = np.asarray(volume.dataobj[place], dtype=np.float64).T
        if np.isnan(values).any():
            raise ValueError("its values must be numbers, not NaN")
        return windowed(values, window)


def _check_header(path: str) -> None:
    """Refuse a header that announces more than it can need: what lies before the voxels is read at once."""
    opened = gzip.open if path.lower().endswith(".gz") else open
    with opened(path, "rb") as file:
        header = file.read(_LARGEST)
    order = "<" if header[:1] in (b"\x5c", b"\x1c") else ">"  # 348 or 540, the header's size
    offset = struct.unpack_from(*(f"{order}q", header, 168) if 0x1C in header[:4:3] else (f"{order}f", header, 108))[0]
    if not offset <= _HEADER:
        raise ValueError(f"its header must be of at most {_HEADER} bytes, not {offset:g}")


def _index(path: str, shape: tuple[int, ...], index: str | None) -> int:
    if len(shape) < 2 or any(side != 1 for side in shape[3:]):
        one = ", ".join("0" * (len(shape) - 2))
        raise ValueError(
            f"a volume must be 3-D (got {shape} in {path!r}). "
            f"Pass slices as arrays: [nibabel.load({path!r}).get_fdata()[:, :, {one}].T]."
        )
    slices = shape[2] if len(shape) > 2 else 1
    if index is None and slices == 1:
        return 0
    if index is None or not index.isdecimal() or int(index) >= slices:
        raise ValueError(f"slice must be in 0..{slices - 1} (got {index!r}). Try {f'{path}:{slices // 2}'!r}.")
    return int(index)
