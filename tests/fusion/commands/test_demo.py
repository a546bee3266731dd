"""`fusion demo`: what it writes down, and prints."""

import io
import json

import pytest
from rich.console import Console

from fusion.commands.demo import _row, _table
from tests.fusion.demo.small_outcomes import outcomes


def test_results_are_plain_json():
    rows = outcomes()
    values = json.loads(json.dumps([_row(row) for row in rows]))
    assert values[-1]["row"] == "fusion"
    assert {"auc", "balanced_accuracy", "calibration_error"} <= set(values[0]["test"])
    for row, told in zip(rows, values, strict=True):
        assert (told["row"], told["budget"], told["aucs"]) == (row.choice.row, row.choice.budget, row.aucs)
        assert [pick["blocks"] for pick in told["picks"]] == [pick.blocks for pick in row.choice.picks]
        assert [len(pick["C"]) for pick in told["picks"]] == [len(pick.inputs) for pick in row.choice.picks]
        assert told["test"]["auc"] == pytest.approx(vars(row.test.auc))
        assert told["validation_auc"] == row.choice.validation
        assert (told["fusion_minus_row"] is None) == (told["row"] == "fusion")


def test_a_table_has_a_line_for_each_row_of_its_budget():
    rows = outcomes()
    table = _table(300, rows)
    own = [row for row in rows if row.choice.budget == 300]
    assert table.title == "300 labels"
    assert table.row_count == len(own) == 13
    assert list(table.columns[1].cells) == [f"{row.choice.validation:.3f}" for row in own]
    assert list(table.columns[0].cells) == [row.choice.row for row in own]
    wide = Console(width=80, file=io.StringIO())
    wide.print(table)
    assert "…" not in wide.file.getvalue()
    assert [row.style for row in table.rows] == [None] * 12 + ["bold"]
