"""Image files of known values, for the tests of all readers."""

import nibabel
import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
WINDOW = [-160.0, 240.0]


def write(path, stored, **elements):
    """A DICOM file of pydicom's own writing; grey unless `stored` has three channels."""
    stored = np.asarray(stored)
    record = Dataset()
    record.file_meta = FileMetaDataset()
    record.file_meta.TransferSyntaxUID = elements.pop("syntax", ExplicitVRLittleEndian)
    record.SOPClassUID = elements.pop("SOPClassUID", SecondaryCaptureImageStorage)
    record.SOPInstanceUID = pydicom.uid.generate_uid()
    record.Rows, record.Columns = stored.shape[:2]
    record.SamplesPerPixel = 3 if stored.ndim == 3 else 1
    record.PlanarConfiguration = 0
    record.PhotometricInterpretation = "RGB" if stored.ndim == 3 else "MONOCHROME2"
    record.BitsAllocated = record.BitsStored = 8 * stored.itemsize
    record.PixelRepresentation = int(stored.dtype.kind == "i")
    for keyword, value in elements.items():
        record.add_new(keyword, *value) if isinstance(value, tuple) else setattr(record, keyword, value)
    record.HighBit = record.BitsStored - 1
    data = stored.tobytes()
    if record.file_meta.TransferSyntaxUID.is_compressed:
        data = pydicom.encaps.encapsulate([data])
    record.add_new("PixelData", "OB" if stored.itemsize == 1 else "OW", data)
    record.save_as(path, enforce_file_format=True)
    return path


def table(entries, *, first=0, bits=16, explicit="US"):
    """A look-up table's sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS", [len(entries), first, bits])
    item.add_new("LUTData", explicit, [int(entry) for entry in entries])
    return [item]


def real(name):
    return get_testdata_file(name)


def volume(path, values, slope=1, intercept=0):
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.header.set_slope_inter(slope, intercept)
    image.to_filename(path)
    return str(path)


VOXELS = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)
