"""The window of volumes, which state none, in every command that reads images."""

import nibabel
import numpy as np
import pytest

import zoo
from fusion.commands import windows
from tests.fusion.command import call
from tests.fusion.report.reader import words


@pytest.fixture
def volumes(tmp_path):
    """Two slices of each of ten volumes, brighter in every second one, with patients."""
    rng = np.random.default_rng(0)
    rows = ["path,label,patient"]
    for k in range(10):
        voxels = rng.integers(0, 60, (24, 24, 3)).astype(np.int16) + 100 * (k % 2)
        nibabel.Nifti1Image(voxels, np.eye(4)).to_filename(tmp_path / f"{k}.nii.gz")
        rows += [f"{k}.nii.gz:{z},{'ab'[k % 2]},p{k}" for z in range(2)]
    (tmp_path / "data.csv").write_text("\n".join(rows))
    return tmp_path / "data.csv"


def test_compare_changes_and_select_take_volumes(volumes, tmp_path):
    seen = ("--data", volumes, "--output", tmp_path / "out")
    window, page = ("--window", 0, 200), tmp_path / "out" / "report.html"
    for command in (("compare", "mae-mini@0.125", "mocov2-mini@0.125"), ("select", "mae-mini@0.125", "--folds", 3)):
        assert "window" in call(*command, *seen, code=1)
        said = call(*command, *seen, *window)
        assert (
            f"20 images of 2 classes in 10 groups, all of {volumes}." in said or f"20 images, all of {volumes}." in said
        )
        assert "--window 0.0 200.0" in words(page.read_text())
    assert 'FusionClassifier([zoo.load("mae-mini@' in said
    assert ", window=[0.0, 200.0])], folds=3)" in said
    call("fit", volumes, tmp_path / "model", "--encoder", "mae-mini@0.125", "--folds", 2, *window)
    assert f"20 images, all of {volumes}." in call("changes", tmp_path / "model", *seen)  # by the model's own


def test_the_window_of_the_option_goes_before_the_cards():
    names, view = windows.windowed(["mae-mini@0.25", "lab/none"], None)
    assert (names, view) == (["mae-mini@0.25", "lab/none"], None)
    found, view = windows.windowed(["mae-mini@0.25", "mocov2-mini@0.25"], (-160.0, 240.0))
    assert view == (-160.0, 240.0)
    assert [encoder.name for encoder in found] == ["mae-mini@0.25", "mocov2-mini@0.25"]
    assert all(encoder.card.input.window == [-160.0, 240.0] for encoder in found)
    assert windows.of(found) == [-160.0, 240.0]
    assert windows.of([*found, zoo.load("mae-mini@0.25")]) is None


def test_the_window_is_of_all_depths():
    names, view = windows.windowed(["mae-mini@0.25+0.5"], None, several=True)
    assert (names, view) == (["mae-mini@0.25+0.5"], None)
    found, _ = windows.windowed(["mae-mini@0.25+0.5"], (-160.0, 240.0), several=True)
    assert [(taps.name, taps.depths) for taps in found] == [("mae-mini@0.25+0.5", (0.25, 0.5))]
    assert windows.of([taps.encoder for taps in found]) == [-160.0, 240.0]
    with pytest.raises(ValueError, match=r"depth must be a number .*\(got '0.25\+0.5'\)"):
        windows.windowed(["mae-mini@0.25+0.5"], (-160.0, 240.0))
