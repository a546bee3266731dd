"""What an image in memory shows, whichever way it is handed over; nobody's image is decoded or changed by looking.

One content are `X` and `X[..., None]`, 8 bits as floats of any width (`X / 255` to their rounding, or `X` itself) and
as `X * 257` in 16, floats of equal values, grey as three equal channels, what is opaque with and without alpha, a
picture with a palette and its colours, and a PIL image and the array of it. Not found are crops and turns, and arrays
of what is elsewhere given as a path: no file is decoded for that.
"""

import io
import os
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[Any]

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM")  # that may be decoded

_PLAIN = {"1": "L", "P": "RGB", "PA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}
_CLOSE = 1e-6
_ULPS = 2  # x / 255, or x times 1 / 255, in half floats
_AT_ONCE = threading.Lock()  # an image that is listed twice has one stream


def values(image: Any) -> Array | None:
    """The values of an array or a PIL image in one spelling; None for a single value, and for what holds none.

    Raises:
        OSError, ValueError, TypeError: It cannot be decoded.
    """
    found = _equal(_plain(_array(image)))
    if found.dtype == object or found.size == 0:
        return None
    first = found[0, 0] if found.ndim == 3 and found.shape[2] in (3, 4) else found.flat[0]
    return None if bool((found == first).all()) else found


def earlier(image: Any) -> Array | None:
    """The values as models remember them that were saved before all of these were one, where that is another spelling.

    Raises:
        OSError, ValueError, TypeError: It cannot be decoded.
    """
    found = _plain(_array(image))
    now = _equal(found)
    return None if (found.dtype, found.shape) == (now.dtype, now.shape) else found


def source(image: Image.Image) -> str | None:
    """The file of one page that a PIL image was opened from, while it shows what is in there."""
    name = os.fsdecode(getattr(image, "filename", None) or "")
    if not os.path.isfile(name):
        return None
    if _is_lazy(image):
        return name if getattr(image, "n_frames", 1) == 1 else None
    try:
        with Image.open(name, formats=FORMATS) as stored:
            if getattr(stored, "n_frames", 1) > 1 or (stored.mode, stored.size) != (image.mode, image.size):
                return None
            return name if np.array_equal(np.asarray(_colours(stored)), np.asarray(_colours(image))) else None
    except Exception:  # whatever became of the file, the image is another
        return None


def _array(image: Any) -> Array:
    return np.asarray(_colours(_fresh(image)) if isinstance(image, Image.Image) else image)


def _is_lazy(image: Image.Image) -> bool:
    return bool(getattr(image, "tile", None)) or getattr(image, "_im", image) is None


def _fresh(image: Image.Image) -> Image.Image:
    """A second image of the same stream, where there is one: a first try at a damaged one would leave it black."""
    stream = getattr(image, "fp", None)
    if stream is None or not _is_lazy(image):
        return image
    with _AT_ONCE:
        place = stream.tell()
        stream.seek(0)
        data = stream.read()
        stream.seek(place)
    again = Image.open(io.BytesIO(data), formats=(image.format or "PNG",))  # by no other reader
    again.seek(image.tell())
    return again if (again.mode, again.size) == (image.mode, image.size) else image


def _colours(image: Image.Image) -> Image.Image:
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert(_PLAIN[image.mode]) if image.mode in _PLAIN else image


def _plain(found: Array) -> Array:
    while found.ndim > 2 and found.shape[-1] == 1:
        found = found[..., 0]
    if found.dtype.kind == "f":
        return _of_unit(found)
    if found.dtype.kind == "u" and found.dtype.itemsize == 2:
        found = found.astype(np.uint16)  # in this machine's order of bytes
        return (found // 257).astype(np.uint8) if not (found % 257).any() else found
    return found


def _of_unit(found: Array) -> Array:
    """Floats k / 255 as k of 8 bits; others as they are."""
    if found.size == 0 or not (found.min() >= 0 and found.max() <= 1):  # NaN is neither
        return found
    steps = np.rint(found * 255)
    return steps.astype(np.uint8) if (np.abs(steps / 255 - found) <= _CLOSE).all() else found


def _equal(found: Array) -> Array:
    """Equal values in one type and shape, whatever type and channels they came in."""
    if found.dtype.kind == "f" and found.size:
        found = _of_8_bits(found)
    if found.ndim == 3 and found.shape[2] in (2, 4) and found.dtype.kind == "u":
        top = np.iinfo(found.dtype).max
        found = found[..., :-1] if (found[..., -1] == top).all() else found
        found = found[..., 0] if found.shape[2] == 1 else found
    if found.ndim == 3 and found.shape[2] == 3 and (found[..., 1:] == found[..., :1]).all():
        return found[..., 0]
    return found


def _of_8_bits(found: Array) -> Array:
    """Floats that are k / 255 to their own rounding, or k, as k of 8 bits; others in 32 bits, which hold half ones."""
    with np.errstate(over="ignore", invalid="ignore"):
        wide = found.astype(np.float32)
    low, high = wide.min(), wide.max()
    if not (low >= 0 and high <= 255):  # NaN is neither
        return wide
    if high > 1:
        return wide.astype(np.uint8) if (wide == np.rint(wide)).all() else wide
    steps = np.rint(wide * 255)
    close = np.maximum(_CLOSE, _ULPS * np.spacing(found).astype(np.float32))
    return steps.astype(np.uint8) if (np.abs(steps / 255 - wide) <= close).all() else wide
