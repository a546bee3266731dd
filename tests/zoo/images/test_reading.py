"""Which reader a file gets, and pictures."""

import struct
import subprocess
import sys

import numpy as np
import pydicom
import pytest
import tifffile
import torch
from PIL import Image

import zoo
from tests.zoo.images.files import RAMP, VOXELS, WINDOW, real, volume, write
from zoo.images import reading
from zoo.images.reading import read


@pytest.mark.parametrize("name", ["image.png", "image.tif"])
def test_one_image_gives_the_same_features_from_16_bit_pictures(encoder, image, name, tmp_path):
    Image.fromarray(image * np.uint16(257)).save(tmp_path / name)
    features = encoder(encoder.preprocess(tmp_path / name))
    torch.testing.assert_close(features, encoder(encoder.preprocess([image])), rtol=0, atol=1e-3)


def test_dicom_is_known_by_suffix_or_magic(tmp_path):
    for name in ("scan.dcm", "SCAN.IMA", "scan.dicom", "IM000001"):
        np.testing.assert_allclose(read(write(tmp_path / name, RAMP), None), RAMP / 255, atol=1e-6)


def test_pictures_are_returned_as_they_are_stored(tmp_path):
    for kind in (np.uint8, np.uint16):
        for name in ("a.png", "a.tif"):
            Image.fromarray(RAMP.astype(kind)).save(tmp_path / name)
            pixels = read(tmp_path / name, WINDOW)
            assert pixels.dtype == kind
            assert (pixels == RAMP).all()


def test_white_is_zero_is_inverted(tmp_path):
    Image.fromarray(RAMP * np.uint16(257)).save(tmp_path / "a.tif", tiffinfo={262: 0})
    assert (read(tmp_path / "a.tif", None) == 65535 - RAMP * np.uint16(257)).all()


def test_12_bit_tiff_is_refused(tmp_path):
    Image.fromarray(RAMP.astype(np.uint16)).save(tmp_path / "a.tif")
    entry = struct.Struct("<HHII").pack
    sixteen = (tmp_path / "a.tif").read_bytes()
    assert entry(258, 3, 1, 16) in sixteen
    (tmp_path / "a.tif").write_bytes(sixteen.replace(entry(258, 3, 1, 16), entry(258, 3, 1, 12)))
    with pytest.raises(TypeError, match=r"must have 8 or 16 unsigned bits a channel \(got 12 bits in"):
        read(tmp_path / "a.tif", None)


def test_a_stack_of_pages_is_refused(tmp_path, encoder):
    pages = [Image.fromarray(RAMP), Image.fromarray(255 - RAMP)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match=r"image must hold one page \(got 2 in .*Pass one as a PIL image"):
        read(tmp_path / "a.tif", None)
    page = Image.open(tmp_path / "a.tif")
    page.seek(1)
    torch.testing.assert_close(encoder.preprocess([page]), encoder.preprocess([255 - RAMP]))


@pytest.mark.parametrize("name", ["a.svs", "a.NDPI", "a.mrxs"])
def test_whole_slides_are_refused(name):
    with pytest.raises(
        ValueError, match=r"must not be a whole slide \(got 'a.*\. Cut tiles with openslide, tiatoolbox"
    ):
        read(name, None)


def test_dicom_without_a_preamble_stands_behind_its_suffix(tmp_path):
    record = pydicom.dcmread(write(tmp_path / "a.dcm", RAMP))
    record.file_meta, record.preamble = pydicom.dataset.FileMetaDataset(), None
    for implicit, name in ((True, "b.dcm"), (False, "b.ima")):
        pydicom.dcmwrite(tmp_path / name, record, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
        np.testing.assert_allclose(read(tmp_path / name, None), RAMP / 255, atol=1e-6)
    (tmp_path / "b.dcm").rename(tmp_path / "nameless")
    with pytest.raises(ValueError, match="cannot identify image file"):
        read(tmp_path / "nameless", None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(
            (f"a{suffix}", True)
            for suffix in (".png", ".JPG", ".tiff", ".webp", ".bmp", ".gif", ".pgm", ".dcm", ".IMA")
        ),
        *((name, True) for name in ("a.nii:0", "a.nii.gz:42")),
        *((name, False) for name in ("a.csv", "a", "a.nii", "a.svs", "a.eps", "a.jp2", ".png.txt")),
    ],
)
@pytest.mark.parametrize("there", [False, True])
def test_what_is_an_image_by_its_name(name, expected, there, tmp_path):
    if there:
        (tmp_path / name.partition(":")[0]).touch()
    assert zoo.is_image(tmp_path / name) is expected
    assert zoo.is_image(f"{tmp_path}/{name}") is expected


def test_dicom_without_a_suffix_is_an_image(tmp_path):
    assert zoo.is_image(write(tmp_path / "IM0001", RAMP))


def test_a_fault_is_what_preprocess_says(encoder, tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:50])
    tifffile.imwrite(tmp_path / "float.tif", np.zeros((9, 9), np.float32))
    tifffile.imwrite(tmp_path / "pages.tif", np.zeros((3, 9, 9), np.uint8), photometric="minisblack")
    volume(tmp_path / "a.nii", VOXELS)
    assert zoo.fault(tmp_path / "good.png") is None
    assert zoo.fault(f"{tmp_path}/a.nii:0", WINDOW) is None
    names = ["cut.png", "float.tif", "pages.tif", "a.nii:0", "missing.png"]
    for path in [*(f"{tmp_path}/{name}" for name in names), real("MR_truncated.dcm"), real("rtplan.dcm"), b"a.png"]:
        with pytest.raises((ValueError, TypeError)) as caught:
            encoder.preprocess([path])
        assert isinstance(path, bytes) or zoo.fault(path) == str(caught.value)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (RAMP[..., None, None], (16, 16, 1)),
        (np.zeros((4, 4, 3, 1), np.uint8), (4, 4, 3)),
        (RAMP.astype(">f4") / 255, (16, 16, 1)),
        (RAMP.astype(">u2"), (16, 16, 1)),
        (RAMP > 3, (16, 16, 1)),
        (RAMP.astype(np.longdouble) / 255, (16, 16, 1)),
    ],
)
def test_what_numpy_can_turn_is_turned(pixels, expected):
    found = reading.stored(pixels, None)
    assert found.shape == expected
    assert found.dtype.isnative
    assert reading.shown(pixels, found, None).dtype == np.float32


def test_masked_pixels_are_refused():
    with pytest.raises(TypeError, match=r"masked pixels \(got some\)\. Pass x\.filled"):
        reading.stored(np.ma.masked_equal(RAMP, 3), None)


def test_reading_needs_no_torch():
    code = (
        "import sys, zoo; zoo.listed('a'); zoo.is_image('a.png'); zoo.fault('a.png'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
