"""Which cells a config gives."""

import pytest

from fusion.study import grid
from fusion.study.grid import Facts
from tests.fusion.study.on_paper import config

FACTS = {"a": Facts(0.75, "contrastive"), "b": Facts(1.0, "restorative"), "c": Facts(1.0, "supervised")}


def cells(**values):
    return grid.lay_out(config(**values), FACTS, "data").cells


def left_out(**values):
    return grid.lay_out(config(**values), FACTS, "data").left_out


def test_the_grid_is_the_product_and_a_probe_has_no_rates():
    found = cells(strategies=["full", "probe"], seeds=[0, 1, 2], learning_rates=[1e-4, 1e-3], labels=[None, 60, 0.1])
    assert len(found) == len({cell.key for cell in found}) == 3 * 3 * (2 + 1)
    assert {cell.learning_rate for cell in found if cell.strategy == "probe"} == {None}
    assert {cell.encoders for cell in found} == {("a@0.75",)}


def test_a_strategy_of_solved_phases_only_has_no_rates_either():
    phases = [{"solve": True}]
    assert [c.learning_rate for c in cells(strategies=[{"own": phases}], reference="own", learning_rates=[0.1, 1])] == [
        None
    ]


def test_depths_multiply_only_what_is_named_without_one():
    found = cells(encoders=["a", "b@0.5", ["a", "b@0.5"]], depths=[None, 0.25, 1])
    assert [c.encoders for c in found] == [
        ("a@0.75",),
        ("a@0.25",),
        ("a@1",),
        ("b@0.5",),
        ("a@0.75", "b@0.5"),
        ("a@0.25", "b@0.5"),
        ("a@1", "b@0.5"),
    ]


def test_heads_are_of_fused_entries():
    found = cells(encoders=["a", ["a", "b"]], heads=["mean", "stack"])
    assert [(len(c.encoders), c.head) for c in found] == [(1, "concat"), (2, "mean"), (2, "stack")]


def test_what_cannot_exist_is_left_out_with_its_reason():
    several = {"encoders": ["a", "c@0.5", ["a", "b"]], "reference": "best-quarter"}
    found = left_out(
        strategies=["quarter-4", "best-quarter", "truncated", {"own": ["quarter-2", "quarter-3"]}], **several
    )
    assert found == {
        "a@0.75, quarter-4": "quarter 4 is cut off at depth 0.75",
        "a@0.75, own": "is for 2 encoders",
        "c@0.5, quarter-4": "quarter 4 is cut off at depth 0.5",
        "c@0.5, best-quarter": "no best quarter is known for the family supervised",
        "c@0.5, own": "is for 2 encoders",
        "a@0.75 + b@1, quarter-4": "quarter 4 is cut off at depth 0.75",
        "a@0.75 + b@1, truncated": "depth 1 is not truncated",
    }


@pytest.mark.parametrize(("depth", "kept"), [(0.25, 1), (0.3, 2), (0.5, 2), (0.51, 3), (0.75, 3), (1.0, 4)])
def test_quarters_that_a_depth_holds(depth, kept):
    found = cells(depths=[depth], strategies=[f"quarter-{q}" for q in (1, 2, 3, 4)], reference="quarter-1")
    assert len(found) == kept


def test_a_mapping_is_for_the_encoders_that_it_names():
    own = {"own": {"b": "quarter-3", "a": "quarter-2"}}
    entries = ["a", ["a", "b"], ["b", "a"]]
    assert [c.encoders for c in cells(encoders=entries, strategies=[own], reference="own")] == [
        ("a@0.75", "b@1"),
        ("b@1", "a@0.75"),
    ]
    assert left_out(encoders=entries, strategies=[own], reference="own") == {"a@0.75, own": "is for b + a"}
    assert grid.per_encoder(own["own"], ("a@0.75", "b@1")) == ["quarter-2", "quarter-3"]
    assert grid.per_encoder([{"solve": True}], ("a@1",)) is None


def test_only_spares_an_encoder_the_other_strategies():
    found = cells(encoders=["a", "b"], strategies=["full", "probe"], only={"b": ["probe"]})
    assert [(c.encoders[0], c.strategy) for c in found] == [("a@0.75", "full"), ("a@0.75", "probe"), ("b@1", "probe")]


def test_raw_pixels_and_mechanics_stand_beside():
    plan = {"encoders": ["c"], "strategies": ["full", "probe"], "images": 8}
    found = cells(raw_pixels=True, labels=[60, None], mechanics=plan, seeds=[0, 1])
    assert [(c.encoders, c.labels, c.seed) for c in found if not c.encoders] == [
        ((), 60, 0),
        ((), 60, 1),
        ((), None, 0),
        ((), None, 1),
    ]
    assert [(c.encoders, c.labels, c.learning_rate) for c in found if c.untrained] == [
        (("c@1",), 8, 0.001),
        (("c@1",), 8, None),
    ]


def test_the_key_hangs_on_everything_that_changes_the_result():
    changes = [
        {},
        {"training": {"epochs": 3}},
        {"stop_images": 9},
        {"strategies": [{"full": [{"rates": {"quarter-1": 1}}]}]},
        {"labels": [60]},
        {"seeds": [1]},
        {"learning_rates": [0.1]},
        {"window": [0, 1]},
        {"window": [0, 2]},
    ]
    keys = [cells(**change)[0].key for change in changes]
    assert len(set(keys)) == len(changes)
    assert grid.lay_out(config(), FACTS, "other data").cells[0].key not in keys
    told = {"title": "y", "contests": [{"name": "n", "ours": {}, "theirs": {}}], "raw_pixels": True}
    assert keys[0] in {cell.key for cell in cells(**told)}


def test_without_a_window_keys_are_those_of_the_time_before_windows():
    assert cells()[0].key == cells(window=None)[0].key == "d6efcdb48662d0f985bc"


def test_strength_and_mode_of_a_variant_tell_cells_apart():
    own = {"l2-sp": {"alpha": [0.1, 0.01], "statistics": ["batch", "frozen"]}}
    found = cells(strategies=["l2-sp", own | {"truncated": {"statistics": "batch"}}], reference="l2-sp")
    assert len(found) == len({cell.key for cell in found}) == 1 + 4 + 1
    assert {cell.learning_rate for cell in cells(strategies=[{"own": {"strategy": "probe"}}], reference="own")} == {
        None
    }
    assert left_out(strategies=["full", {"own": {"strategy": "quarter-4"}}]) == {
        "a@0.75, own": "quarter 4 is cut off at depth 0.75"
    }
    modes = [cells(training={"statistics": mode})[0].key for mode in ("batch", "frozen")]
    assert len({*modes, cells()[0].key}) == 3
