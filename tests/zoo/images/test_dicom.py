"""DICOM of one frame: to the window's unit, or as the file's own view shows it."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from PIL import Image
from pydicom.pixels import pixel_array
from pydicom.uid import MPEG2MPML, ExplicitVRBigEndian

from tests.zoo.images.files import RAMP, WINDOW, real, table, write
from zoo.images.reading import read

# No extra installs it: its licence is copyleft.
NEEDS_LIBJPEG = pytest.mark.skipif(importlib.util.find_spec("libjpeg") is None, reason="needs pylibjpeg-libjpeg")
INVERTED = {"PhotometricInterpretation": "MONOCHROME1"}
FORMS = {
    "MONOCHROME2, 8 bits": (lambda x: x, {}),
    "MONOCHROME1, 8 bits": (lambda x: 255 - x, INVERTED),
    "MONOCHROME2, 16 bits": (lambda x: 257 * x, {}),
    "MONOCHROME1, 16 bits": (lambda x: 65535 - 257 * x, INVERTED),
    "signed": (lambda x: 257 * x - 32768, {"PixelRepresentation": 1}),
    "12 of 16 bits": (lambda x: np.rint(x * (4095 / 255)), {"BitsStored": 12}),
    "rescaled": (lambda x: 257 * x, {"RescaleSlope": 4, "RescaleIntercept": -1024}),
    "falling rescale": (lambda x: 65535 - 257 * x, {"RescaleSlope": -1, "RescaleIntercept": 0}),
    "window": (lambda x: 1000 + x, {"WindowCenter": 1128, "WindowWidth": 256}),
    "window of MONOCHROME1": (lambda x: 511 - x, {**INVERTED, "WindowCenter": 384, "WindowWidth": 256}),
    "exact window": (lambda x: x, {"WindowCenter": "127.5", "WindowWidth": 255, "VOILUTFunction": "LINEAR_EXACT"}),
    "window of a falling rescale": (
        lambda x: 255 - x,
        {"RescaleSlope": -1, "RescaleIntercept": 255, "WindowCenter": 128, "WindowWidth": 256},
    ),
    "big endian": (lambda x: 257 * x, {"syntax": ExplicitVRBigEndian}),
}


@pytest.mark.parametrize("form", FORMS)
def test_one_image_gives_the_same_features_from_dicom(encoder, image, form, tmp_path):
    Image.fromarray(image).save(tmp_path / "image.png")
    expected = encoder(encoder.preprocess(tmp_path / "image.png"))
    stored, elements = FORMS[form]
    kind = np.uint8 if "8 bits" in form else np.int16 if form == "signed" else np.uint16
    kind = np.dtype(kind).newbyteorder(">" if form == "big endian" else "<")
    path = write(tmp_path / "image.dcm", stored(image.astype(np.int64)).astype(kind), **elements)
    features = encoder(encoder.preprocess(path))
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-3)
    inverted = encoder(encoder.preprocess([255 - image]))
    assert (inverted - expected).abs().max() > 0.1


def test_a_window_is_in_hounsfield_units():
    stored = np.frombuffer(pydicom.dcmread(real("CT_small.dcm")).PixelData, dtype="<i2").reshape(128, 128)
    expected = ((stored - 1024.0 + 160) / 400).clip(0, 1)  # slope 1, intercept -1024
    np.testing.assert_allclose(read(real("CT_small.dcm"), WINDOW), expected, atol=1e-6)
    assert 0.2 < expected.mean() < 0.6
    np.testing.assert_allclose(read(real("CT_small.dcm"), None), (stored + 32768.0) / 65535, atol=1e-6)


@pytest.mark.parametrize("form", ["", "_RLE", "_bigendian", "_expb", "_implicit", "_jp2klossless", "_jpeg_ls_lossless"])
def test_mr_small_in_every_syntax_follows_its_own_window(form):
    stored = np.frombuffer(pydicom.dcmread(real("MR_small.dcm")).PixelData, dtype="<i2").reshape(64, 64)
    expected = ((stored - 599.5) / 1599 + 0.5).clip(0, 1)  # DICOM PS3.3 C.11.2.1.2.1, centre 600, width 1600
    np.testing.assert_allclose(read(real(f"MR_small{form}.dcm"), None), expected, atol=1e-6)


def test_of_several_windows_the_first_is_taken():
    hounsfield = pixel_array(real("J2K_pixelrep_mismatch.dcm"))  # JPEG 2000; centres 40, 40, 40, widths 100, 100, 200
    expected = ((hounsfield - 39.5) / 99 + 0.5).clip(0, 1)
    np.testing.assert_allclose(read(real("J2K_pixelrep_mismatch.dcm"), None), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "shape", "peak"),
    [
        ("693_J2KI.dcm", (512, 512), 1.0),
        ("JPEG2000.dcm", (1024, 256), (245 + 32768) / 65535),
        pytest.param("JPGExtended.dcm", (1024, 256), 264 / 4095, marks=NEEDS_LIBJPEG),
        ("JPEGLSNearLossless_08.dcm", (45, 10), 1.0),
        ("JPEGLSNearLossless_16.dcm", (50, 10), 1.0),
        ("image_dfl.dcm", (512, 512), 1.0),
        ("liver_1frame.dcm", (512, 512), 1.0),
        ("examples_overlay.dcm", (300, 484), 1.0),
    ],
)
def test_grey_files(name, shape, peak):
    pixels = read(real(name), None)
    assert (pixels.shape, pixels.dtype) == (shape, np.float32)
    assert pixels.max() == pytest.approx(peak)
    assert pixels.std() > 0


@pytest.mark.parametrize(
    "form",
    [
        "rgb_rle_16bit",
        "rgb_gdcm_KY",
        "rgb_jpeg_gdcm",
        "rgb_jpeg_dcmtk",
        "rgb_dcmtk_+eb+cr",
        "rgb_dcmtk_+eb+cy+np",
        "rgb_jls_lossy_line",
        "ybr_full_422_uncompressed",
    ],
)
def test_one_colour_picture_in_many_syntaxes(form):
    pixels = read(real(f"SC_{form}.dcm"), WINDOW)  # a window is for grey values only
    difference = np.abs(pixels - read(real("SC_rgb_rle.dcm"), None))
    assert difference.mean() < 0.02  # red taken for blue: 0.2


def test_ultrasound_in_rgb_palette_and_ybr():
    record = pydicom.dcmread(real("examples_rgb_color.dcm"))
    stored = np.frombuffer(record.PixelData, np.uint8).reshape(240, 320, 3)
    np.testing.assert_allclose(read(real("examples_rgb_color.dcm"), None), stored / 255, atol=1e-6)
    record = pydicom.dcmread(real("examples_palette.dcm"))
    index = np.frombuffer(record.PixelData, np.uint8)[: 350 * 800].reshape(350, 800)
    green = np.frombuffer(record.GreenPaletteColorLookupTableData, "<u2")
    np.testing.assert_allclose(read(real("examples_palette.dcm"), None)[..., 1], green[index] / 65535, atol=1e-6)
    assert read(real("examples_jpeg2k.dcm"), None).shape == (480, 640, 3)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("window", [None, WINDOW])
def test_padding_is_black_and_scales_nothing(photometric, window, tmp_path):
    stored = (np.arange(256, dtype=np.int16) - 128).reshape(16, 16)
    plain = read(write(tmp_path / "plain.dcm", stored, PhotometricInterpretation=photometric), window)
    stored[3, :4] = [-2000, -2001, -2002, -1999]
    elements = {
        "PhotometricInterpretation": photometric,
        "PixelPaddingValue": ("US", 63536),
    }  # -2000, in the wrong type
    padded = read(write(tmp_path / "padded.dcm", stored, **elements), window)
    ranged = read(write(tmp_path / "ranged.dcm", stored, **elements, PixelPaddingRangeLimit=("US", 63534)), window)
    assert padded[3, 0] == 0
    assert (ranged[3, :3] == 0).all()
    untouched = np.arange(256).reshape(16, 16) // 4 != 12
    assert (padded[untouched] == plain[untouched]).all()
    if photometric == "MONOCHROME1":
        assert padded[3, 1] > 0.5
        assert ranged[3, 3] > 0.5


def test_a_modality_table_then_a_view_table(tmp_path):
    entries = np.arange(256)[::-1] * 4  # 10 bits
    path = write(tmp_path / "a.dcm", RAMP, ModalityLUTSequence=table(entries, bits=10))
    np.testing.assert_allclose(read(path, None), (255 - RAMP.astype(float)) * 4 / 1023, atol=1e-6)
    np.testing.assert_allclose(read(path, [0.0, 510.0]), ((255 - RAMP.astype(float)) * 4 / 510).clip(0, 1), atol=1e-6)
    view = table(np.arange(1024) // 4, bits=8)  # more entries than 8 bits can count
    path = write(tmp_path / "b.dcm", RAMP, ModalityLUTSequence=table(entries, bits=10), VOILUTSequence=view)
    np.testing.assert_allclose(read(path, None), (255 - RAMP.astype(float)) / 255, atol=1e-6)


def test_tables_hold_their_ends_and_may_start_below_zero(tmp_path):
    stored = (np.arange(256) * 257 - 32768).astype(np.int16).reshape(16, 16)
    entries = np.arange(201) * 20
    expected = (stored.astype(float) + 100).clip(0, 200) * 20 / 4095
    path = write(tmp_path / "a.dcm", stored, ModalityLUTSequence=table(entries, first=-100, bits=12))
    np.testing.assert_allclose(read(path, None), expected, atol=1e-6)
    views = table(entries, first=-100, bits=12) + table(entries[::-1], first=-100, bits=12)  # the first is taken
    path = write(tmp_path / "b.dcm", stored, VOILUTSequence=views)
    np.testing.assert_allclose(read(path, None), expected, atol=1e-6)
    path = write(tmp_path / "c.dcm", stored, VOILUTSequence=views, RescaleSlope=4, RescaleIntercept="0.6")
    expected = (stored.astype(float) * 4 + 1 + 100).clip(0, 200) * 20 / 4095
    np.testing.assert_allclose(read(path, None), expected, atol=1e-6)


def test_a_sigmoid_view(tmp_path):
    path = write(tmp_path / "a.dcm", RAMP, WindowCenter=100, WindowWidth=40, VOILUTFunction="SIGMOID")
    np.testing.assert_allclose(read(path, None), 1 / (1 + np.exp(-4 * (RAMP - 100.0) / 40)), atol=1e-6)


def palette(entries, *, first, bits):
    described = {f"{c}PaletteColorLookupTableDescriptor": [len(entries), first, bits] for c in ("Red", "Green", "Blue")}
    data = np.asarray(entries).astype("<u2" if bits == 16 else np.uint8).tobytes()
    filled = {f"{c}PaletteColorLookupTableData": data for c in ("Red", "Green", "Blue")}
    return {"PhotometricInterpretation": "PALETTE COLOR", **described, **filled}


@pytest.mark.parametrize(("count", "bits"), [(300, 16), (256, 8)])
def test_palettes_hold_their_ends(count, bits, tmp_path):
    stored = RAMP * np.uint16(3)
    scale = 2 ** (bits - 8)
    path = write(tmp_path / "a.dcm", stored, **palette(np.arange(count) % 256 * scale, first=10, bits=bits))
    expected = (stored.astype(int) - 10).clip(0, count - 1) % 256 * scale / (2**bits - 1)
    np.testing.assert_allclose(read(path, None)[..., 2], expected, atol=1e-6)


COLOUR = np.zeros((4, 4, 3), dtype=np.uint8)
REFUSED = {
    "mpeg": (
        RAMP,
        {"syntax": MPEG2MPML},
        r"readable DICOM .*No pixel data decoders.*\. Replace it",
    ),
    "slope": (RAMP, {"RescaleSlope": 0, "RescaleIntercept": 1}, "its rescale slope must not be 0"),
    "width": (RAMP, {"WindowCenter": 1, "WindowWidth": 0}, "Window Width must be greater"),
    "signed colour": (COLOUR.astype(np.int8), {}, "its colours must be unsigned RGB, YBR or a palette"),
    "HSV": (COLOUR, {"PhotometricInterpretation": "HSV"}, "its colours must be unsigned.*got HSV"),
    "view": (RAMP, {"VOILUTSequence": table([300] * 256, bits=8)}, r"its values must lie in 0\.\.255, not 300\.\.300"),
    "palette": (
        RAMP * np.uint16(2),
        palette(np.arange(400) // 2, first=0, bits=8),
        r"at most 256 entries of 8 bits \(got 400\)",
    ),
    "palette order": (
        RAMP,
        {**palette(range(256), first=0, bits=16), "syntax": ExplicitVRBigEndian},
        "must be in little endian",
    ),
    "frames": (RAMP, {"NumberOfFrames": 2}, r"one frame \(got 2 in .*uint8 or scaled to \[0, 1\]: \[pydicom\.pixels"),
    "slide": (
        COLOUR,
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.6"},
        "not be a whole slide .*openslide, tiatoolbox",
    ),
    "wide": (RAMP, {"Columns": 60000, "Rows": 60000}, r"small enough.*60000 x 60000 pixels\)\. Cut tiles"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_dicom_that_cannot_be_read_rightly_is_refused(case, tmp_path):
    stored, elements, message = REFUSED[case]
    path = write(tmp_path / "image.dcm", stored, **elements)
    with pytest.raises(ValueError, match=message):
        read(path, None)


@pytest.mark.parametrize("name", ["examples_ybr_color.dcm", "SC_rgb_rle_2frame.dcm"])
def test_the_next_step_after_many_frames_works(encoder, name):
    with pytest.raises(ValueError, match=r"image must hold one frame \(got (2|30) in ") as caught:
        encoder.preprocess(real(name))
    code = re.search(r"\[pydicom.*\]", str(caught.value))[0]
    assert encoder(encoder.preprocess(eval(code))).shape == (1, 64)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rtdose.dcm", r"one frame \(got 15 in .*uint8 or scaled to the card's window's unit: "),
        (
            "rtdose_1frame.dcm",
            r"integers of at most 16 bits \(got 32 bits in .*scaled to the card's window's unit: \[p",
        ),
        ("rtplan.dcm", r"image must hold pixels \(got none in .*rtplan\.dcm'\)\. Pass a file that holds an image"),
        ("MR_truncated.dcm", r"readable DICOM \(got .*MR_truncated\.dcm': The number of bytes"),
        ("no_meta.dcm", r"image must hold pixels \(got none in .*no_meta\.dcm"),
    ],
)
def test_real_files_that_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        read(real(name), WINDOW)


def test_float_pixels_are_refused(tmp_path):
    record = pydicom.dcmread(write(tmp_path / "image.dcm", RAMP))
    del record.PixelData
    record.BitsAllocated, record.FloatPixelData = 32, RAMP.astype(np.float32).tobytes()
    record.save_as(tmp_path / "image.dcm")
    with pytest.raises(ValueError, match=r"at most 16 bits \(got 32 bits in .*array scaled to \[0, 1\]: \[") as caught:
        read(tmp_path / "image.dcm", None)
    assert (eval(re.search(r"\[pydicom.*\]", str(caught.value))[0])[0] == RAMP).all()


def test_a_missing_decoder_is_named(monkeypatch):
    monkeypatch.setattr(pydicom.pixels.decoders.JPEGLSLosslessDecoder, "_available", {})
    with pytest.raises(ValueError, match=r"missing dependencies.*Run pip install pylibjpeg .*gdcm\.$"):
        read(real("MR_small_jpeg_ls_lossless.dcm"), None)


def test_a_broken_table_is_an_error_and_no_end_of_the_process(tmp_path):
    data = bytearray(Path(real("SC_rgb_jpeg_lossy_gdcm.dcm")).read_bytes())
    table = data.rindex(b"\xff\xc4")
    data[table + 20] = 0x32  # more codes than the table has room for: GDCM aborts
    (tmp_path / "a.dcm").write_bytes(data)
    code = f"import zoo; print(zoo.fault({str(tmp_path / 'a.dcm')!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout[:32]) == (0, "image must be a readable DICOM (")


@pytest.mark.parametrize("changes", [{"Rows": 99}, {"Columns": 200}, {"SamplesPerPixel": 1}])
def test_a_code_stream_must_be_that_of_its_record(changes, tmp_path):
    record = pydicom.dcmread(real("SC_rgb_jpeg_dcmtk.dcm"))
    record.update(changes)
    record.save_as(tmp_path / "a.dcm")
    with pytest.raises(ValueError, match=r"its code stream must hold .* columns, rows and samples, not"):
        read(tmp_path / "a.dcm", None)
