"""What can be read, and is most likely not what was meant: said once, never guessed away."""

import os
from typing import Any

import numpy as np

from zoo.images.scale import Array

_SPAN = 1 / 16  # of the range: 12 bits in 16, or a CT of 4096 values in a range of 65536
_BITS = 14  # of 16


def doubt(image: Any, pixels: Array, shown: Array) -> str | None:
    """Say in a sentence and a step why an image may be on the wrong scale; None where nothing speaks for it.

    Args:
        image: As the caller gave it.
        pixels: Its stored values.
        shown: The same in [0, 1].
    """
    path = os.fspath(image) if isinstance(image, str | os.PathLike) else None
    name = repr(path or getattr(image, "filename", None) or f"an image of {pixels.shape[0]} x {pixels.shape[1]}")
    bits = int(pixels.max()).bit_length() if pixels.dtype == np.uint16 else 16
    if bits <= _BITS and pixels.max() > pixels.min():
        source = f"[zoo.images.reading.read({path!r}, None) / {2**bits - 1}]" if path else f"x / {2**bits - 1}"
        return f"{name} uses {bits} of 16 bits, and is nearly black. If these are all it has, pass {source}"
    if isinstance(image, np.ndarray) and pixels.max() == pixels.min():
        return None  # made so
    low, high = _ends(shown, floats=path is not None and pixels.dtype.kind == "f")
    if high - low >= _SPAN:
        return None
    if high == low:
        return f"{name} is constant ({low:.3g} in [0, 1]). Look at it, and leave it out if it is empty"
    grey = path is not None and pixels.dtype.kind == "f" and pixels.shape[2] == 1
    step = "zoo.load(..., window=[low, high]) in the file's unit" if grey else "arrays scaled to [0, 1]"
    return f"{name} is nearly constant ({low:.3g} to {high:.3g} in [0, 1]). Pass {step}"


def _ends(shown: Array, *, floats: bool) -> tuple[float, float]:
    # Padding, and what lies below a window, is 0: a rim of it makes no picture.
    inside = shown[shown > 0] if floats else shown
    return (float(inside.min()), float(inside.max())) if inside.size else (0.0, 0.0)
