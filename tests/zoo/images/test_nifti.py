"""Slices of NIfTI volumes: scaled, windowed, or refused with the next step."""

import gzip
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest

import zoo
from tests.zoo.images.files import VOXELS, WINDOW, volume
from zoo.images.reading import read


@pytest.mark.parametrize("suffix", ["nii", "nii.gz", "NII"])
def test_a_slice_is_scaled_and_windowed(suffix, tmp_path):
    path = volume(tmp_path / f"ct.{suffix}", VOXELS, slope=40, intercept=-1024)
    expected = ((VOXELS[:, :, 2].T * 40.0 - 1024 + 1000) / 1400).clip(0, 1)  # (first, second) axis -> (H, W)
    np.testing.assert_allclose(read(f"{path}:2", [-1000.0, 400.0]), expected, atol=1e-6)
    assert read(f"{path}:2", [-1000.0, 400.0]).shape == (4, 3)


def broken(path):
    path.write_bytes(b"no header")
    return path


@pytest.mark.parametrize(
    ("build", "index", "window", "message"),
    [
        (
            lambda p: volume(p, VOXELS),
            ":2",
            None,
            r"a card must have a window to read NIfTI.*\(got None.*zoo\.load\(\.\.\., window=\[low, high\]\)",
        ),
        (lambda p: volume(p, VOXELS), "", WINDOW, r"slice must be in 0\.\.4 \(got None\)\. Try '.*a\.nii:2'"),
        (lambda p: volume(p, VOXELS), ":5", WINDOW, r"slice must be in 0\.\.4 \(got '5'\)"),
        (lambda p: volume(p, VOXELS), ":-1", WINDOW, r"slice must be in 0\.\.4 \(got '-1'\)"),
        (lambda p: volume(p, VOXELS.astype(np.complex64)), ":0", WINDOW, "hold real numbers .*complex64"),
        (lambda p: volume(p, np.full((3, 4, 5), np.nan)), ":0", WINDOW, "its values must be numbers, not NaN"),
        (broken, ":0", WINDOW, r"image must be a readable NIfTI \(got .*a\.nii'.*Replace it"),
        (lambda p: p, ":0", WINDOW, r"image must be a readable file \(got .*a\.nii': No such file.*Check the path"),
    ],
)
def test_volumes_that_cannot_be_read_rightly_are_refused(build, index, window, message, tmp_path):
    path = build(tmp_path / "a.nii")
    with pytest.raises(ValueError, match=message):
        read(f"{path}{index}", window)


def test_the_next_step_after_four_dimensions_works(tmp_path):
    path = volume(tmp_path / "a.nii", np.stack([VOXELS] * 2, -1), slope=2)
    with pytest.raises(ValueError, match=r"a volume must be 3-D \(got \(3, 4, 5, 2\) in ") as caught:
        read(f"{path}:0", WINDOW)
    code = re.search(r"\[nibabel.*\]", str(caught.value))[0]
    assert (eval(code, {"nibabel": nibabel})[0] == 2 * VOXELS[:, :, 0].T).all()


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 5, 1), (3, 4, 5, 1, 1), (3, 4, 1), (3, 4, 1, 1), (3, 4)])
def test_axes_of_one_are_no_axes(shape, tmp_path):
    values = VOXELS.ravel()[: np.prod(shape)].reshape(shape)
    path = volume(tmp_path / "a.nii.gz", values, slope=2, intercept=-7)
    window, last = [-7.0, 113.0], (shape[2] - 1 if len(shape) > 2 else 0)
    plane = values.reshape(*shape[:2], -1)[..., last].T
    np.testing.assert_allclose(read(f"{path}:{last}", window), 2 * plane / 120, atol=1e-6)
    if last == 0:
        np.testing.assert_allclose(read(path, window), 2 * plane / 120, atol=1e-6)


@pytest.mark.parametrize("slope", [0, np.nan])
def test_a_slope_that_is_none_scales_nothing(slope, tmp_path):
    path = volume(tmp_path / "a.nii", VOXELS)
    data = bytearray(Path(path).read_bytes())
    data[112:116] = np.float32(slope).tobytes()
    Path(path).write_bytes(data)
    np.testing.assert_allclose(read(f"{path}:0", [0.0, 60.0]), VOXELS[..., 0].T / 60, atol=1e-6)


def test_a_card_without_a_window_is_given_one(tmp_path):
    path = volume(tmp_path / "ct.nii.gz", np.arange(64 * 64, dtype=np.int16).reshape(64, 64, 1) - 1000)
    with pytest.raises(ValueError, match=r"window=\[low, high\]"):
        zoo.load("mocov2-mini", 0.5).preprocess(f"{path}:0")
    assert zoo.load("mocov2-mini", 0.5, window=[-1000, 3095]).preprocess(f"{path}:0").shape == (1, 1, 64, 64)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_a_header_beyond_reason_is_not_read(order, kind, tmp_path):
    image = kind(VOXELS, np.eye(4), header=kind.header_class(endianness=order))
    image.to_filename(tmp_path / "a.nii.gz")
    assert read(f"{tmp_path}/a.nii.gz:0", WINDOW).shape == (4, 3)
    data = bytearray(gzip.decompress((tmp_path / "a.nii.gz").read_bytes()))
    first = kind is nibabel.Nifti1Image
    place = slice(108, 112) if first else slice(168, 176)
    data[place] = np.array(2**30, f"{order}f4" if first else f"{order}i8").tobytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(data))
    with pytest.raises(ValueError, match="its header must be of at most"):
        read(f"{tmp_path}/a.nii.gz:0", WINDOW)
