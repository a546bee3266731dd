"""Pictures, by Pillow: as every viewer shows them, at the depth that the file has.

Turned as the EXIF orientation says, in every format; what is transparent shows a white ground. Colour profiles are
left out.
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from zoo.images import deep
from zoo.images.guards import limit, readable
from zoo.images.scale import Array

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM")
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".tif", ".tiff"),
    *(".webp", ".bmp", ".gif", ".pbm", ".pgm", ".ppm", ".pnm"),
)

_KIND = "PNG, JPEG, TIFF, WebP, BMP, GIF or PNM"
_PLAIN = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}
_WITH_ALPHA = {"LA": "LA", "RGBA": "RGBA", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}
_REDUCED, _BITS, _PHOTOMETRIC, _SAMPLE = 254, 258, 262, 339  # TIFF tags
_ORIENTATION = 274
_UNSIGNED = (1, 4)  # sample formats: integers, and those that nobody defined
_KEYED = {"L;2": 85, "L;4": 17}  # Pillow widens these greys to 8 bits, but not the one that is transparent
_BAND = 256  # rows
_TURNS: dict[int, Callable[[Array], Array]] = {
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x),
}


def read_picture(path: str, most: int) -> Array:
    """The integers of a picture as it is shown: (H, W) or (H, W, 3), uint8 or uint16."""
    with readable(path, _KIND), _opened(path, most) as image:
        pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # a camera's JPEG with its previews
        if pages == 1 and deep.is_deep(image):
            with _opened(path, most) as again:
                colours = deep.stored(image, again)
            return _turned(image, _painted(image, colours, _key(image, 1)))
        scale = _key_scale(image) or 1  # known before it is decoded
        image.load()
        limit(*image.size, most)
    if pages > 1:
        raise ValueError(
            f"image must hold one page (got {pages} in {path!r}). "
            f"Pass one as a PIL image: page = PIL.Image.open({path!r}); page.seek(0)."
        )
    return _decoded(image, path, scale)


def decoded(image: Image.Image, most: int) -> Array:
    """The integers of a PIL image, as `read_picture` gives those of a file."""
    path = os.fspath(getattr(image, "filename", "")) or "a PIL image"
    name = path if isinstance(path, str) else os.fsdecode(path)
    with readable(name, "picture"):
        if getattr(image, "tile", None):
            limit(*image.size, most)
        image = deep.fresh(image)
        narrow, scale = deep.is_deep(image), _key_scale(image)
        image.load()
    if narrow:
        raise ValueError(
            f"a PIL image must hold all bits of its file, and Pillow keeps 8 of a colour (got {name!r}). "
            f"{_whole(image)}."
        )
    if scale is None:
        raise ValueError(
            f"a PIL image that is decoded must tell which grey is transparent (got {image.info['transparency']} in "
            f"{name!r}, of 2, 4 or 8 bits). Pass its path, or delete image.info['transparency']."
        )
    return _decoded(image, name, scale)


def _whole(image: Image.Image) -> str:
    """How to pass all bits of a file."""
    return (
        "Pass its path" if image.format in ("PNG", "TIFF") else "Save it as PNG or TIFF of 16 bits, and pass the path"
    )


def _opened(path: str, most: int) -> Image.Image:
    image = Image.open(path, formats=FORMATS)
    try:
        limit(*image.size, most)
    except Exception:
        image.close()
        raise
    return image


def _decoded(image: Image.Image, name: str, scale: int) -> Array:
    tags = getattr(image, "tag_v2", {})
    with readable(name, "picture"):
        bits, samples = max(_listed(tags.get(_BITS, 8))), set(_listed(tags.get(_SAMPLE, 1)))
        if _listed(tags.get(_REDUCED, 0))[0] & 1:
            raise ValueError("it holds a preview of another picture")
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")
    whole = sixteen or image.mode in _PLAIN or image.mode in _WITH_ALPHA
    if bits not in (1, 2, 4, 8, 16) or not whole or not samples <= set(_UNSIGNED):
        kind = f"{bits} bits" if bits not in (8, 16) else f"mode {image.mode!r}"
        if not samples <= set(_UNSIGNED):
            kind = f"signed integers or floats of {bits} bits"
        raise TypeError(
            f"an image must have 8 or 16 unsigned bits a channel (got {kind} in {name!r}). Pass an array instead."
        )
    with readable(name, "picture"):
        pixels = np.asarray(image, dtype=np.uint16) if sixteen else _eight(image)
        if sixteen and tags.get(_PHOTOMETRIC) == 0:  # Pillow inverts WhiteIsZero of 8 bits only
            pixels = 65535 - pixels
        return _turned(image, _painted(image, pixels, _key(image, scale)))


def _eight(image: Image.Image) -> Array:
    """uint8: (H, W), or (H, W, channels) of which an even count holds alpha."""
    if image.mode in _WITH_ALPHA:
        return np.asarray(image.convert(_WITH_ALPHA[image.mode]))
    if image.mode == "P" and "transparency" in image.info:
        return np.asarray(image.convert("RGBA"))
    return np.asarray(image.convert(_PLAIN[image.mode]))


def _key_scale(image: Image.Image) -> int | None:
    """By what Pillow multiplies the greys, but not the transparent one; None where nothing tells it any more."""
    if image.format not in ("PNG", None) or image.mode != "L":
        return 1
    raw = deep.raw_modes(image)
    if raw:
        return max(_KEYED.get(mode, 1) for mode in raw)
    depth, key = deep.png_depth(image), image.info.get("transparency")
    if depth is not None or not isinstance(key, int) or not 0 < key < 16:
        return _KEYED.get(f"L;{depth}", 1)
    return 1 if (np.asarray(image) % _KEYED["L;4"]).any() else None


def _key(image: Image.Image, scale: int) -> Any:
    """The one grey or colour that the file calls transparent, if it does so."""
    key = image.info.get("transparency") if image.mode != "P" else None
    return None if key is None or isinstance(key, bytes) else np.asarray(key) * scale


def _painted(image: Image.Image, pixels: Array, key: Any) -> Array:
    """The colours on white, without their alpha."""
    top = int(np.iinfo(pixels.dtype).max)
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if image.mode == "CMYK" and channels == 4:
        raise ValueError("its inks must have 8 bits")
    if channels in (2, 4):
        colours, alpha = pixels[..., :-1], pixels[..., -1:]
        return _grounded(colours[..., 0] if channels == 2 else colours, alpha[..., 0] if channels == 2 else alpha, top)
    if key is None:
        return pixels
    same = pixels == key.astype(np.int64) % (top + 1)
    hidden = same.all(axis=2) if channels == 3 else same
    return np.where(hidden[..., None] if channels == 3 else hidden, pixels.dtype.type(top), pixels)


def _grounded(colours: Array, alpha: Array, top: int) -> Array:
    if (alpha == top).all():
        return colours
    shown = np.empty_like(colours)
    for at in range(0, len(colours), _BAND):  # in 32 bits a whole picture takes eight times its size
        ink, part = colours[at : at + _BAND].astype(np.uint32), alpha[at : at + _BAND].astype(np.uint32)
        shown[at : at + _BAND] = (ink * part + top * (top - part) + top // 2) // top
    return shown


def _turned(image: Image.Image, pixels: Array) -> Array:
    # TIFF is turned by Pillow, which then takes the tag away.
    turn = _TURNS.get(_orientation(image))
    return pixels if turn is None else turn(pixels)


def _orientation(image: Image.Image) -> int:
    found = image.getexif().get(_ORIENTATION, 1)
    return found if isinstance(found, int) else 1


def _listed(numbers: Any) -> tuple[int, ...]:
    return tuple(numbers) if isinstance(numbers, tuple) else (numbers,)
