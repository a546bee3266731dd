"""Encoders that may be chosen, and their features at every depth."""

import numpy as np
import pytest

import zoo
from fusion.data import shifts
from fusion.features import extract, taps
from fusion.selection import candidates
from tests.fusion.selection.small_task import TRAIN


def test_names_lose_their_depth_and_without_one_take_all():
    found = candidates.load(["mae-mini@0.25", zoo.untrained("mocov2-mini", 0.5)], "cpu")
    assert list(found) == ["mae-mini", "untrained-mocov2-mini#0"]
    assert candidates.load(["mocov2-mini"], "cpu")["mocov2-mini"].depth == 1
    several = taps.load("mocov2-mini@0.25+1").encoder  # as a fitted model has it
    assert list(candidates.load([several], "cpu")) == ["mocov2-mini"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "encoders must be a list of names or encoders"),
        ("mae-mini", "encoders must be a list of names or encoders"),
        (["mae-mini@0.25", "mae-mini@0.5"], r"encoders must be given once each .* Leave depths out\."),
    ],
)
def test_none_and_the_same_twice_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        candidates.load(given, "cpu")


def test_clean_features_are_those_of_the_images():
    found = candidates.load(["mae-mini@0.25"], "cpu")
    blocks, rows = candidates.features(found, TRAIN.images[:9], "clean")
    assert rows.tolist() == list(range(9))
    np.testing.assert_array_equal(blocks["mae-mini"][1], extract.extract("mae-mini@0.25", TRAIN.images[:9]))


def test_shifted_ones_are_of_copies_as_well():
    found = candidates.load(["mae-mini@0.25"], "cpu")
    blocks, rows = candidates.features(found, TRAIN.images[:9], "shifted")
    assert rows.tolist() == list(range(9)) * (1 + len(shifts.FITTED))
    assert [len(block) for block in blocks["mae-mini"]] == [54, 54]
    np.testing.assert_array_equal(blocks["mae-mini"][1][:9], extract.extract("mae-mini@0.25", TRAIN.images[:9]))
    assert not np.allclose(blocks["mae-mini"][1][:9], blocks["mae-mini"][1][9:18], atol=0.01)


def test_another_way_to_select_is_refused():
    with pytest.raises(ValueError, match=r"select must be 'clean' or 'shifted' \(got 'best'\)"):
        candidates.check_way("best")
