"""Limits and guards that all readers share: what may be opened, how large it may be, and what a decoder raises."""

import math
import os
import re
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

LIMIT = 2**25  # pixels of one image; an encoder sees a few hundred a side, and a decoded pixel takes up to 30 bytes

_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
_DECODERS = "pylibjpeg pylibjpeg-openjpeg pylibjpeg-rle python-gdcm"

_JPEG = b"\xff\xd8"
_JPEG2000 = re.compile(rb"\xff\x4f\xff\x51(?=.{38})", re.DOTALL)
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # start of frame of JPEG and, F7, of JPEG-LS


class TooLargeError(Exception):
    """An image has more pixels than may be decoded at once."""


def limit(width: int, height: int, most: int) -> None:
    """Refuse an image of more than `most` pixels before it is decoded."""
    if width * height > most:
        step = f"or pass limit={width * height} to encoder.preprocess"
        raise TooLargeError(f"{width} x {height} pixels). Cut tiles and pass them as arrays, {step}.")


def declared(code: bytes) -> tuple[int, int, int] | None:
    """(width, height, samples) that a JPEG, JPEG-LS or JPEG 2000 code stream declares; None of any other.

    Its decoder reads these, and no record around it binds them.
    """
    found = [struct.unpack_from(">4I16xH", code, at.start() + 8) for at in _JPEG2000.finditer(code)]
    if found:  # a file of boxes may hold more than one
        return max(((right - left, low - top, count) for right, low, left, top, count in found), key=math.prod)
    return _jpeg(code) if code.startswith(_JPEG) else None


def _jpeg(code: bytes) -> tuple[int, int, int] | None:
    at = 2
    while at + 10 <= len(code):
        if code[at] != 0xFF:
            return None
        if code[at + 1] == 0xFF:  # fill
            at += 1
        elif code[at + 1] in _FRAMES:
            height, width, samples = struct.unpack_from(">2HB", code, at + 5)
            return width, height, samples
        else:
            at += 2 + max(2, struct.unpack_from(">H", code, at + 2)[0])
    return None


def regular(path: str) -> None:
    """Refuse whatever is no file with an end: a pipe would be waited for, a device never stops."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        fact = getattr(error, "strerror", None) or error
        raise ValueError(f"image must be a readable file (got {path!r}: {fact}). Check the path.") from None
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "a device")
        raise ValueError(f"image must be a regular file (got {path!r}: {kind}). Pass the path of a file.")


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
        raise ImportError(f"{module} must be installed to read {kind} (got none). Run pip install {module}.") from None


@contextmanager
def readable(path: str, kind: str) -> Iterator[None]:
    """Guard a decoder: whatever it stumbles over is a file that must be replaced."""
    try:
        yield
    except TooLargeError as error:
        raise ValueError(f"image must be small enough to decode at once (got {path!r}: {error}") from None
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"image must be small enough to decode at once (got {path!r}: {error}). Cut tiles and pass them as arrays."
        ) from None
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        # A decoder raises whatever a broken file makes it stumble over; those in Rust panic, outside Exception.
        cause = " ".join(str(error).split()) or type(error).__name__
        step = f"Run pip install {_DECODERS}." if "missing dependencies" in cause else "Replace it."
        raise ValueError(f"image must be a readable {kind} (got {path!r}: {cause}). {step}") from None
