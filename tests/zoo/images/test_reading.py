"""Which reader a file gets, and pictures."""

import struct

import numpy as np
import pytest
import torch
from PIL import Image

from tests.zoo.images.files import RAMP, WINDOW, write
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
    with pytest.raises(TypeError, match=r"must have 8 or 16 bits a channel \(got 12 bits\)"):
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
