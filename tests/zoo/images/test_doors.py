"""Any picture and any damaged file: a right result, or an error of ours with the file's name; never much memory."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

import zoo
from tests.zoo.images.files import RAMP, VOXELS, volume
from zoo.images import reading

ROOT = Path(__file__).parents[3]
SMALL = 200_000  # bytes: the slow test damages each file thousands of times
MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"]
KINDS = {"png": MODES[:-1], "tif": MODES, "webp": ["RGB", "RGBA"], "bmp": ["1", "L", "P", "RGB"], "gif": ["L", "P"]}


def pictures(folder, kind):
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 4), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    for mode in KINDS.get(kind, ["L", "RGB", "CMYK"]):
        grey = Image.fromarray(noise[..., 0].astype(np.uint16) * 200)
        image = grey if mode == "I;16" else Image.fromarray(noise, "RGBA").convert(mode)
        image.save(folder / f"{mode.replace(';', '')}.{kind}", **({} if kind in ("bmp", "gif") else {"exif": exif}))
    sixteen = np.ascontiguousarray(noise[..., :3]).astype(np.uint16) * 257
    if kind == "png":
        (folder / "deep.png").write_bytes(imagecodecs.png_encode(sixteen))
    if kind == "tif":
        tifffile.imwrite(folder / "deep.tif", sixteen, photometric="rgb", compression="lzw", predictor=True)
        tifffile.imwrite(folder / "tiles.tif", sixteen[..., 0], tile=(16, 16), compression="zlib")


def dicoms(folder):
    stock = Path(pydicom.__file__).parent / "data" / "test_files"
    for path in stock.glob("*.dcm"):
        if path.stat().st_size < SMALL:
            shutil.copy(path, folder)


def volumes(folder):
    for name in ("a.nii", "a.nii.gz"):
        volume(folder / name, VOXELS, slope=2)


SOURCES = {
    kind: (lambda folder, kind=kind: pictures(folder, kind)) for kind in ("png", "jpg", "tif", "webp", "bmp", "gif")
}
SOURCES |= {"dicom": dicoms, "nifti": volumes}


def run(reader, count, seed, tmp_path):
    (tmp_path / "whole").mkdir()
    SOURCES[reader](tmp_path / "whole")
    code = [sys.executable, "-m", "tests.zoo.images.mutated", str(tmp_path / "whole"), str(count), str(seed)]
    done = subprocess.run(code, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found["found"]) <= {"read", "refused"}, found
    assert sum(found["found"].values()) == count
    assert found["peak"] < 1024
    return found


@pytest.mark.parametrize("reader", SOURCES)
def test_damaged_files(reader, tmp_path):
    found = run(reader, 60, 0, tmp_path)
    assert found["found"]["refused"] > 5


@pytest.mark.slow
@pytest.mark.parametrize("reader", SOURCES)
def test_many_damaged_files(reader, tmp_path):
    print(reader, run(reader, 2000, 1, tmp_path))


SIDES = st.one_of(st.integers(1, 40), st.sampled_from([1, 2, 255, 256, 257, 2048, 20_000]))


@st.composite
def drawn(draw):
    kind = draw(st.sampled_from(sorted(KINDS)))
    mode = draw(st.sampled_from(KINDS[kind]))
    height = draw(SIDES)
    width = draw(SIDES if height <= 40 else st.integers(1, 40))
    noise = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 256, (height, width, 4), dtype=np.uint8)
    if draw(st.booleans()):
        noise[..., 3] = 255
    return kind, mode, noise, draw(st.integers(0, 9))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(picture=drawn())
def test_any_picture_is_read_as_it_is_shown_or_refused(picture, tmp_path):
    kind, mode, noise, turn = picture
    image = (
        Image.fromarray(noise, "RGBA").convert(mode)
        if mode != "I;16"
        else Image.fromarray(noise[..., 0] * np.uint16(257))
    )
    exif = Image.Exif()
    exif[0x0112] = turn
    path = tmp_path / f"a.{kind}"
    try:
        image.save(path, **({} if kind in ("bmp", "gif") else {"exif": exif, "lossless": True}))
    except (OSError, ValueError):
        return  # a WebP has at most 16383 a side
    assert zoo.is_image(path)
    if fault := zoo.fault(path):
        assert "a." in fault
        return
    with Image.open(path) as opened:
        upright = ImageOps.exif_transpose(opened)
        if mode == "I;16":
            expected = np.asarray(upright) / 257
        else:
            ground = Image.new("RGBA", upright.size, "white")
            upright = upright.convert("RGB" if mode == "CMYK" else "RGBA").convert("RGBA")
            expected = np.asarray(Image.alpha_composite(ground, upright).convert("RGB"))
    found = reading.stored(path, None)
    found = found / 257 if found.dtype == np.uint16 else found.astype(int)
    expected = expected[..., None] if expected.ndim == 2 else expected
    assert np.abs(found - expected).max() <= 1
    assert np.abs(reading.shown(path, reading.stored(path, None), None) - expected / 255).max() < 0.01


PREPROCESS = zoo.untrained("mocov2-mini", 0.25).preprocess
ARRAYS = st.tuples(
    st.lists(st.integers(0, 5), min_size=0, max_size=5),
    st.sampled_from(["u1", ">u2", "<u2", "?", "f2", ">f4", "f8", "i2", ">i4", "u8", "c8", "O", "U3", "S3", "M8[s]"]),
)


@settings(max_examples=150, deadline=None)
@given(form=ARRAYS)
def test_any_array_is_taken_or_refused(form):
    shape, kind = form
    pixels = np.zeros(shape, np.dtype(kind))
    try:
        found = PREPROCESS(pixels)
    except (ValueError, TypeError, OSError) as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert said.startswith(("an image", "images must", "image must", "an array", "float images"))
        return
    assert found.shape == (len(pixels), 1, 64, 64)
    assert found.isfinite().all()


def test_the_ramp_is_read_in_every_format(tmp_path):
    for kind in KINDS:
        Image.fromarray(RAMP).convert("RGB").save(
            tmp_path / f"a.{kind}", **({"lossless": True} if kind == "webp" else {})
        )
        assert (reading.stored(tmp_path / f"a.{kind}", None)[..., 0] == RAMP).all()
