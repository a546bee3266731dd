"""The page and the tables of what fine-tuning changed inside."""

import csv
import itertools

import numpy as np
import pytest

from fusion.report.page import number
from fusion.study.results import inside_page
from fusion.study.results import series as series_
from tests.fusion.command import call
from tests.fusion.report.reader import Reader


@pytest.mark.slow
def test_the_page_and_the_tables(found, folder):
    said = call("study", "inside", folder)
    assert all(name in said for name in ("inside.html", "representations.csv", "predictions.csv", "correlations.csv"))
    with (folder / "representations.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * len(found.likeness)
    assert float(rows[0]["cca"]) == pytest.approx(found.likeness[0].quarters[0], abs=1e-4)
    read = Reader((folder / "inside.html").read_text())
    assert read.headings[1:] == ["Likeness by quarter", "Mistakes in common", "Likeness against gain"]
    means = inside_page.means(found)
    (table,) = read.under("Likeness by quarter")
    assert [row[0] for row in table[1:]] == list(means)
    assert read.svgs == 1
    assert "Label budget: 12 labels. Seeds: 0." in read.text
    still = "; ".join(found.left_out)
    assert f"Left out: {still}: likeness is the same in all folds." in read.text


def test_its_tables_are_written_as_those_of_the_series_are():
    assert inside_page.csv_text is series_.csv_text


@pytest.mark.slow
def test_pages_tell_budgets_apart_and_take_means_over_seeds(several, changes):
    found, _ = changes
    page = inside_page.page(found)
    assert page.task.endswith("Label budget: 12 labels, 24 labels. Seeds: 0, 1.")
    name = "mocov2-mini@0.25"
    means = inside_page.means(found)
    own = [e.quarters for e in found.likeness if (e.first, e.second, e.run.labels) == (name, f"{name}, full", 24)]
    assert len(own) == 2
    assert means[f"{name} | {name}, full, 24 labels"] == pytest.approx(np.mean(own, axis=0))
    mistakes = next(section for section in page.sections if section.heading == "Mistakes in common")
    assert [row[0] for row in mistakes.tables[0].rows] == [
        f"{name} | untrained:{name}, full, {labels} labels" for labels in (12, 24)
    ]
    errors = [entry.found.errors.value for entry in found.together if entry.run.labels == 12]
    assert mistakes.tables[0].rows[0][2] == number(float(np.mean(errors)))  # seeds are no folds: no deviation
    trends = next(section for section in page.sections if section.heading == "Likeness against gain")
    assert trends.tables == []
    assert trends.sentences[-1].endswith("quarter 1: a correlation needs 4 folds (got 1).")
    inside_page.write(several, found)
    for table in ("representations.csv", "predictions.csv"):
        with (several / table).open() as stream:
            assert {(r["labels"], r["seed"]) for r in csv.DictReader(stream)} == set(
                itertools.product(("12", "24"), "01")
            )
