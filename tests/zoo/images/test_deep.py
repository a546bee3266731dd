"""Colours of 16 bits at their depth, or refused; never narrowed."""

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

import zoo
from zoo.images.pictures import decoded
from zoo.images.reading import read

COLOURS = np.random.default_rng(0).integers(0, 65536, (31, 47, 4)).astype(np.uint16)


def on_white(values):
    colours, alpha = values[..., :-1].astype(np.int64), values[..., -1:].astype(np.int64)
    return np.rint((colours * alpha + 65535 * (65535 - alpha)) / 65535)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_png_is_read_at_full_depth(channels, tmp_path):
    values = COLOURS[..., :channels]
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(values)))
    expected = values if channels == 3 else on_white(values)
    found = read(tmp_path / "a.png", None)
    assert found.dtype == np.uint16
    assert np.abs(found - (expected[..., 0] if channels == 2 else expected)).max() <= (channels != 3)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_tiff_is_read_at_full_depth(order, compression, tile, tmp_path):
    options = {"byteorder": order, "compression": compression, "tile": tile, "predictor": bool(compression)}
    tifffile.imwrite(tmp_path / "a.tif", COLOURS[..., :3], photometric="rgb", **options)
    assert (read(tmp_path / "a.tif", None) == COLOURS[..., :3]).all()
    tifffile.imwrite(tmp_path / "b.tif", COLOURS, photometric="rgb", extrasamples=["unassalpha"], **options)
    assert np.abs(read(tmp_path / "b.tif", None) - on_white(COLOURS)).max() <= 1
    assert zoo.fault(tmp_path / "b.tif") is None


@pytest.mark.parametrize(
    "options",
    [
        {"planarconfig": "separate"},
        {"planarconfig": "separate", "compression": "zlib"},
        {"extrasamples": ["assocalpha"]},
        {"photometric": "separated"},
    ],
)
def test_what_cannot_be_read_at_full_depth_is_refused(options, tmp_path):
    options = {"photometric": "rgb"} | options
    separate = "planarconfig" in options
    values = np.moveaxis(COLOURS, -1, 0)[:3] if separate else COLOURS
    tifffile.imwrite(tmp_path / "a.tif", np.ascontiguousarray(values), **options)
    with pytest.raises(ValueError, match=r"a\.tif': its (colours|inks)"):
        read(tmp_path / "a.tif", None)


def test_a_pnm_of_16_bits_a_colour_is_refused(tmp_path):
    (tmp_path / "a.ppm").write_bytes(b"P6 47 31 65535\n" + COLOURS[..., :3].astype(">u2").tobytes())
    with pytest.raises(ValueError, match="its colours of more than 8 bits"):
        read(tmp_path / "a.ppm", None)


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize("loaded", [False, True])
def test_a_pil_image_that_narrows_its_file_is_refused(kind, loaded, tmp_path):
    if kind == "png":
        (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(COLOURS[..., :3].copy()))
    else:
        tifffile.imwrite(tmp_path / "a.tif", COLOURS[..., :3], photometric="rgb")
    with Image.open(tmp_path / f"a.{kind}") as image:
        if loaded:
            image.load()
        with pytest.raises(ValueError, match=r"must hold all bits of its file, .*a\.\w+'\)\. Pass its path"):
            decoded(image, 2**20)


def test_a_decoded_picture_of_a_deep_file_is_refused_where_the_file_is_known(tmp_path):
    values = np.arange(27, dtype=">u2").reshape(3, 3, 3) * 150
    (tmp_path / "a.ppm").write_bytes(b"P6 3 3 4095\n" + values.tobytes())
    with Image.open(tmp_path / "a.ppm") as image:
        image.load()
    with pytest.raises(ValueError, match="a PIL image must hold all bits of its file"):
        decoded(image, 2**20)
