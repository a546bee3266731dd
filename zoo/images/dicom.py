"""DICOM of one frame, by pydicom: to the window's unit, or as the file's own view shows it."""

from typing import TYPE_CHECKING

import numpy as np

from zoo.images.scale import Array, Window, extra, limit, readable, whole_slide, windowed, within

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SUFFIXES = (".dcm", ".dicom", ".ima")

_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"  # VL Whole Slide Microscopy Image Storage


def read_dicom(path: str, window: Window | None) -> Array:
    """(H, W) or (H, W, 3) float32 in [0, 1]: by the card's window, else by the file's own view or range."""
    with extra("pydicom", "DICOM"):
        import pydicom
        from pydicom.pixels import get_decoder
    with readable(path, "DICOM"):
        record = pydicom.dcmread(path, defer_size="1 MB")
        frames, bits = int(record.get("NumberOfFrames") or 1), int(record.get("BitsAllocated") or 0)
        slide = record.get("SOPClassUID") == _SLIDE
    if slide:
        raise whole_slide(path)
    _check(path, record, frames=frames, bits=bits, span="[0, 1]" if window is None else "the card's window's unit")
    with readable(path, "DICOM"):
        limit(record.Columns, record.Rows)
        stored, form = get_decoder(record.file_meta.TransferSyntaxUID).as_array(record)
        if form["photometric_interpretation"] in ("MONOCHROME1", "MONOCHROME2"):
            return _grey(record, stored, window)
        return _colour(record, stored, str(form["photometric_interpretation"]))


def has_magic(path: str) -> bool:
    """Tell whether the file says of itself that it is DICOM."""
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


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
        return within(pixels.apply_voi(inside, record), (0, 2**bits - 1))
    if record.get("WindowCenter") is None or record.get("WindowWidth") is None:
        return within(values, span)
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
    return within(stored, (0, 2**bits - 1))


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
