"""Colours of 16 bits at their depth, or refused; never narrowed."""

import io

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

import zoo
from zoo.images import deep
from zoo.images.pictures import decoded
from zoo.images.reading import read, stored

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


def encoded(kind, bits):
    values = np.ascontiguousarray(COLOURS[..., :3] >> (16 - bits)).astype(np.uint8 if bits == 8 else np.uint16)
    if kind == "avif":
        return imagecodecs.avif_encode(values, bitspersample=bits)
    return imagecodecs.jpeg2k_encode(values, codecformat=kind) if kind != "png" else imagecodecs.png_encode(values)


@pytest.mark.parametrize(
    ("kind", "bits"), [("png", 16), ("jp2", 16), ("jp2", 12), ("j2k", 16), ("avif", 10), ("avif", 12)]
)
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("loaded", [False, True])
def test_the_depth_is_asked_of_the_file_or_stream_that_is_left(kind, bits, streamed, loaded, tmp_path):
    step = "Pass its path" if kind == "png" else "Save it as PNG or TIFF of 16 bits"
    for depth in (8, bits):
        (tmp_path / f"{depth}.{kind}").write_bytes(encoded(kind, depth))
        opened = io.BytesIO(encoded(kind, depth)) if streamed else tmp_path / f"{depth}.{kind}"
        with Image.open(opened) as image:
            if loaded:
                image.load()
            if depth == 8:
                assert decoded(image, 2**20).dtype == np.uint8
            elif loaded and streamed and kind != "png":
                assert deep._head(image, 9) == b""  # Pillow has let it go: nothing is known of it any more
            else:
                with pytest.raises(ValueError, match=rf"must hold all bits of its file, .* {step}"):
                    decoded(image, 2**20)


def test_a_stream_that_was_asked_stays_where_it_was():
    stream = io.BytesIO(encoded("png", 16))
    image = Image.open(stream)
    image.load()
    place = stream.tell()
    assert deep.png_depth(image) == 16
    assert stream.tell() == place
    stream.close()
    assert deep.png_depth(image) is None


@pytest.mark.parametrize("made", [Image.Image.copy, np.asarray], ids=["copy", "array"])
def test_a_copy_knows_nothing_of_its_file(made):
    image = Image.open(io.BytesIO(encoded("png", 16)))
    assert stored(made(image), None).dtype == np.uint8


def test_headers_that_are_cut_or_hold_nothing_are_of_8_bits():
    for kind in ("j2k", "avif"):
        data = encoded(kind, 12)
        depth = deep._jpeg2000 if kind == "j2k" else deep._avif
        assert depth(data) > 8
        assert {depth(data[:cut]) for cut in range(len(data))} == {8, depth(data)}
        assert depth(b"") == 8
