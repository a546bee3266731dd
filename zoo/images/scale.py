"""Stored values to [0, 1], and the limits and guards that all readers share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]
Window = Sequence[float]


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


def limit(width: int, height: int) -> None:
    """Pillow's limit, for the other readers."""
    if Image.MAX_IMAGE_PIXELS is not None and width * height > 2 * Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError(f"{width} x {height} pixels")


def whole_slide(path: str) -> ValueError:
    """Return the error for a whole slide, whichever reader meets it."""
    return ValueError(
        f"image must not be a whole slide (got {path!r}). "
        "Cut tiles with openslide, tiatoolbox or wsidicom, and pass them as PIL images or arrays."
    )


@contextmanager
def extra(module: str, kind: str) -> Iterator[None]:
    """Guard an import: where it fails, say what to install."""
    try:
        yield
    except ImportError:
        raise ImportError(
            f"{module} must be installed to read {kind} (got none). Run pip install 'sslzoo[dicom]'."
        ) from None


@contextmanager
def readable(path: str, kind: str) -> Iterator[None]:
    """Guard a decoder: whatever it stumbles over is a file that must be replaced."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"image must be small enough to decode at once (got {path!r}: {error}). Cut tiles, and pass them as arrays."
        ) from None
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        # A decoder raises whatever a broken file makes it stumble over; those in Rust panic, outside Exception.
        step = "Run pip install 'sslzoo[dicom]', or replace it." if kind == "DICOM" else "Replace it."
        cause = " ".join(str(error).split())
        raise ValueError(f"image must be a readable {kind} (got {path!r}: {cause}). {step}") from None


def unit(pixels: Array) -> Array:
    """Scale stored values to float32 in [0, 1]: integers by their type's maximum, floats must already be there."""
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels.astype(np.float32) / np.iinfo(pixels.dtype).max
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
