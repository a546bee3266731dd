"""Numbers that a spreadsheet shortened, as text and as what pandas makes of it."""

import io

import numpy as np
import pandas as pd
import pytest

from fusion.data import folds
from fusion.evaluation import digits, score, units


@pytest.mark.parametrize("text", ["1.23457E+12", "1,23457E+12", "1E+12", "-9.87654E+15", "1.23e+100", " 1.2E+09 "])
def test_what_a_spreadsheet_shortened_is_no_id(text):
    assert digits.shortened(text)
    ids = ["p1", "p2", text, "p4", "p5", "p6"]
    for entry in (
        lambda: units.ids(ids),
        lambda: folds.members(ids, 6),
        lambda: score.score([0, 1] * 3, np.full((6, 2), 0.5), [0, 1], ids),
        lambda: units.digests(np.zeros((6, 2, 2)), ids),
    ):
        with pytest.raises(
            ValueError, match=r"groups must have all their digits .* for images \[2\].*Format the column"
        ):
            entry()


@pytest.mark.parametrize("text", ["1234570000000", "E+12", "P1.2E+12", "12.5E+12", "1.2E12", "1.2E-12", "1E+12b", "p"])
def test_other_text_is_an_id(text):
    assert not digits.shortened(text)
    assert units.ids([text, "x"]).tolist() == [text, "x"]


def test_small_powers_may_be_names():
    assert digits.shortened("1E+05")
    assert not digits.shortened("1E+05", 11)
    assert digits.shortened("1.5E+11", 11)


def test_what_pandas_made_of_such_text_is_told():
    for text in ("1.23457E+12", "9.8E+11"):
        column = pd.read_csv(io.StringIO(f"patient\n{text}\n7"))["patient"]
        assert column.dtype == float
        with pytest.warns(UserWarning, match=r"groups seem to have lost digits.*Format the column as Text"):
            units.ids(column)
    for whole in ([1234567890123.0, 7.0], [100000.0], [99999900000.0]):  # these have all that they had
        assert units.ids(pd.Series(whole)).tolist() == whole
