"""From an image file to pixels on a known scale: pictures by Pillow, DICOM by pydicom, NIfTI by nibabel.

A picture gives its integers as they are stored. DICOM and NIfTI give floats in [0, 1]: by the card's window, else by
the view the file itself states, else by the range its bits can hold. Nothing is guessed from the values.
"""

import os

import numpy as np
from PIL import Image

from zoo.images.dicom import SUFFIXES, has_magic, read_dicom
from zoo.images.nifti import VOLUME, read_nifti
from zoo.images.scale import Array, Window, readable, whole_slide

_SLIDES = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif")
_PLAIN = {"1": "L", "L": "L", "LA": "L", "P": "RGB", "RGB": "RGB", "RGBA": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}
_BITS, _PHOTOMETRIC = 258, 262  # TIFF tags


def read(path: str | os.PathLike[str], window: Window | None) -> Array:
    """Read one image.

    Args:
        path: PNG, JPEG, TIFF; DICOM of one frame, known by its suffix or its magic bytes; or a slice of a NIfTI volume:
            `brain.nii.gz:42` is index 42, from 0, of the third axis as stored, with (second, first) axis as (H, W).
        window: The low and high end in the modality's unit (Hounsfield units for CT), or None.

    Returns:
        (H, W) or (H, W, 3): uint8 or uint16 as a picture stores it, else float32 in [0, 1].

    Raises:
        ValueError: The file cannot be read, is not one image, or states no range for its values.
        TypeError: A picture has other than 8 or 16 bits a channel.
        ImportError: pydicom or nibabel is not installed.
    """
    name = os.fspath(path)
    if name.lower().endswith(_SLIDES):
        raise whole_slide(name)
    if volume := VOLUME.fullmatch(name):
        return read_nifti(volume[1], volume[2], window)
    if name.lower().endswith(SUFFIXES) or has_magic(name):
        return read_dicom(name, window)
    return _picture(name)


def decoded(image: Image.Image) -> Array:
    """The stored integers of a PIL image, as (H, W) or (H, W, 3), uint8 or uint16."""
    tags = getattr(image, "tag_v2", {})
    bits = max(tags.get(_BITS, (8,)))
    if image.mode.startswith("I;16") and bits in (8, 16):
        pixels = np.asarray(image, dtype=np.uint16)
        return 65535 - pixels if tags.get(_PHOTOMETRIC) == 0 else pixels  # Pillow inverts WhiteIsZero of 8 bits only
    if image.mode not in _PLAIN:
        kind = f"{bits} bits" if bits not in (8, 16) else f"mode {image.mode!r}"
        raise TypeError(f"an image must have 8 or 16 bits a channel (got {kind}). Pass an array instead.")
    return np.asarray(image.convert(_PLAIN[image.mode]))


def _picture(path: str) -> Array:
    with readable(path, "PNG, JPEG or TIFF"), Image.open(path) as image:
        pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # a camera's JPEG with its previews
        image.load()
    if pages > 1:
        raise ValueError(
            f"image must hold one page (got {pages} in {path!r}). "
            f"Pass one as a PIL image: page = PIL.Image.open({path!r}); page.seek(0)."
        )
    return decoded(image)
