"""A page of pictures, each above a table of its numbers."""

import dataclasses

import numpy as np

from fusion.evaluation.intervals import Interval
from fusion.report import charts
from fusion.report.page import Page, Section, Table, number, render
from tests.fusion.report.reader import Reader


def test_numbers_as_text():
    assert [number(v) for v in (0.12345, -0.5, -0.0001, None, float("nan"))] == [
        *("0.123", "\N{MINUS SIGN}0.500", "0.000"),
        *("\N{EN DASH}", "\N{EN DASH}"),
    ]


def test_an_interval_as_text():
    assert number(Interval(0.5, -0.25, float("nan"))) == "0.500 [\N{MINUS SIGN}0.250, \N{EN DASH}]"


PAGE = Page(
    "A <title>",
    "Of what & how.",
    [
        Section(
            "First",
            ["One sentence.", "Another <b>."],
            code="x = [1]",
            tables=[Table("Of it", ["n", "v"], [["a", "1"]])],
        ),
        Section(
            "Second", picture=charts.agreement_matrix(["a", "b"], np.eye(2)), tables=[Table("Seen.", ["n"], [["b"]])]
        ),
    ],
)


def test_sections_stand_in_their_order_with_what_they_hold():
    read = Reader(render(PAGE))
    assert read.headings == ["A <title>", "First", "Second"]
    assert read.under("First") == [[["n", "v"], ["a", "1"]]]
    assert read.svgs == 1
    text = " ".join(read.text.split())
    assert all(said in text for said in ("Of what & how.", "One sentence.", "Another <b>.", "x = [1]", "Of it"))


def test_the_command_has_a_section_of_its_own_where_there_is_one():
    made = "The command that made this page"
    assert made not in Reader(render(PAGE)).headings
    read = Reader(render(dataclasses.replace(PAGE, command="fusion compare <a> b")))
    assert read.headings[-1] == made
    assert "fusion compare <a> b" in read.text


def test_chosen_rows_stand_out():
    table = Table("", ["n"], [["a"], ["b"], ["c"]], chosen=[0, 2])
    text = render(dataclasses.replace(PAGE, sections=[Section("Only", tables=[table])]))
    assert text.count('class="chosen"') == 2
    assert Reader(text).under("Only") == [[["n"], ["a"], ["b"], ["c"]]]
