"""Colours of 16 bits, of which Pillow keeps 8: read twice, the high bytes and the low ones."""

import io
import os
import threading
from typing import Any, cast

import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]

_OTHER = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L", "RGBX;16B": "RGBX;16L", "CMYK;16B": "CMYK;16L"}
# Native, as libtiff gives them; every machine that torch runs on has the low byte first.
_LOW = {**_OTHER, **{low: high for high, low in _OTHER.items()}, **{high[:-1] + "N": high for high in _OTHER}}
_AT_ONCE = threading.Lock()  # an image that is listed twice has one stream
_PAIRED = "LA;16B"
_BITS, _PLANES = 258, 284  # TIFF tags
_HEAD = 65_536  # bytes; metadata may go before what tells the depth


def is_deep(image: Image.Image) -> bool:
    """Tell whether the file behind a picture holds more than 8 bits a colour, as far as Pillow still knows.

    A copy (`copy`, `convert`, `resize`, an array) knows nothing of its file any more.
    """
    if image.mode.startswith(("I", "F")):
        return False
    if any(";16" in raw for raw in raw_modes(image)) or max(_numbers(image, _BITS), default=8) > 8:
        return True
    if image.format == "PPM" and image.mode == "RGB":
        return any(isinstance(tile.args, tuple) and tile.args[-1] > 255 for tile in _tiles(image))
    if image.format == "PNG":
        return not raw_modes(image) and (png_depth(image) or 8) > 8
    return image.format in _OF_HEADER and _OF_HEADER[image.format](_head(image, _HEAD)) > 8


def fresh(image: Image.Image) -> Image.Image:
    """A second image of the same stream, where one is not decoded yet: whoever holds the first finds it as it was."""
    stream = getattr(image, "fp", None)
    if stream is None or not (getattr(image, "tile", None) or getattr(image, "_im", image) is None):
        return image
    with _AT_ONCE:
        place = stream.tell()
        stream.seek(0)
        data = stream.read()
        stream.seek(place)
    again = Image.open(io.BytesIO(data), formats=(image.format or "PNG",))  # by no other reader
    again.seek(image.tell())
    again.info = dict(image.info)
    return again if (again.mode, again.size) == (image.mode, image.size) else image  # a draft is its own


def _tiles(image: Image.Image) -> list[Any]:
    """How a picture lies in its file; of one that is decoded already, if the file is there to be asked."""
    if getattr(image, "tile", None) or not os.path.isfile(getattr(image, "filename", "")):
        return list(getattr(image, "tile", []))
    with Image.open(getattr(image, "filename", ""), formats=("PPM",)) as again:
        return list(getattr(again, "tile", []))


def raw_modes(image: Image.Image) -> list[str]:
    """How the pixels of a picture that is not decoded yet lie in its file."""
    found = [
        tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0] for tile in getattr(image, "tile", [])
    ]
    return [raw for raw in found if isinstance(raw, str)]


def stored(high: Image.Image, low: Image.Image) -> Array:
    """The uint16 colours of one picture, opened twice and not decoded yet, with their alpha, as (H, W, channels)."""
    raw = set(raw_modes(high))
    if _numbers(high, _PLANES) == [2] or len(raw) != 1 or not raw <= {*_LOW, _PAIRED}:
        raise ValueError("its colours of more than 8 bits must be 16 bits, side by side, with alpha of its own")
    if raw == {_PAIRED}:
        pairs = _decoded(high, "RGBA").astype(np.uint16)  # (H, W, 4): both bytes of grey, both of alpha
        return pairs[..., ::2] << 8 | pairs[..., 1::2]
    pixels = _decoded(high).astype(np.uint16)
    pixels <<= 8
    pixels |= _decoded(low, _LOW[raw.pop()])
    return pixels


def _decoded(image: Any, raw: str | None = None) -> Array:
    if raw is not None:
        args = [tile.args for tile in image.tile]
        args = [raw if isinstance(one, str) else (raw, *one[1:]) for one in args]
        image.tile = [tile._replace(args=one) for tile, one in zip(image.tile, args, strict=True)]
    image.load()
    return np.asarray(image)


def png_depth(image: Image.Image) -> int | None:
    """Bits a channel in the file or stream of a picture that is decoded already, if it is there to be asked."""
    header = _head(image, 25) if image.format == "PNG" else b""
    return header[24] if len(header) == 25 and header.startswith(b"\x89PNG") else None


def _head(image: Image.Image, count: int) -> bytes:
    """What a picture was opened from begins with; nothing where that is gone."""
    name = getattr(image, "filename", "")
    if os.path.isfile(name):
        with open(name, "rb") as file:
            return file.read(count)
    streams: list[Any] = [getattr(image, "fp", None), getattr(image, "_fp", None)]  # PNG keeps the second
    for stream in streams:
        try:
            with _AT_ONCE:
                place = stream.tell()
                stream.seek(0)
                found = stream.read(count)
                stream.seek(place)
            return cast(bytes, found)
        except (AttributeError, OSError, ValueError):  # there is none, or it is closed
            continue
    return b""


def _jpeg2000(header: bytes) -> int:
    """Bits of the first channel: ISO/IEC 15444-1 A.5.1, Ssiz of the segment SIZ."""
    at = header.find(b"\xff\x4f\xff\x51")
    return (header[at + 42] & 0x7F) + 1 if 0 <= at < len(header) - 42 else 8


def _avif(header: bytes) -> int:
    """10 (or 12) where the first `av1C` has the flag high_bitdepth: AV1 Codec ISO Media File Format Binding, 2.3.3."""
    at = header.find(b"av1C")
    return 10 if 0 <= at < len(header) - 6 and header[at + 6] & 0x40 else 8


# Formats that `read` refuses, and Pillow opens: what it gives of them has 8 bits a colour, whatever they hold.
_OF_HEADER = {"JPEG2000": _jpeg2000, "AVIF": _avif}


def _numbers(image: Image.Image, tag: int) -> list[int]:
    found = getattr(image, "tag_v2", {}).get(tag, ())
    return list(found) if isinstance(found, tuple) else [found]
