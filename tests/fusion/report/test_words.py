"""Names and numbers in words, and rows as CSV."""

import csv
import io

import pytest

from fusion.report import words


def test_budgets_in_words():
    assert [words.labels_name(n) for n in (None, 60, 0.1, 1.0)] == [
        "all labels",
        "60 labels",
        "10 % of labels",
        "100 % of labels",
    ]


def test_encoders_in_words():
    assert [words.encoders_name(names) for names in ((), ("a@1",), ("a@1", "b@0.5"))] == [
        *("raw pixels", "a@1", "a@1 + b@0.5")
    ]


def test_a_p_value_is_never_a_zero_that_is_none():
    assert [words.p_text(p) for p in (1.0, 0.04567, 0.0001, 0.00009, 1e-12)] == [
        *("1.0000", "0.0457", "0.0001", "9.0e-05", "1.0e-12")
    ]
    assert words.p_text(float("nan")) == "\N{EN DASH}"


def test_rows_are_csv_that_reads_back():
    records = [("a, b", 'said "x"'), ("two\nlines", 0.1), (None, True)]
    text = words.csv_text(("first", "second"), iter(records))
    assert text.splitlines()[0] == "first,second"
    assert "\r" not in text
    assert list(csv.reader(io.StringIO(text)))[1:] == [["a, b", 'said "x"'], ["two\nlines", "0.1"], ["", "True"]]
    assert words.csv_text(("a",), []) == "a\n"


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1", "\ufeff=1"]
)
def test_text_that_a_spreadsheet_would_run_is_text_there(text):
    kept = "'" + text.replace("\r", "\n")
    (row,) = csv.reader(io.StringIO(words.csv_text((text, "b"), [])))
    assert row == [kept, "b"]
    assert list(csv.reader(io.StringIO(words.csv_text(("a",), [(text,)]))))[1] == [kept]


def test_numbers_and_plain_text_stay_as_they_are():
    values = (-0.5, "-0.5", "+3", "-1e-05", None, True, "a=b", "x-y", "", "'quoted", float("nan"))
    (row,) = csv.reader(io.StringIO(words.csv_text(values, [])))
    assert row == ["-0.5", "-0.5", "+3", "-1e-05", "", "True", "a=b", "x-y", "", "'quoted", "nan"]
