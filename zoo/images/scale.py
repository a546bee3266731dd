"""Stored values to [0, 1]: by a window, by the span of what a file can hold, or by the maximum of their type."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Window = Sequence[float]

_BAND = 2**20  # pixels


def windowed(values: Array, window: Window) -> Array:
    """Map `window` to [0, 1], as float32; what lies outside becomes 0 or 1."""
    low, high = window
    scaled: Array = ((values - low) / (high - low)).clip(0, 1).astype(np.float32)
    return scaled


def within(values: Array, span: Window) -> Array:
    """Map `span` to [0, 1], and refuse what lies outside it."""
    if values.min() < span[0] or values.max() > span[1]:
        raise ValueError(f"its values must lie in {span[0]}..{span[1]}, not {values.min()}..{values.max()}")
    return windowed(values, span)


def banded(function: Callable[[Array], Array], stored: Array) -> Array:
    """Apply what maps each pixel by itself to some rows at a time: in 64 bits an image takes ten times its size."""
    rows = max(1, _BAND // stored.shape[1])
    return np.concatenate([function(stored[at : at + rows]) for at in range(0, len(stored), rows)])


def unit(pixels: Array) -> Array:
    """Scale stored values to float32 in [0, 1]: integers by their type's maximum, floats must already be there."""
    if pixels.dtype in (np.uint8, np.uint16):
        scaled = pixels.astype(np.float32)
        scaled /= np.iinfo(pixels.dtype).max
        return scaled
    if pixels.dtype.kind == "b":
        return pixels.astype(np.float32)
    if pixels.dtype.kind != "f":
        raise TypeError(f"images must be uint8, uint16 or float in [0, 1] (got {pixels.dtype}). Convert them first.")
    # Written so that NaN fails too.
    if not (pixels.min() >= 0 and pixels.max() <= 1):
        raise ValueError(
            f"float images must lie in [0, 1] (got {pixels.min():g} to {pixels.max():g}). Rescale them, or pass uint8."
        )
    return pixels.astype(np.float32)
