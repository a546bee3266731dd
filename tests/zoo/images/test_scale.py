"""Stored values to [0, 1], and the limits and guards that all readers share."""

import sys

import numpy as np
import pytest
from PIL import Image

from tests.zoo.images.files import RAMP, VOXELS, WINDOW, volume, write
from zoo.images import scale
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


@pytest.mark.parametrize(("values", "expected"), [([-200, -160, 40, 240, 900], [0, 0, 0.5, 1, 1])])
def test_a_window_maps_its_ends_to_0_and_1(values, expected):
    found = scale.windowed(np.array(values), WINDOW)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected)


def test_what_lies_outside_its_span_is_refused():
    np.testing.assert_allclose(scale.within(np.array([0, 51, 255]), (0, 255)), [0, 0.2, 1], rtol=1e-6)
    with pytest.raises(ValueError, match=r"^its values must lie in 0\.\.255, not -1\.\.256$"):
        scale.within(np.array([-1, 256]), (0, 255))


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.array([0, 51, 255], np.uint8), [0, 0.2, 1]),
        (np.array([0, 13107, 65535], np.uint16), [0, 0.2, 1]),
        (np.array([False, True]), [0, 1]),
        (np.array([0.0, 0.25, 1.0]), [0, 0.25, 1]),
    ],
)
def test_stored_values_become_0_to_1(stored, expected):
    found = scale.unit(stored)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("stored", "error", "message"),
    [
        (np.array([0, 1], np.int16), TypeError, r"^images must be uint8, uint16 or float in \[0, 1\] \(got int16\)"),
        (np.array([0, 1 + 0j]), TypeError, r"\(got complex128\)\. Convert them first"),
        (np.array([0.0, 1.5]), ValueError, r"^float images must lie in \[0, 1\] \(got 0 to 1\.5\)\. Rescale them"),
        (np.array([-0.1, 1.0]), ValueError, r"\(got -0\.1 to 1\)"),
        (np.array([np.nan, 0.5]), ValueError, r"\(got nan to nan\)"),
    ],
)
def test_values_without_a_scale_are_refused(stored, error, message):
    with pytest.raises(error, match=message):
        scale.unit(stored)


def test_the_limit_is_pillow_s(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    scale.limit(10, 10)
    with pytest.raises(Image.DecompressionBombError, match=r"^10 x 11 pixels$"):
        scale.limit(10, 11)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    scale.limit(10**6, 10**6)


def test_a_reader_that_panics_is_one_sentence_and_a_stop_is_none():
    class Panic(BaseException):
        pass

    said = r"^image must be a readable X \(got 'a': it broke\)\. Replace it\.$"
    with pytest.raises(ValueError, match=said), scale.readable("a", "X"):
        raise Panic("it\n  broke")
    with pytest.raises(KeyboardInterrupt), scale.readable("a", "X"):
        raise KeyboardInterrupt
