"""CSVs that call their columns otherwise."""

import json

import pytest

from tests.fusion.command import call

SMALL = ("--encoder", "mae-mini@0.125", "--folds", 2)
NAMED = ("--path-column", "Image Index", "--label-column", "Finding", "--patient-column", "Patient ID")


@pytest.fixture
def theirs(table):
    """The same data with headings of others, semicolons, and a column that is called as ours is."""
    rows = [line.split(",") for line in table.read_text().splitlines()[1:]]
    lines = ["label;Image Index;Finding;Patient ID;split", *(f"x;{a};{b};{c};{d}" for a, b, c, d in rows)]
    table.with_name("theirs.csv").write_text("\n".join(lines))
    return table.with_name("theirs.csv")


def test_headings_of_others_are_read_where_they_are_named(table, theirs, tmp_path):
    assert "Fitted concat on 18 images, 2 classes" in call("fit", theirs, tmp_path / "model", *SMALL, *NAMED)
    call("fit", table, tmp_path / "other", *SMALL)
    ours, said = (json.loads((tmp_path / name / "model.json").read_text()) for name in ("other", "model"))
    assert said["classes"] == ours["classes"] == ["cerebellum", "parietal"]
    assert sorted(said["seen"]) == sorted(ours["seen"])  # images and patients
    judged = ("evaluate", tmp_path / "model", theirs, "--split", "all", "--allow-seen", "--json", tmp_path / "out.json")
    assert "20 patients" in call(*judged, *NAMED)
    named = (*NAMED[:2], *NAMED[4:], "--per", "patient", "--out", tmp_path / "out.csv")
    assert "Answered 20 of 20 rows" in call("predict", tmp_path / "model", theirs, *named)
    call("predict", tmp_path / "model", table, "--out", tmp_path / "said.csv")
    assert "20 patients" in call("evaluate", tmp_path / "said.csv", theirs, "--split", "all", *NAMED)


def test_headings_that_are_not_there_are_refused(table, theirs, tmp_path):
    fit = ("fit", theirs, tmp_path / "model", *SMALL)
    assert "theirs.csv must have one column 'Image', for path (got columns ['label', 'Image Index'," in call(
        *fit, "--path-column", "Image", code=1
    )
    said = call("fit", tmp_path, tmp_path / "model", "--label-column", "Finding", code=1)
    assert "--label-column must come with a CSV (got " in said
    assert not (tmp_path / "model").exists()
