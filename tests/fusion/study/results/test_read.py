"""What a study's folder holds, told."""

import json
import shutil

import numpy as np
import pytest

from fusion.evaluation import score
from fusion.study import folder
from fusion.study.grid import Cell
from fusion.study.results import read
from fusion.study.results.read import Judged
from tests.fusion.study.small_studies import answers


@pytest.fixture
def copied(undisturbed, tmp_path):
    """A study of one's own to change."""
    return shutil.copytree(undisturbed, tmp_path / "study")


def test_the_state_names_every_cell_once_and_estimates_what_is_left(copied):
    first, second, *rest = sorted((copied / "cells").glob("*.json"))
    spent = [json.loads(path.read_text())["seconds"] for path in rest]
    gone, broken = (json.loads(path.read_text()) for path in (first, second))
    first.unlink()
    second.write_text(json.dumps(broken | {"status": "failed", "error": "ValueError: x"}))
    now = read.state(copied)
    assert (len(now.done), len(now.missing), list(now.failed.values())) == (8, 1, ["ValueError: x"])
    named = {str(cell): cell.key for cell in read.cells(folder.study(copied))}
    assert sorted([*now.done, *now.missing, *now.failed]) == sorted(named)
    assert [named[name] for name in (*now.missing, *now.failed)] == [gone["key"], broken["key"]]
    assert now.pace == pytest.approx(np.mean(spent))
    assert now.seconds == pytest.approx(np.mean(spent))


def test_before_anything_is_done_nothing_is_estimated_or_written(copied):
    for path in (copied / "cells").iterdir():
        path.unlink()
    now = read.state(copied)
    assert (now.pace, now.seconds, len(now.missing)) == (None, None, 10)
    with pytest.raises(ValueError, match=r"must hold results \(got no cell that is done\)\. Go on with"):
        read.write(copied)


def test_results_are_the_kept_answers_and_what_they_are_judged_against(undisturbed):
    found = read.results(undisturbed)
    rows, part = found.validation
    assert (len(rows), found.test, read.contests(found), read.mechanics(undisturbed, found)) == (10, None, [], [])
    kept = answers(undisturbed)
    for chosen, row in zip(found.chosen, rows, strict=True):
        assert (chosen.row.encoders, chosen.row.strategy) == (row.encoders, row.strategy)
        np.testing.assert_array_equal(row.probabilities, [kept[f"{cell.key}.npz"] for cell in chosen.cells])
    assert sorted(part.classes.tolist()) == part.classes.tolist() == sorted(set(part.labels.tolist()))
    lines = read.lines(*found.validation)
    assert [line.figures.auc.value for line in lines] == [
        score.score(part.labels, row.probabilities, part.classes, resamples=1).auc.value for row in rows
    ]
    assert read.lines([], part) == []


def test_cells_come_back_as_they_were_listed(undisturbed):
    found = read.cells(folder.study(undisturbed))
    assert len(found) == len({cell.key for cell in found}) == 10
    assert {cell.key for cell in found} == set(folder.study(undisturbed)["cells"])
    assert all(isinstance(cell, Cell) and isinstance(cell.encoders, tuple) for cell in found)


def test_a_difference_is_paired():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    ours, theirs = (np.stack([1 - p, p], 1)[None] for p in (0.5 * y + 0.5 * rng.random(60), rng.random(60)))
    part = Judged(y, np.arange(60) // 3, np.array([0, 1]))
    found = read.difference(ours, theirs, part).auc
    alone = [score.score(y, side, [0, 1], part.groups).auc.value for side in (ours, theirs)]
    assert found.value == pytest.approx(alone[0] - alone[1])
    assert found.low > 0
    assert read.difference(ours, ours, part).auc.high == 0


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("brain-regions", ["Colin27", "MNI152", "one brain against one brain"]),
        ("brain-regions@2/5", ["Fold 2 of 5 is the test part", "says nothing about another brain"]),
        ("images/scans.csv", ["Data: images/scans.csv."]),
        ("images/scans.csv@1/3", ["Data: images/scans.csv. Fold 1 of 3 is the test part"]),
    ],
)
def test_the_task_in_words(source, said):
    text = read._task(source)
    assert all(words in text for words in said)
    assert ("MNI152" in text) == (source == "brain-regions")
