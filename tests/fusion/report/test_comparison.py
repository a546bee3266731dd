"""The page of `fusion compare` and `fusion changes`."""

import dataclasses
import re

import numpy as np
import pytest

from fusion.report import comparison, selection
from fusion.report.page import number
from fusion.similarity import compare
from fusion.similarity.compare import Comparison
from tests.fusion.report.reader import Reader, words
from tests.fusion.report.small_results import DEPTHS, PAIR, SCAN, VALUES

SQUARE = Comparison("cca", "<b>&'one'", "other@1", (DEPTHS, DEPTHS), np.vstack([VALUES, [0.1] * 4]), 64)
SIZES = compare.BatchSizes(("left@0.75", "right@1"), [4, 8], [0.51, 0.52], [0.91, 0.71], 12)


def compared(comparisons, **more):
    return comparison.comparison_page(comparisons, task="Images <of> brains.", **more)


def test_the_page_of_a_comparison_says_everything_in_order():
    text = compared([PAIR], batches=[SIZES], command="fusion compare left right")
    read = Reader(text)
    assert read.headings == [
        "left@0.75 and right@1",
        *("Every block beside every block", "Minibatch CKA over the batch size", "The command that made this page"),
    ]
    (values,) = read.under("Every block beside every block")
    assert values[0] == ["depth", "0.25", "0.5", "0.75", "1"]
    assert values[1] == ["0.25", "0.990", "0.500", "0.104", "\N{MINUS SIGN}0.061"]
    assert [row[0] for row in values[1:]] == ["0.25", "0.5", "0.75"]
    (sizes,) = read.under("Minibatch CKA over the batch size")
    assert sizes == [["images in a batch", "debiased", "biased"], ["4", "0.510", "0.910"], ["8", "0.520", "0.710"]]
    assert read.svgs == 2
    assert "debiased CKA, 120 images; rows: depth of left@0.75; columns: of right@1." in read.text
    assert "unrelated features give about 0" in read.text
    assert "does not say which of the two is better for a task" in read.text
    assert "fusion compare left right" in read.text


def test_nothing_is_outside_the_pages_and_names_are_text():
    for text in (compared([PAIR, SQUARE], command="x"), selection.selection_page(SCAN, task="<i>")):
        links = Reader(text).links
        assert links
        assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
        assert not re.search(r"(href|src)=.https?:|url\(\W?http|@import|<script", text)
        assert "<b>" not in text
        assert "<i>" not in text
        assert "<!--" not in re.sub(r"<!-- [^<>]*? -->", "", text)  # matplotlib's comments hold names too
    assert "<b>&'one' and other@1" in Reader(compared([SQUARE])).headings[0]
    assert "Images <of> brains." in words(compared([SQUARE]))


def test_curves_stand_where_both_have_the_same_depths():
    tuned = dataclasses.replace(SQUARE, second="tuned", values=SQUARE.values / 2)
    read = Reader(compared([PAIR, SQUARE, tuned, dataclasses.replace(SQUARE, measure="cka")]))
    assert read.headings[0] == "4 comparisons of encoders"
    assert read.headings[-2:] == ["At the same depth"] * 2  # a measure each
    first, second = read.under("At the same depth")
    assert first[0] == ["depth", "<b>&'one' and other@1", "<b>&'one' and tuned"]
    assert first[1:] == [
        [f"{d:g}", number(v), number(v / 2)] for d, v in zip(DEPTHS, SQUARE.values.diagonal(), strict=True)
    ]
    assert len(second[0]) == 2
    assert Reader(compared([PAIR])).under("At the same depth") == []


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        ("cka", "unrelated features give about 0"),
        ("biased-cka", "unrelated features give more than 0"),
        ("cca", "each is a linear map of the other"),
        ("minibatch-cka, batch 64", "as seen in batches of that size"),
    ],
)
def test_each_measure_is_read_in_its_own_way(measure, said):
    text = words(compared([dataclasses.replace(PAIR, measure=measure)]))
    assert said in text
    assert sum(name in text for name in comparison._READ.values()) == 1


def test_wide_tables_are_cut_so_that_they_fit_a_sheet():
    depths = tuple(k / 30 for k in range(1, 31))
    values = np.arange(60).reshape(2, 30) / 60
    tables = Reader(compared([Comparison("cka", "a", "b", (DEPTHS[:2], depths), values, 9)])).tables
    assert [len(rows[0]) for _, rows in tables] == [13, 13, 7]
    assert [cell for _, rows in tables for cell in rows[2][1:]] == [f"{v:.3f}" for v in values[1]]


def test_the_same_page_gives_the_same_text_and_none_is_refused():
    assert compared([PAIR], batches=[SIZES]) == compared([PAIR], batches=[SIZES])
    with pytest.raises(ValueError, match="comparisons must be one or more"):
        compared([])
