"""Slices of NIfTI volumes: scaled, windowed, or refused with the next step."""

import re

import nibabel
import numpy as np
import pytest

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
            r"a card must have a window to read NIfTI.*\(got None.*own card that",
        ),
        (lambda p: volume(p, VOXELS), "", WINDOW, r"slice must be in 0\.\.4 \(got None\)\. Try '.*a\.nii:2'"),
        (lambda p: volume(p, VOXELS), ":5", WINDOW, r"slice must be in 0\.\.4 \(got '5'\)"),
        (lambda p: volume(p, VOXELS), ":-1", WINDOW, r"slice must be in 0\.\.4 \(got '-1'\)"),
        (lambda p: volume(p, VOXELS.astype(np.complex64)), ":0", WINDOW, "hold real numbers .*complex64"),
        (lambda p: volume(p, np.full((3, 4, 5), np.nan)), ":0", WINDOW, "its values must be numbers, not NaN"),
        (broken, ":0", WINDOW, r"image must be a readable NIfTI \(got .*a\.nii'.*Replace it"),
        (lambda p: p, ":0", WINDOW, r"image must be a readable NIfTI \(got .*a\.nii'.*Replace it"),
    ],
)
def test_volumes_that_cannot_be_read_rightly_are_refused(build, index, window, message, tmp_path):
    path = build(tmp_path / "a.nii")
    with pytest.raises(ValueError, match=message):
        read(f"{path}{index}", window)


def test_the_next_step_after_four_dimensions_works(tmp_path):
    path = volume(tmp_path / "a.nii", VOXELS[..., None], slope=2)
    with pytest.raises(ValueError, match=r"a volume must be 3-D \(got \(3, 4, 5, 1\) in ") as caught:
        read(f"{path}:0", WINDOW)
    code = re.search(r"\[nibabel.*\]", str(caught.value))[0]
    assert (eval(code, {"nibabel": nibabel})[0] == 2 * VOXELS[:, :, 0].T).all()
