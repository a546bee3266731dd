"""Pictures as every viewer shows them: turned, on white, or refused by the fact that is not handled."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from tests.zoo.images.files import RAMP
from zoo.images.pictures import decoded
from zoo.images.reading import read

TAG = 0x0112
SHAPE = (12, 20)
DRAWN = np.random.default_rng(0).integers(0, 256, (*SHAPE, 4), dtype=np.uint8)


def picture(mode):
    return Image.fromarray(DRAWN, "RGBA").convert(mode)


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_every_format_is_turned_as_its_exif_says(kind, turn, tmp_path):
    exif = Image.Exif()
    exif[TAG] = turn
    picture("RGB").save(tmp_path / f"a.{kind}", exif=exif)
    with Image.open(tmp_path / f"a.{kind}") as image:
        upright = ImageOps.exif_transpose(image)
    assert (read(tmp_path / f"a.{kind}", None) == np.asarray(upright)).all()
    with Image.open(tmp_path / f"a.{kind}") as image:
        assert (decoded(image, 2**20) == np.asarray(upright)).all()


@pytest.mark.parametrize("turn", [6, 7])
@pytest.mark.parametrize("mode", ["L", "I;16", "P", "LA", "1"])
def test_every_mode_is_turned(turn, mode, tmp_path):
    exif = Image.Exif()
    exif[TAG] = turn
    grey = Image.fromarray(RAMP[:12] * np.uint16(257)) if mode == "I;16" else picture(mode)
    grey.save(tmp_path / "plain.png")
    grey.save(tmp_path / "a.png", exif=exif)
    plain = read(tmp_path / "plain.png", None)
    expected = np.rot90(plain, -1) if turn == 6 else plain[::-1, ::-1].swapaxes(0, 1)
    assert (read(tmp_path / "a.png", None) == expected).all()


def on_white(colours, alpha, top=255):
    shown = (colours * alpha + top * (top - alpha.astype(np.int64))) / top
    return np.rint(shown)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
@pytest.mark.parametrize("kind", ["png", "webp", "tif", "pil"])
def test_what_is_transparent_shows_a_white_ground(mode, kind, tmp_path):
    image = picture(mode) if mode != "PA" else picture("P").convert("PA")
    if kind == "pil":
        found, image = decoded(image, 2**20), image.convert("RGBA")
    elif mode == "PA" or (mode, kind) == ("LA", "webp"):
        pytest.skip("the format has none")
    else:
        image.save(tmp_path / f"a.{kind}", lossless=True, exact=True)
        found = read(tmp_path / f"a.{kind}", None)
    values = np.asarray(image).astype(np.int64)
    expected = on_white(values[..., :-1], values[..., -1:])
    assert np.abs(found - (expected[..., 0] if found.ndim == 2 else expected)).max() <= 1


@pytest.mark.parametrize(
    ("mode", "key"),
    [("L", 7), ("1", 0), ("RGB", (3, 2, 1)), ("P", 5), ("P", bytes(range(0, 256, 2))), ("I;16", 257 * 9)],
)
def test_a_colour_that_the_file_calls_transparent_is_white(mode, key, tmp_path):
    pixels = {"RGB": np.stack([RAMP, RAMP - 1, RAMP - 2], -1), "I;16": RAMP * np.uint16(257)}.get(mode, RAMP)
    image = Image.fromarray(pixels) if mode not in ("P", "1") else Image.fromarray(pixels).convert(mode)
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "a.png", transparency=key)
    plain, found = read(tmp_path / "plain.png", None).astype(np.int64), read(tmp_path / "a.png", None)
    top = np.iinfo(found.dtype).max
    if mode == "RGB":
        hidden = (plain == key).all(-1)
    elif isinstance(key, bytes):
        expected = on_white(plain, np.frombuffer(key.ljust(256, b"\xff"), np.uint8)[np.asarray(image)][..., None])
        assert np.abs(found - expected).max() <= 1
        return
    else:
        hidden = (np.asarray(image) if mode == "P" else plain) == (0 if mode == "1" else key)
    assert hidden.any()
    assert (found[hidden] == top).all()
    assert (found[~hidden] == plain[~hidden]).all()


@pytest.mark.parametrize("bits", [2, 4])
def test_the_transparent_one_of_a_few_greys_is_found(bits, tmp_path):
    values = few_greys(tmp_path / "a.png", bits)
    expected = np.where(values == 2, 255, values * (255 // (2**bits - 1)))
    assert (read(tmp_path / "a.png", None) == expected).all()
    data = io.BytesIO((tmp_path / "a.png").read_bytes())
    for image in (Image.open(data), Image.open(tmp_path / "a.png")):
        for _ in range(2):
            assert (decoded(image, 2**20) == expected).all()
    image.load()  # that of the file
    assert (decoded(image, 2**20) == expected).all()
    image = Image.open(data)
    image.load()  # that of the stream, which is kept
    assert (decoded(image, 2**20) == expected).all()
    copy = Image.open(data).copy()
    data.close()
    for lost in (image, copy):
        with pytest.raises(ValueError, match=r"must tell which grey is transparent \(got 2 in .*Pass its path, or"):
            decoded(lost, 2**20)
        lost.putpixel((0, 0), 3)  # a value that only 8 bits have
        assert (decoded(lost, 2**20) == np.asarray(lost)).all()


def test_a_damaged_picture_is_an_error_each_time(tmp_path):
    picture("RGB").save(tmp_path / "a.png")
    image = Image.open(io.BytesIO((tmp_path / "a.png").read_bytes()[:-200]))
    for _ in range(2):
        with pytest.raises(ValueError, match="image must be a readable picture"):
            decoded(image, 2**20)


def few_greys(path, bits):
    """A PNG of so many bits, of which the grey 2 is transparent; its (2, 8) values."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    values = np.arange(16).reshape(2, 8) % 2**bits
    places = np.array([8 - bits * (k + 1) for k in range(8 // bits)])
    packed = (values.reshape(2, bits, 8 // bits) << places).sum(-1).astype(np.uint8)  # (2, bytes of a row)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    head = struct.pack(">IIBBBBB", 8, 2, bits, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"tRNS", struct.pack(">H", 2)), chunk(b"IDAT", zlib.compress(rows))]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b""))
    return values


def test_hidden_colours_change_nothing(encoder):
    first = np.full((64, 64, 4), 255, np.uint8)
    first[20:40, 20:40, :3], first[:10, :, 3] = 90, 0
    second = first.copy()
    first[:10, :, :3] = 0
    x = encoder.preprocess([Image.fromarray(first), Image.fromarray(second)])
    assert (x[0] == x[1]).all()


def test_a_drawing_in_alpha_alone_is_seen_or_told(encoder):
    drawn = np.zeros((64, 64, 2), np.uint8)
    drawn[20:40, 20:40, 1] = 255
    assert len(encoder.preprocess([Image.fromarray(drawn, "LA")]).unique()) == 2
    drawn[..., 0] = 255  # white on white
    with pytest.warns(UserWarning, match=r"is constant \(1 in \[0, 1\]\)"):
        encoder.preprocess([Image.fromarray(drawn, "LA")])


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (np.zeros((9, 9), np.float32), {}),
        (np.zeros((9, 9), np.int16), {}),
        (np.zeros((9, 9), np.int8), {}),
        (np.zeros((9, 9), np.uint32), {}),
        (np.zeros((9, 9, 3), np.int8), {"photometric": "rgb"}),
        (np.zeros((9, 9, 3), np.uint8), {"photometric": "cielab"}),
        (np.zeros((9, 9), np.uint8), {"subfiletype": 1}),
    ],
)
def test_samples_that_are_not_handled_are_refused_by_name(values, options, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", values, **options)
    with pytest.raises((TypeError, ValueError), match=r"\(got .*a\.tif'|8 or 16 unsigned bits"):
        read(tmp_path / "a.tif", None)


@pytest.mark.parametrize("mode", ["F", "I", "HSV", "LAB"])
def test_pil_modes_without_a_scale_are_refused_by_name(mode):
    with pytest.raises(TypeError, match=rf"8 or 16 unsigned bits a channel \(got mode '{mode}' in 'a PIL image'"):
        decoded(Image.new(mode, (4, 4)), 2**20)


@pytest.mark.parametrize(("mode", "kind"), [("CMYK", "tif"), ("CMYK", "jpg"), ("1", "tif"), ("P", "gif"), ("L", "pgm")])
def test_ordinary_modes_are_as_pillow_converts_them(mode, kind, tmp_path):
    picture("RGB").convert(mode).save(tmp_path / f"a.{kind}")
    with Image.open(tmp_path / f"a.{kind}") as image:
        expected = np.asarray(image.convert("L" if mode in "1L" else "RGB"))
    assert (read(tmp_path / f"a.{kind}", None) == expected).all()


def test_a_grey_of_16_bits_in_pgm(tmp_path):
    values = (np.arange(64).reshape(8, 8) * 1000).astype(">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 8 8 65535\n" + values.tobytes())
    assert (read(tmp_path / "a.pgm", None) == values).all()


def test_a_film_is_refused(tmp_path):
    frames = [picture("P"), picture("P").rotate(180)]
    for kind in ("gif", "webp", "png"):
        frames[0].save(tmp_path / f"a.{kind}", save_all=True, append_images=frames[1:])
        with pytest.raises(ValueError, match=r"image must hold one page \(got 2"):
            read(tmp_path / f"a.{kind}", None)
