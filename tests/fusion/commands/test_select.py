"""`fusion select` from end to end."""

import csv
import dataclasses
import json
import re

import numpy as np
import pytest

import fusion
import fusion.commands
from fusion.commands import select
from fusion.report import selection
from tests.fusion.command import call
from tests.fusion.report.reader import words


def leaves(value, path=()):
    """Each value inside of a value, with the way to it."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))
    else:
        yield path, value


def test_select_from_end_to_end(tmp_path, opened):
    out, names = tmp_path / "out.json", ("mocov2-mini@0.125", "mae-mini@0.125")
    said = call("select", *names, "--labels", 60, "--folds", 3, "--output", tmp_path / "out", "--json", out)
    assert opened == ["colin27.npz"]
    train = fusion.brain_regions("train", labels=60)
    expected = fusion.scan(names, train.images, train.labels, train.groups, folds=3)
    found = json.loads(out.read_text())
    assert found.pop("python") == selection.use(expected)
    assert dict(leaves(found)) == pytest.approx(dict(leaves(select._plain(dataclasses.asdict(expected)))), abs=1e-6)
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == ["depths.png", "depths.svg", "levels.csv", "map.png", "map.svg", "report.html"]
    with (tmp_path / "out" / "levels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["logme"]) for row in rows] == [level["logme"] for level in found["levels"]]
    chosen = {row["encoder"]: float(row["depth"]) for row in rows if row["recommended"] == "True"}
    assert chosen == expected.depths
    for line in (*selection.verdict(expected), selection.use(expected)):
        assert line in said
    page = words((tmp_path / "out" / "report.html").read_text())
    assert "60 images of 6 classes in 6 groups, drawn from the train part of brain-regions." in page


def test_what_is_not_a_number_is_null_in_json():
    found = select._plain({"a": (float("nan"), 1.0), "b": [{"c": np.float64("nan")}], "d": None, "e": "x"})
    assert found == {"a": [None, 1.0], "b": [{"c": None}], "d": None, "e": "x"}


def test_a_csv_with_patients_and_splits(table, tmp_path):
    out = tmp_path / "out"
    given = ("mae-mini@0.125", "--data", table, "--split", "train", "--output", out)
    call("select", *given, "--folds", 3)
    page = words((out / "report.html").read_text())
    assert f"18 images of 2 classes in 18 groups, all of {table}, split train." in page
    assert "--split train --folds 3" in page

    assert not (out / "map.png").exists()
    call("compare", "mae-mini@0.125", *given)
    assert "18 images, all of" in words((out / "report.html").read_text())


def test_select_leaves_the_test_part_of_a_csv_alone(table, tmp_path):
    call(
        "select",
        "mae-mini@0.125",
        "--data",
        table,
        "--folds",
        3,
        "--output",
        tmp_path / "out",
    )
    page = words((tmp_path / "out" / "report.html").read_text())
    assert f"18 images of 2 classes in 18 groups, all of {table}, split train." in page
    table.write_text(re.sub(",[^,]*$", "", table.read_text(), flags=re.MULTILINE))  # without splits: all
    call(
        "select",
        "mae-mini@0.125",
        "--data",
        table,
        "--folds",
        3,
        "--output",
        tmp_path / "out",
    )
    assert "20 images of 2 classes" in words((tmp_path / "out" / "report.html").read_text())
