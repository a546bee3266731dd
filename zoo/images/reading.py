"""From an image file to pixels on a known scale: pictures by Pillow, DICOM by pydicom, NIfTI by nibabel.

A picture gives its integers as they are stored. DICOM and NIfTI give floats in [0, 1]: by the card's window, else by
the view the file itself states, else by the range its bits can hold. Nothing is guessed from the values.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Array = np.ndarray[Any, Any]
Window = Sequence[float]

_SLIDES = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif")
_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"  # VL Whole Slide Microscopy Image Storage
_DICOM = (".dcm", ".dicom", ".ima")
_NIFTI = re.compile(r"(.+\.nii(?:\.gz)?)(?::(.*))?", flags=re.IGNORECASE)
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
        raise _slide(name)
    if volume := _NIFTI.fullmatch(name):
        return _nifti(volume[1], volume[2], window)
    if name.lower().endswith(_DICOM) or _has_magic(name):
        return _dicom(name, window)
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


def windowed(values: Array, window: Window) -> Array:
    """Map `window` to [0, 1], as float32; what lies outside becomes 0 or 1."""
    low, high = window
    scaled: Array = ((values - low) / (high - low)).clip(0, 1).astype(np.float32)
    return scaled


def _picture(path: str) -> Array:
    with _readable(path, "PNG, JPEG or TIFF"), Image.open(path) as image:
        pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # a camera's JPEG with its previews
        image.load()
    if pages > 1:
        raise ValueError(
            f"image must hold one page (got {pages} in {path!r}). "
            f"Pass one as a PIL image: page = PIL.Image.open({path!r}); page.seek(0)."
        )
    return decoded(image)


def _nifti(path: str, index: str | None, window: Window | None) -> Array:
    with _extra("nibabel", "NIfTI"):
        import nibabel
    if window is None:
        raise ValueError(
            f"a card must have a window to read NIfTI, which states no range (got None for {path!r}). "
            "Pass zoo.load(..., card=PATH) with an own card that has one, or arrays in [0, 1]."
        )
    with _readable(path, "NIfTI"):
        volume: Any = nibabel.load(path)
        shape, kind = volume.shape, volume.get_data_dtype()
    if kind.kind not in "iuf":
        raise ValueError(f"a volume must hold real numbers (got {kind} in {path!r}). Convert it first.")
    chosen = _index(path, shape, index)
    with _readable(path, "NIfTI"):
        _limit(shape[0], shape[1])
        # dataobj reads and scales one slice; get_fdata would read the volume.
        values = np.asarray(volume.dataobj[:, :, chosen], dtype=np.float64).T
        if np.isnan(values).any():
            raise ValueError("its values must be numbers, not NaN")
        return windowed(values, window)


def _index(path: str, shape: tuple[int, ...], index: str | None) -> int:
    if len(shape) != 3:
        one = ", ".join("0" * (len(shape) - 2))
        raise ValueError(
            f"a volume must be 3-D (got {shape} in {path!r}). "
            f"Pass slices as arrays: [nibabel.load({path!r}).get_fdata()[:, :, {one}].T]."
        )
    if index is None or not index.isdecimal() or int(index) >= shape[2]:
        raise ValueError(f"slice must be in 0..{shape[2] - 1} (got {index!r}). Try {f'{path}:{shape[2] // 2}'!r}.")
    return int(index)


def _dicom(path: str, window: Window | None) -> Array:
    with _extra("pydicom", "DICOM"):
        import pydicom
        from pydicom.pixels import get_decoder
    with _readable(path, "DICOM"):
        record = pydicom.dcmread(path, defer_size="1 MB")
        frames, bits = int(record.get("NumberOfFrames") or 1), int(record.get("BitsAllocated") or 0)
        slide = record.get("SOPClassUID") == _SLIDE
    if slide:
        raise _slide(path)
    _check(path, record, frames=frames, bits=bits, span="[0, 1]" if window is None else "the card's window's unit")
    with _readable(path, "DICOM"):
        _limit(record.Columns, record.Rows)
        stored, form = get_decoder(record.file_meta.TransferSyntaxUID).as_array(record)
        if form["photometric_interpretation"] in ("MONOCHROME1", "MONOCHROME2"):
            return _grey(record, stored, window)
        return _colour(record, stored, str(form["photometric_interpretation"]))


def _check(path: str, record: "Dataset", *, frames: int, bits: int, span: str) -> None:
    code = f"pydicom.pixels.pixel_array({path!r}"
    if frames > 1:
        raise ValueError(
            f"image must hold one frame (got {frames} in {path!r}). "
            f"Pass one as an array, uint8 or scaled to {span}: [{code}, index=0)]."
        )
    if bits > 16:
        raise ValueError(
            f"image must hold integers of at most 16 bits (got {bits} bits in {path!r}). "
            f"Pass an array scaled to {span}: [{code})]."
        )
    if "PixelData" not in record:
        raise ValueError(f"image must hold pixels (got none in {path!r}). Pass a file that holds an image.")


def _grey(record: "Dataset", stored: Array, window: Window | None) -> Array:
    padding = _padding(record, stored)
    values, span = _modality(record, stored.astype(np.int64))
    shown = _view(record, values, span) if window is None else windowed(values, window)
    if record.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    shown[padding] = 0
    return shown


def _padding(record: "Dataset", stored: Array) -> Array:
    """Where a pixel only fills up the rectangle."""
    value = record.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, dtype=bool)
    limit = record.get("PixelPaddingRangeLimit")
    # Both are 16 bit, and files that declare the wrong sign are common: -2000 as 63536.
    kind = np.int16 if record.PixelRepresentation else np.uint16
    low, high = sorted(np.array([value, value if limit is None else limit]).astype(kind))
    inside: Array = (stored >= low) & (stored <= high)
    return inside


def _modality(record: "Dataset", stored: Array) -> tuple[Array, Window]:
    """Values in the modality's unit, and the range of what the file could hold."""
    from pydicom import pixels

    if record.get("ModalityLUTSequence"):
        bits = _widened(record.ModalityLUTSequence[0])
        return pixels.apply_modality_lut(stored, record).astype(np.int64), (0, 2**bits - 1)
    if record.get("RescaleSlope") == 0:
        raise ValueError("its rescale slope must not be 0")
    low = -(2 ** (record.BitsStored - 1)) if record.PixelRepresentation else 0
    ends = pixels.apply_modality_lut(np.array([low, low + 2**record.BitsStored - 1]), record)
    return pixels.apply_modality_lut(stored, record), (ends.min(), ends.max())


