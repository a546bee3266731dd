"""One warning a call where the scale is most likely not what was meant."""

import re
import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image

import zoo
import zoo.images.reading
from tests.zoo.images.files import RAMP, volume, write

TWELVE = np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)
HOUNSFIELD = (TWELVE % 3000).astype(np.int16) - 1000


def told(encoder, images):
    with pytest.warns(UserWarning, match="constant|nearly black") as caught:
        found = encoder.preprocess(images)
    assert len(caught) == 1
    return found, str(caught[0].message)


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("kind", ["tif", "png", "colour.tif", "array", "big-endian"])
def test_fewer_bits_than_16_are_told_and_the_step_is_right(encoder, bits, kind, tmp_path):
    values = TWELVE >> 2 if bits == 10 else TWELVE >> 4 if bits == 8 else TWELVE << (bits - 12)
    name = str(tmp_path / f"a.{kind}")
    if kind == "colour.tif":
        tifffile.imwrite(name, np.stack([values] * 3, -1), photometric="rgb")
    elif kind in ("tif", "png"):
        Image.fromarray(values).save(name)
    images = {"array": [values], "big-endian": values[None].astype(">u2")}.get(kind, [name])
    _, said = told(encoder, images)
    assert f"uses {bits} of 16 bits" in said
    step = re.search(r"pass (.*)\.$", said)[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = encoder.preprocess(eval(step) if kind not in ("array", "big-endian") else [eval(step, {"x": values})])
        right = encoder.preprocess([(values / (2**bits - 1)).astype(np.float32)])
    np.testing.assert_allclose(found, right, atol=1e-5)


@pytest.mark.parametrize("padded", [False, True])
def test_a_ct_without_a_window_is_told_and_a_window_helps(encoder, padded, tmp_path):
    stored = HOUNSFIELD.copy()
    if padded:
        stored[:8] = -2000
    path = write(tmp_path / "a.dcm", stored, PixelPaddingValue=("SS", -2000))
    _, said = told(encoder, [path, path, RAMP.repeat(4, 0).repeat(4, 1)])
    assert re.search(r"a\.dcm' is nearly constant .*window=\[low, high\].*So are 1 more of 3 images", said)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        zoo.load("mocov2-mini", 0.5, window=[-160, 240]).preprocess([path])


def test_a_window_beside_the_values_is_told(tmp_path):
    encoder = zoo.load("mocov2-mini", 0.5, window=[5000, 6000])
    path = volume(tmp_path / "a.nii", HOUNSFIELD[..., None])
    assert "is constant (0 in [0, 1])" in told(encoder, f"{path}:0")[1]


@pytest.mark.parametrize("low", [0, 100, 255])
def test_an_even_or_faint_picture_is_told(encoder, low, tmp_path):
    Image.fromarray((RAMP // 32 + np.uint8(low)).clip(0, 255) if low < 255 else RAMP * 0).save(tmp_path / "a.png")
    assert "constant" in told(encoder, tmp_path / "a.png")[1]


@pytest.mark.parametrize(
    "images", [np.zeros((2, 9, 9), np.uint8), [np.ones((9, 9))], [RAMP], [RAMP * np.uint16(257)], [RAMP > 3], []]
)
def test_nothing_is_said_of_what_is_plain_or_made_so(encoder, images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.preprocess(images)


def test_doubts_of_several_calls_are_gathered_and_told_together(encoder):
    doubts = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [encoder.preprocess([TWELVE], doubts=doubts) for _ in range(3)]
        encoder.preprocess([RAMP], doubts=doubts)
        encoder.preprocess.tell([], 4)
    assert len(doubts) == 3
    with pytest.warns(UserWarning, match=r"uses 12 of 16 bits.*So are 2 more of 4 images\.$") as caught:
        encoder.preprocess.tell(doubts, 4)
    assert caught[0].filename == __file__
    alone, _ = told(encoder, [TWELVE])
    np.testing.assert_array_equal(alone, found[0])
