"""DICOM of one frame, by pydicom: to the window's unit, or as the file's own view shows it."""

import io
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from zoo.images.facts import settle
from zoo.images.guards import declared, extra, limit, readable, whole_slide
from zoo.images.scale import Array, Window, banded, windowed, within

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

SUFFIXES = (".dcm", ".dicom", ".ima")

_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"  # VL Whole Slide Microscopy Image Storage
_TABLES = ("ModalityLUTSequence", "VOILUTSequence")
_PIECE = 2**20  # bytes
_HEADER = 2**24  # bytes of a deflated record that are not pixels
_DEEPEST = 8  # bytes of a pixel: four samples of 16 bits


def read_dicom(path: str, window: Window | None, most: int) -> Array:
    """(H, W) or (H, W, 3) float32 in [0, 1]: by the card's window, else by the file's own view or range."""
    with extra("pydicom", "DICOM"):
        import pydicom
        from pydicom.pixels import get_decoder
    with readable(path, "DICOM"):
        _check_deflated(path, _HEADER + _DEEPEST * most)
        # Without the preamble that says so, a file is DICOM by its suffix.
        record = pydicom.dcmread(path, defer_size="1 MB", force=not has_magic(path))
        frames, bits = int(record.get("NumberOfFrames") or 1), int(record.get("BitsAllocated") or 0)
        slide = record.get("SOPClassUID") == _SLIDE
    if slide:
        raise whole_slide(path)
    _check(path, record, frames=frames, bits=bits, span="[0, 1]" if window is None else "the card's window's unit")
    with readable(path, "DICOM"):
        syntax = _syntax(record)
        _check_size(record, syntax, most)
        mapped = settle(record, windowed=window is not None)
        stored, form = get_decoder(syntax).as_array(record)
        if mapped is not None:
            within(stored, mapped)
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


def _check_deflated(path: str, most: int) -> None:
    """Refuse a deflated record that grows beyond `most` bytes: pydicom inflates all of it at once."""
    from pydicom.filereader import read_dataset, read_preamble

    with open(path, "rb") as file:
        read_preamble(file, force=True)
        meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2)
        if not getattr(meta.get("TransferSyntaxUID"), "is_deflated", False):
            return
        inflater, grown = zlib.decompressobj(-zlib.MAX_WBITS), 0
        # After its end comes a byte of padding, where its length is odd.
        while not inflater.eof and (piece := inflater.unconsumed_tail or file.read(_PIECE)):
            grown += len(inflater.decompress(piece, _PIECE))
            if grown > most:
                raise ValueError(f"its deflated record must be of at most {most} bytes")


def _check_size(record: "Dataset", syntax: "UID", most: int) -> None:
    """Refuse too many pixels, and a code stream that declares others than its record: decoders trust it, or abort."""
    from pydicom import uid
    from pydicom.encaps import get_frame

    limit(record.Columns, record.Rows, most)
    if syntax not in (*uid.JPEGTransferSyntaxes, *uid.JPEGLSTransferSyntaxes, *uid.JPEG2000TransferSyntaxes):
        return
    wanted = (record.Columns, record.Rows, record.SamplesPerPixel)
    code = get_frame(record.PixelData, 0, number_of_frames=1)
    found = declared(code)
    if found is not None:
        limit(*found[:2], most)
    if found != wanted:
        raise ValueError(f"its code stream must hold {wanted} columns, rows and samples, not {found}")
    if syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit) and record.BitsStored <= 8:
        # Where a table is broken, GDCM ends the process; Pillow raises.
        with Image.open(io.BytesIO(code), formats=("JPEG",)) as image:
            image.load()


def _syntax(record: "Dataset") -> "UID":
    """The transfer syntax: of a record without preamble that states none, the plain one it was read by."""
    from pydicom import uid

    if "TransferSyntaxUID" in record.file_meta or record.preamble is not None:
        return record.file_meta.TransferSyntaxUID
    if record["PixelData"].is_undefined_length:
        raise ValueError("it must state the transfer syntax of its compressed pixels")
    implicit, little = record.original_encoding
    plain = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
    record.file_meta.TransferSyntaxUID = plain if little else uid.ExplicitVRBigEndian
    return record.file_meta.TransferSyntaxUID


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
    # Widened once: the tables are looked up in every band.
    bits = {name: _widened(record[name][0]) for name in _TABLES if record.get(name)}

    def shown(band: Array) -> Array:
        padding = _padding(record, band)
        values, span = _modality(record, band.astype(np.int64), bits)
        view = _view(record, values, span, bits) if window is None else windowed(values, window)
        if record.PhotometricInterpretation == "MONOCHROME1":
            view = 1 - view
        view[padding] = 0
        return view

    return banded(shown, stored)


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


def _modality(record: "Dataset", stored: Array, bits: Mapping[str, int]) -> tuple[Array, Window]:
    """Values in the modality's unit, and the range of what the file could hold."""
    from pydicom import pixels

    if record.get("ModalityLUTSequence"):
        span = (0, 2 ** bits["ModalityLUTSequence"] - 1)
        return pixels.apply_modality_lut(stored, record).astype(np.int64), span
    if record.get("RescaleSlope") == 0:
        raise ValueError("its rescale slope must not be 0")
    low = -(2 ** (record.BitsStored - 1)) if record.PixelRepresentation else 0
    ends = pixels.apply_modality_lut(np.array([low, low + 2**record.BitsStored - 1]), record)
    return pixels.apply_modality_lut(stored, record), (ends.min(), ends.max())


def _view(record: "Dataset", values: Array, span: Window, bits: Mapping[str, int]) -> Array:
    """The file's first look-up table, else its first window, else all that it could hold, as [0, 1]."""
    from pydicom import pixels

    if record.get("VOILUTSequence"):
        count, first, _ = record.VOILUTSequence[0].LUTDescriptor
        inside = np.rint(values).astype(np.int64).clip(first, first + (count or 2**16) - 1)
        return within(pixels.apply_voi(inside, record), (0, 2 ** bits["VOILUTSequence"] - 1))
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
    if kind == "PALETTE COLOR":
        return banded(lambda band: _painted(record, band.astype(np.int64)), stored)
    if kind != "RGB" or record.PixelRepresentation:
        raise ValueError(f"its colours must be unsigned RGB, YBR or a palette (got {kind})")
    return banded(lambda band: within(band, (0, 2 ** int(record.BitsStored) - 1)), stored)


def _painted(record: "Dataset", stored: Array) -> Array:
    from pydicom import pixels

    if not record.file_meta.TransferSyntaxUID.is_little_endian:
        raise ValueError("its palette must be in little endian, as pydicom misreads the other order")
    count, first, bits = record.RedPaletteColorLookupTableDescriptor
    stored = stored.clip(first, first + (count or 2**16) - 1)
    colours = pixels.apply_color_lut(stored, record)[..., :3]
    if colours.dtype == np.uint8 and stored.max() - first > 255:
        raise ValueError(f"its palette must have at most 256 entries of 8 bits (got {count or 2**16})")
    return within(colours, (0, 2 ** min(bits, 8 * colours.itemsize) - 1))
