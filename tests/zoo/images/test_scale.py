"""Stored values to [0, 1], and the limits and guards that all readers share."""

import sys

import pytest
from PIL import Image

from tests.zoo.images.files import RAMP, VOXELS, WINDOW, volume, write
from zoo.images.reading import read


@pytest.mark.parametrize(("module", "kind", "name"), [("pydicom", "DICOM", "a.dcm"), ("nibabel", "NIfTI", "a.nii:0")])
def test_a_missing_extra_is_named(module, kind, name, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"{module} must be installed to read {kind} \(got none\)\. Run pip install"):
        read(name, WINDOW)


@pytest.mark.parametrize("name", ["a.png", "a.dcm", "a.nii"])
def test_pixels_beyond_pillows_limit_are_refused(name, tmp_path, monkeypatch):
    writers = {"png": lambda p: Image.fromarray(RAMP).save(p), "dcm": lambda p: write(p, RAMP)}
    writers.get(name[2:], lambda p: volume(p, VOXELS))(tmp_path / name)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    index = ":0" if name == "a.nii" else ""
    with pytest.raises(ValueError, match=r"image must be small enough to decode at once \(got .*pixels.*Cut tiles"):
        read(f"{tmp_path / name}{index}", WINDOW)
