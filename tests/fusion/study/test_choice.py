"""What validation chooses, and who takes part in a contest."""

import pytest

from fusion.study import choice
from fusion.study import config as config_
from fusion.study.grid import Cell


def cell(rate, seed, **values):
    return Cell(("a@1",), "concat", values.get("strategy", "full"), None, rate, seed)


def test_the_learning_rate_with_the_best_mean_is_chosen():
    cells = [cell(rate, seed) for rate in (0.1, 0.01) for seed in (0, 1)] + [cell(0.5, 0)]
    values = [0.9, 0.6, 0.8, 0.8, 0.99]
    records = {c.key: {"figures": {"auc": value}} for c, value in zip(cells, values, strict=True)}
    (chosen,) = choice.choose(cells, records)
    assert (chosen.row.learning_rate, chosen.auc, len(chosen.cells)) == (0.01, pytest.approx(0.8), 2)
    del records[cells[3].key]  # now one rate only has both seeds
    assert choice.choose(cells, records)[0].row.learning_rate == 0.1
    assert choice.choose(cells, {}) == []


@pytest.mark.parametrize(
    ("side", "admitted"),
    [
        ({}, ["a", "ab"]),
        ({"fused": True}, ["ab"]),
        ({"fused": False}, ["a"]),
        ({"encoders": ["a"]}, ["a"]),
        ({"depths": [1]}, ["a"]),
        ({"depths": [1, 0.5]}, ["a", "ab"]),
        ({"strategies": ["probe"]}, ["ab"]),
    ],
)
def test_contests_admit_by_every_filter_and_never_a_control(side, admitted):
    rows = {
        "a": cell(0.1, 0),
        "ab": Cell(("a@1", "b@0.5"), "concat", "probe", None, None, 0),
        "raw": Cell((), "concat", "full", None, None, 0),
        "random": Cell(("a@1",), "concat", "full", None, None, 0, untrained=True),
    }
    filter_ = config_.Filter(**side)
    assert [name for name, row in rows.items() if choice.admits(filter_, row)] == admitted
