"""`fusion demo`: what it writes down."""

import json

from fusion.commands.demo import _row


def test_results_are_plain_json(demonstrated):
    rows = demonstrated[3]
    values = json.loads(json.dumps([_row(row) for row in rows]))
    assert values[-1]["row"] == "fusion"
    assert {"auc", "balanced_accuracy", "calibration_error"} <= set(values[0]["test"])
