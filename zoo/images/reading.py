"""From an image to pixels on a known scale: pictures by Pillow, DICOM by pydicom, NIfTI by nibabel.

A picture gives its integers as they are shown. DICOM and NIfTI give floats in [0, 1]: by the card's window, else by
the view the file itself states, else by the range its bits can hold. Nothing is guessed from the values.
"""

import os
from typing import Any

import numpy as np
from PIL import Image

from zoo.images import dicom, pictures
from zoo.images.dicom import has_magic, read_dicom
from zoo.images.guards import LIMIT, regular, whole_slide
from zoo.images.nifti import VOLUME, read_nifti
from zoo.images.pictures import decoded, read_picture
from zoo.images.scale import Array, Window, unit, windowed

_SLIDES = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif")


def read(path: str | os.PathLike[str], window: Window | None, *, limit: int = LIMIT) -> Array:
    """Read one image.

    Args:
        path: PNG, JPEG, TIFF, WebP, BMP, GIF or PNM of one page; DICOM of one frame, known by its suffix or its magic
            bytes; or a slice of a NIfTI volume: `brain.nii.gz:42` is index 42, from 0, of the third axis as stored,
            with (second, first) axis as (H, W).
        window: The low and high end in the modality's unit (Hounsfield units for CT), or None.
        limit: The most pixels to decode.

    Returns:
        (H, W) or (H, W, 3): uint8 or uint16 as a picture shows it, else float32 in [0, 1].

    Raises:
        ValueError: The file cannot be read, is not one image, or states no range for its values.
        TypeError: A picture has other than 8 or 16 unsigned bits a channel.
        ImportError: pydicom or nibabel is not installed.
    """
    name = os.fspath(path)
    if not isinstance(name, str):
        raise TypeError(f"a path must be text (got {name!r}). Pass os.fsdecode(path).")
    if name.lower().endswith(_SLIDES):
        raise whole_slide(name)
    if volume := VOLUME.fullmatch(name):
        return _volume(volume[1], volume[2], window, limit)
    regular(name)
    if name.lower().endswith(dicom.SUFFIXES) or has_magic(name):
        return read_dicom(name, window, limit)
    return read_picture(name, limit)


def stored(image: Any, window: Window | None, *, limit: int = LIMIT) -> Array:
    """The stored values of one path, PIL image or array, as (H, W, 1 or 3); see `shown`."""
    if isinstance(image, np.ndarray):
        return _with_channels(_numbers(image))
    if isinstance(image, Image.Image):
        return _with_channels(decoded(image, limit))
    if isinstance(image, str | os.PathLike):
        return _with_channels(read(image, window, limit=limit))
    raise TypeError(f"an image must be a path, PIL image or array (got {type(image).__name__}). Convert it first.")


def shown(image: Any, pixels: Array, window: Window | None) -> Array:
    """What `stored` gave of `image`, as float32 in [0, 1]."""
    if isinstance(image, np.ndarray) and window is not None and pixels.dtype.kind == "f":
        return unit(windowed(pixels, window))
    return unit(pixels)


def is_image(path: str | os.PathLike[str]) -> bool:
    """Tell whether `encoder.preprocess` takes a file for an image: by its name, else by DICOM's magic bytes.

    A folder, a pipe or a device is none, whatever its name; whether a file can be decoded is told by `zoo.fault`.

    Example:
        >>> import zoo
        >>> zoo.is_image("scan.webp"), zoo.is_image("brain.nii.gz:42"), zoo.is_image("labels.csv")
        (True, True, False)
    """
    name = os.fsdecode(path)
    if volume := VOLUME.fullmatch(name):
        return volume[2] is not None and not _special(volume[1])
    if _special(name) or name.lower().endswith(_SLIDES):
        return False
    return name.lower().endswith((*pictures.SUFFIXES, *dicom.SUFFIXES)) or (os.path.isfile(name) and has_magic(name))


def fault(path: str | os.PathLike[str], window: Window | None = None, *, limit: int = LIMIT) -> str | None:
    """Why `encoder.preprocess` cannot read a file, or None: it is decoded as `preprocess` decodes it.

    Args:
        path: As `encoder.preprocess` takes it.
        window: Of the encoder's card; NIfTI cannot be read without one.
        limit: The most pixels to decode.

    Example:
        >>> import zoo
        >>> zoo.fault("missing.png")
        "image must be a readable file (got 'missing.png': No such file or directory). Check the path."
    """
    try:
        shown(path, stored(path, window, limit=limit), window)
    except (ValueError, TypeError, OSError, ImportError) as error:
        return str(error)
    return None


def _volume(path: str, index: str | None, window: Window | None, most: int) -> Array:
    if window is not None:  # without one, no file helps
        regular(path)
    return read_nifti(path, index, window, most)


def _special(path: str) -> bool:
    return os.path.exists(path) and not os.path.isfile(path)


def _numbers(pixels: Array) -> Array:
    """Numbers in this machine's order of bytes, none of them masked, without axes of 1 behind the channels."""
    if np.ma.is_masked(pixels):
        raise TypeError("an array must not have masked pixels (got some). Pass x.filled(VALUE).")
    while pixels.ndim > 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    return np.asarray(pixels, dtype=pixels.dtype.newbyteorder("="))


def _with_channels(pixels: Array) -> Array:
    if pixels.ndim == 2:
        pixels = pixels[..., None]  # (H, W) -> (H, W, 1)
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
        raise ValueError(f"an image must be (H, W) or (H, W, 1 or 3), not empty (got {pixels.shape}). Check its axes.")
    return pixels
