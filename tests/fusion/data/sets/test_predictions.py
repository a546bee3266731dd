"""Probabilities as a CSV."""

import numpy as np
import pytest

from fusion.data.sets import predictions
from fusion.report.words import csv_text


def test_classes_are_told_from_the_other_columns():
    assert predictions.headings(["a", 1, "Path", "error"]) == ["a", "1", "probability of Path", "probability of error"]


@pytest.fixture
def table(tmp_path):
    def write(*rows, head="path,a,b"):
        (tmp_path / "said.csv").write_text("\n".join([head, *rows]))
        return predictions.read(tmp_path / "said.csv")

    return write


def test_a_table_is_read_as_it_is_written(tmp_path):
    columns = [*predictions.OF_IMAGES, *predictions.headings(["=a", "path"]), predictions.ERROR]
    rows = [["-x.png", "P1", "=a", 0.25, 0.75, ""], ["y.png", "P2", "", "", "", "no image"]]
    (tmp_path / "said.csv").write_text(csv_text(columns, rows))
    found = predictions.read(tmp_path / "said.csv")
    assert (found.paths, found.classes, found.lines) == (["-x.png", "y.png"], ["=a", "path"], [2, 3])
    assert found.proba[0].tolist() == [0.25, 0.75]
    assert np.isnan(found.proba[1]).all()
    assert (found.predicted, found.errors, found.several) == (["=a", ""], ["", "no image"], False)


def test_rows_are_matched_by_path_wherever_it_is_relative_to(table, tmp_path, monkeypatch):
    images = [tmp_path / "data" / f"{name}.png" for name in "abcd"]
    found = table(f"{images[3]},0,1", "c.png,0,1", "data\\b.png,0.5,0.5", "here/a.png,1,0", "other.png,1,0")
    (tmp_path / "data" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "data")
    images[0] = tmp_path / "data" / "here" / "a.png"
    assert predictions.rows_of(found, images, tmp_path / "data", several=False) == [3, 2, 1, 0]
    twice = table("c.png,0,1", "c.png,0,1")  # of a table that names an image twice
    assert predictions.rows_of(twice, [images[2]] * 2, tmp_path / "data", several=False) == [0, 0]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["a.png,0,1"], "must hold a row for each image of the data .not so for 1: .*b.png"),
        (["a.png,0,1", "b.png,1,0", "./a.png,1,0"], "one row for each image .* 1: a.png"),
        (["a.png,0,1", "b.png,,"], "probabilities for each image .* 1: b.png"),
        (["a.png,0,1", "b.png,0.5,0.6"], "line 3: probabilities of classes must sum to 1 .got 1.100"),
    ],
)
def test_rows_that_leave_an_image_open_are_refused(table, tmp_path, rows, said):
    with pytest.raises(ValueError, match=said):
        predictions.rows_of(table(*rows), [tmp_path / "a.png", tmp_path / "b.png"], tmp_path, several=False)


@pytest.mark.parametrize(
    ("head", "row", "said"),
    [
        ("path,a,b", "a.png,-1.2,3", "line 2: probabilities must be numbers from 0 to 1 .got '-1.2'"),
        ("path,a,b", "a.png,0.1,", "got ''"),
        ("path,a,b", "a.png,0.1", "line 2: a row must have 3 cells"),
        ("patient,a,b", "P1,0,1", "one column 'path'"),
        ("path,a", "a.png,1", "one for each class"),
        ("path,a,a", "a.png,1,0", "one for each class"),
    ],
)
def test_what_is_no_table_of_probabilities_is_refused(table, head, row, said):
    with pytest.raises(ValueError, match=said):
        table(row, head=head)


def test_several_labels_are_decided_each(table):
    found = table("x,0.9,0.8,a|b", "y,0.2,0.1,", "z,0.2,0.9,b", head="path,a,b,predicted")
    assert found.several
    assert found.decisions([2, 0, 1], several=True).tolist() == [[0, 1], [1, 1], [0, 0]]
    assert table("x,0,1").decisions([0], several=False) is None
