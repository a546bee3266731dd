"""Images to be answered: files, folders and CSVs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusion.data.sets import unlabelled


@pytest.fixture
def place(tmp_path):
    for name in ("b.png", "inner/a.png", ".hidden.png"):
        (tmp_path / "scans" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "scans" / name)
    (tmp_path / "scans" / "notes.md").write_text("no image")
    return tmp_path


def test_folders_are_walked_and_files_taken_as_they_are(place):
    found = unlabelled.read([place / "scans", place / "nowhere.png"])
    assert [one.name for one in found] == [
        str(place / name) for name in ("scans/b.png", "scans/inner/a.png", "nowhere.png")
    ]
    assert all(one.path == Path(one.name) and not one.patient for one in found)


def test_a_csv_needs_no_labels_and_keeps_its_spelling(place):
    table = place / "asked.csv"
    table.write_text("Path;patient\nscans/b.png; P1 \nscans/inner/a.png;P2\n")
    found = unlabelled.read([table])
    assert [(one.name, one.patient) for one in found] == [("scans/b.png", "P1"), ("scans/inner/a.png", "P2")]
    assert all(one.path.is_file() for one in found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,patient\nscans/b.png,P1\nscans/inner/a.png,\n", "filled column 'patient' .* line 3"),
        ("file\nb.png\n", "filled column 'path'"),
        ("path\n", "must hold rows"),
    ],
)
def test_a_csv_that_leaves_something_open_is_refused(place, text, said):
    (place / "asked.csv").write_text(text)
    with pytest.raises(ValueError, match=said):
        unlabelled.read([place / "asked.csv"])