def _view(record: "Dataset", values: Array, span: Window) -> Array:
    """The file's first look-up table, else its first window, else all that it could hold, as [0, 1]."""
    from pydicom import pixels

    if record.get("VOILUTSequence"):
        table = record.VOILUTSequence[0]
        bits = _widened(table)
        count, first, _ = table.LUTDescriptor
        inside = np.rint(values).astype(np.int64).clip(first, first + (count or 2**16) - 1)
        return _within(pixels.apply_voi(inside, record), (0, 2**bits - 1))
    if record.get("WindowCenter") is None or record.get("WindowWidth") is None:
        return _within(values, span)
    with np.errstate(over="ignore"):  # of the sigmoid's exponential
        low, high = pixels.apply_windowing(np.array([-np.inf, np.inf]), record)
        return windowed(pixels.apply_windowing(values, record), (low, high))


def _widened(table: "Dataset") -> int:
    """The bits of a look-up table's entries, declared as 16 from here on: pydicom wraps what it looks up to fewer."""
    bits = int(table.LUTDescriptor[2])
    table.LUTDescriptor[2] = 16
    return bits


def _colour(record: "Dataset", stored: Array, kind: str) -> Array:
    bits = int(record.BitsStored)
    if kind == "PALETTE COLOR":
        stored, bits = _painted(record, stored.astype(np.int64))
    elif kind != "RGB" or record.PixelRepresentation:
        raise ValueError(f"its colours must be unsigned RGB, YBR or a palette (got {kind})")
    return _within(stored, (0, 2**bits - 1))


def _painted(record: "Dataset", stored: Array) -> tuple[Array, int]:
    from pydicom import pixels

    if not record.file_meta.TransferSyntaxUID.is_little_endian:
        raise ValueError("its palette must be in little endian, as pydicom misreads the other order")
    count, first, bits = record.RedPaletteColorLookupTableDescriptor
    stored = stored.clip(first, first + (count or 2**16) - 1)
    colours = pixels.apply_color_lut(stored, record)[..., :3]
    if colours.dtype == np.uint8 and stored.max() - first > 255:
        raise ValueError(f"its palette must have at most 256 entries of 8 bits (got {count or 2**16})")
    return colours, min(bits, 8 * colours.itemsize)


def _within(values: Array, span: Window) -> Array:
    if values.min() < span[0] or values.max() > span[1]:
        raise ValueError(f"its values must lie in {span[0]}..{span[1]}, not {values.min()}..{values.max()}")
    return windowed(values, span)


def _has_magic(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _limit(width: int, height: int) -> None:
    """Pillow's limit, for the other readers."""
    if Image.MAX_IMAGE_PIXELS is not None and width * height > 2 * Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError(f"{width} x {height} pixels")


def _slide(path: str) -> ValueError:
    return ValueError(
        f"image must not be a whole slide (got {path!r}). "
        "Cut tiles with openslide, tiatoolbox or wsidicom, and pass them as PIL images or arrays."
    )


@contextmanager
def _extra(module: str, kind: str) -> Iterator[None]:
    try:
        yield
    except ImportError:
        raise ImportError(
            f"{module} must be installed to read {kind} (got none). Run pip install 'sslzoo[dicom]'."
        ) from None


@contextmanager
def _readable(path: str, kind: str) -> Iterator[None]:
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
