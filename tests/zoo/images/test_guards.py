"""What may be opened, how large it may be, and what a decoder raises."""

import os
import re
import sys
import zlib

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless

import zoo
from tests.zoo.images.files import RAMP, VOXELS, WINDOW, real, volume, write
from zoo.images import guards
from zoo.images.reading import read


@pytest.mark.parametrize(("module", "kind", "name"), [("pydicom", "DICOM", "a.dcm"), ("nibabel", "NIfTI", "a.nii:0")])
def test_a_missing_extra_is_named(module, kind, name, monkeypatch, tmp_path):
    (tmp_path / name.removesuffix(":0")).touch()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        ImportError, match=rf"{module} must be .* to read {kind} \(got none\)\. Run pip install {module}"
    ):
        read(f"{tmp_path}/{name}", WINDOW)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.gif", "a.webp", "a.bmp", "a.dcm", "a.nii"])
def test_pixels_beyond_the_limit_are_refused_and_an_argument_raises_it(name, tmp_path):
    writers = {"dcm": lambda p: write(p, RAMP), "nii": lambda p: volume(p, VOXELS)}
    writers.get(name[2:], lambda p: Image.fromarray(RAMP).save(p))(tmp_path / name)
    path = f"{tmp_path / name}{':0' if name == 'a.nii' else ''}"
    said = r"image must be small enough to decode at once \(got .* pixels\)\. Cut tiles .*or pass limit=(\d+) to"
    with pytest.raises(ValueError, match=said) as caught:
        read(path, WINDOW, limit=11)
    assert read(path, WINDOW, limit=int(re.search(said, str(caught.value))[1])).ndim >= 2
    assert "small enough" in zoo.fault(path, WINDOW, limit=11)


def test_pillows_own_limit_still_holds(tmp_path, monkeypatch):
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    with pytest.raises(ValueError, match=r"small enough .*pixels.*\. Cut tiles and pass them as arrays\.$"):
        read(tmp_path / "a.png", None)


@pytest.mark.parametrize("name", ["a.png", "a.dcm", "a", "a.nii:0", "a.tif"])
@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a device"])
def test_only_regular_files_are_opened(name, kind, tmp_path):
    place = tmp_path / name.removesuffix(":0")
    {"a pipe": os.mkfifo, "a folder": os.mkdir, "a device": lambda p: os.symlink("/dev/zero", p)}[kind](place)
    with pytest.raises(ValueError, match=rf"image must be a regular file \(got .*: {kind}\)"):
        read(f"{tmp_path}/{name}", WINDOW)
    assert not zoo.is_image(f"{tmp_path}/{name}")


@pytest.mark.parametrize("name", ["no\0file.png", "x" * 5000 + ".png", "missing.dcm", ""])
def test_paths_that_lead_nowhere(name):
    with pytest.raises(ValueError, match=r"image must be a readable file \(got .*\. Check the path\.$"):
        read(name, None)


def test_postscript_is_never_run(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(ValueError, match=r"must be a readable PNG, JPEG, .*cannot identify"):
        read(tmp_path / "a.png", None)


def test_a_deflated_record_is_not_inflated_beyond_the_limit(tmp_path):
    path = write(tmp_path / "a.dcm", RAMP)
    plain = pydicom.dcmread(path)
    plain.add_new(0x00091010, "OB", bytes(400 << 20))  # 400 MB of nothing in 400 KB
    plain.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    plain.save_as(path)
    assert os.path.getsize(path) < 2**20
    with pytest.raises(ValueError, match=r"its deflated record must be of at most \d+ bytes"):
        read(path, None)


def test_deflated_records_of_odd_and_even_length_are_read(tmp_path):
    """An odd one is padded, and what is larger than a piece is inflated in several."""
    seen, noise = set(), np.random.default_rng(0).integers(0, 256, (9, 1200), dtype=np.uint8)
    for rows in range(1, 9):
        pixels = np.zeros((1200, 1200), np.uint8)
        pixels[:rows] = noise[:rows]
        path = write(tmp_path / "a.dcm", pixels, syntax=DeflatedExplicitVRLittleEndian)
        np.testing.assert_allclose(read(path, None).squeeze(), pixels / 255, atol=1e-6)
        with path.open("rb") as file:
            read_preamble(file, force=True)
            read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2)
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            inflater.decompress(file.read())
        seen.add(inflater.unused_data)
    assert seen == {b"", b"\0"}


def test_a_code_stream_cannot_be_larger_than_the_limit(tmp_path):
    header = b"\xff\x4f\xff\x51" + bytes([0, 47, 0, 0]) + (60000).to_bytes(4, "big") * 2 + bytes(200)
    path = write(tmp_path / "a.dcm", np.frombuffer(header, np.uint8)[None], syntax=JPEG2000Lossless)
    with pytest.raises(ValueError, match=r"small enough .*60000 x 60000 pixels"):
        read(path, None)


def test_text_bombs_in_png_are_refused(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    body = b"zTXtkey\0\0" + zlib.compress(bytes(200 << 20))
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(data[:33] + chunk + data[33:])
    with pytest.raises(ValueError, match="too large"):
        read(tmp_path / "a.png", None)


def test_a_reader_that_panics_is_one_sentence_and_a_stop_is_none():
    class Panic(BaseException):
        pass

    said = r"^image must be a readable X \(got 'a': it broke\)\. Replace it\.$"
    with pytest.raises(ValueError, match=said), guards.readable("a", "X"):
        raise Panic("it\n  broke")
    with pytest.raises(KeyboardInterrupt), guards.readable("a", "X"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "name",
    [
        "JPEG2000.dcm",
        "MR_small_jp2klossless.dcm",
        "GDCMJ2K_TextGBR.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "JPGExtended.dcm",
        "SC_rgb_jls_lossy_line.dcm",
    ],
)
def test_code_streams_declare_their_size(name):
    record = pydicom.dcmread(real(name))
    code = pydicom.encaps.get_frame(record.PixelData, 0, number_of_frames=1)
    assert guards.declared(code) == (record.Columns, record.Rows, record.SamplesPerPixel)


@pytest.mark.parametrize(
    "code", [b"", b"\xff\xd8", b"\xff\xd8\xff\xff\xff", b"\xff\xd8" + bytes(20), b"RLE" * 9, b"\xff\x4f\xff\x51"]
)
def test_other_code_declares_none(code):
    assert guards.declared(code) is None
