"""A study on paper: what a config may say, and which cells it asks for."""

import pytest
import yaml

import zoo
from fusion.study import config as config_
from fusion.study import encoders, grid, run
from fusion.study.grid import Facts

FACTS = {"a": Facts(0.75, "contrastive"), "b": Facts(1.0, "restorative"), "c": Facts(1.0, "supervised")}
LEAST = {"name": "x", "encoders": ["a"], "strategies": ["full"], "raw_pixels": False, "seeds": [0]}


def config(**values):
    return config_.parse({**LEAST, **values}, "here")


def cells(**values):
    return grid.lay_out(config(**values), FACTS.get, "data").cells


def left_out(**values):
    return grid.lay_out(config(**values), FACTS.get, "data").left_out


def refused(**values):
    with pytest.raises(ValueError) as caught:
        config(**values)
    said = str(caught.value)
    assert said.startswith("here: ")
    assert said.endswith("Edit the config.")
    assert "\n" not in said
    return said


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
    ]
    keys = [cells(**change)[0].key for change in changes]
    assert len(set(keys)) == len(changes)
    assert grid.lay_out(config(), FACTS.get, "other data").cells[0].key not in keys
    told = {"title": "y", "contests": [{"name": "n", "ours": {}, "theirs": {}}], "raw_pixels": True}
    assert keys[0] in {cell.key for cell in cells(**told)}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"encodrs": ["a"]}, "(got 'encodrs'). Nearest: encoders"),
        (
            {"contests": [{"name": "x", "ours": {"fusd": True}, "theirs": {}}]},
            "(got 'contests.0.ours.fusd'). Nearest: fused",
        ),
        ({"name": "No Name"}, "name must match pattern"),
        ({"seeds": []}, "seeds must have at least 1 item"),
        ({"seeds": ["0"]}, "seeds.0 must be a valid integer (got '0')"),
        ({"depths": [1.5]}, "depths.0 must be null (the card's) or a number in (0, 1] such as 0.75 (got 1.5)"),
        (
            {"labels": [0]},
            "labels.0 must be null (all), a count of images such as 60, or a share in (0, 1] such as 0.1",
        ),
        ({"labels": [1.5]}, "(got 1.5)"),
        ({"labels": [True]}, "(got True)"),
        ({"learning_rates": [0.0]}, "learning_rates.0 must be greater than 0 (got 0.0)"),
        ({"strategies": []}, "strategies must be given, each label once"),
        ({"strategies": ["full", {"full": "probe"}]}, "strategies must be given, each label once"),
        ({"strategies": [1]}, "strategies must be a list of names or {label: phases | one strategy per encoder}"),
        ({"strategies": ["probe"]}, "reference must name one of probe (got 'full')"),
        ({"only": {"z": ["full"]}}, "only must name one of a (got 'z')"),
        ({"only": {"a": ["probe"]}}, "only must name one of full (got 'probe')"),
        (
            {"contests": [{"name": "x", "ours": {"strategies": ["lora"]}, "theirs": {}}]},
            "contests must name one of full",
        ),
        ({"contests": [{"name": "x", "ours": {"encoders": ["z"]}, "theirs": {}}]}, "contests must name one of a"),
        ({"strategies": [{"mine": 5}]}, "strategies must be defined by a name, a list of phases"),
        ({"training": {"learning_rate": 1}}, "training must leave learning_rate to the study (got 1)"),
        ({"training": {"checkpoint": "x"}}, "training must leave checkpoint to the study (got 'x')"),
        ({"mechanics": {"encoders": ["a"]}}, "mechanics.strategies must be given (got nothing)"),
    ],
)
def test_a_mistake_is_one_sentence(values, said):
    assert said in refused(**values)


def test_files_that_are_no_configs(tmp_path):
    with pytest.raises(ValueError, match=r"\(got 's1-strategy'\)\. Nearest: s1-strategies"):
        config_.read("s1-strategy")
    (tmp_path / "list.yaml").write_text("[1]")
    with pytest.raises(ValueError, match=r"must hold keys such as name, encoders, strategies \(got \[1\]\)"):
        config_.read(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("name: [")
    with pytest.raises(ValueError, match="must be valid YAML"):
        config_.read(tmp_path / "broken.yaml")


def test_numbers_are_numbers_in_yaml(tmp_path):
    (tmp_path / "x.yaml").write_text("name: x\nencoders: a\nstrategies: [full]\nlearning_rates: [1e-3, 3E-4]\n")
    with pytest.raises(ValueError, match="encoders"):
        config_.read(tmp_path / "x.yaml")  # one encoder is a list of one all the same
    (tmp_path / "x.yaml").write_text("name: x\nencoders: [a]\nstrategies: [full]\nlearning_rates: [1e-3, 3E-4]\n")
    assert config_.read(tmp_path / "x.yaml").learning_rates == [0.001, 0.0003]


def test_the_small_form_replaces_lists_and_merges_training():
    own = {"seeds": [7], "training": {"epochs": 2}}
    small = config(seeds=[0, 1], training={"epochs": 9, "batch": 8}, data="images", small=own).in_small()
    assert (small.seeds, small.training, small.data) == ([7], {"epochs": 2, "batch": 8}, "brain-regions")
    with pytest.raises(ValueError, match=r"x in its small form: key must be one of .* \(got 'sedes'\)"):
        config(small={"sedes": [1]}).in_small()


@pytest.mark.parametrize("name", config_.ready_made())
def test_ready_made_studies_name_what_exists(name):
    found = config_.read(name)
    small = found.in_small()
    run.check_offline(small)
    for form in (found, small):
        run.check(form)
        laid = grid.lay_out(form, encoders.facts, "data")
        assert len(laid.cells) == len({cell.key for cell in laid.cells})
        assert yaml.safe_load(yaml.safe_dump(form.model_dump(mode="json"))) == form.model_dump(mode="json")
        assert config_.parse(form.model_dump(mode="json"), "dump") == form
    assert found.data is None
    assert {n.removeprefix("untrained:") for entry in found.encoders for n in entry} <= set(zoo.names())


def test_the_ready_made_names():
    names = ["s0-fusion", "s0-label-fractions", "s0-quarters", "s0-truncated", "s1-strategies", "s3-representations"]
    assert config_.ready_made() == names
    rows = grid.lay_out(config_.read("s1-strategies"), encoders.facts, "data").cells
    assert len({cell.strategy for cell in rows if cell.encoders}) == 8
    assert len({cell.encoders for cell in rows if cell.encoders}) == 3


def test_a_small_form_that_would_fetch_is_refused():
    with pytest.raises(ValueError, match=r"small form must be in the package \(got mocov2-chest\)"):
        run.check_offline(config(encoders=["mocov2-chest", "mae-mini"]))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"encoders": ["mae-mimi"]}, r"\(got 'mae-mimi'\)\. Nearest: mae-mini"),
        (
            {"encoders": ["mae-mini"], "heads": ["concatt"]},
            r"heads must name one of .* \(got 'concatt'\)\. Nearest: concat",
        ),
        ({"encoders": ["mae-mini"], "strategies": ["fulll"], "reference": "fulll"}, r"\(got 'fulll'\)\. Nearest: full"),
        (
            {"encoders": ["mae-mini"], "training": {"epoch": 1}},
            r"training must name .* \(got 'epoch'\)\. Nearest: epochs",
        ),
        ({"encoders": ["mae-mini@1.5"]}, r"depth must be a number in \(0, 1\] \(got 'mae-mini@1.5'\)"),
        ({"encoders": ["mae-mini@x"]}, r"depth must be a number in \(0, 1\] \(got 'mae-mini@x'\)\. Try mae-mini@0.75"),
        ({"encoders": ["mae-mini"], "training": {"epochs": 0}}, r"epochs must be an integer from 1 \(got 0\)"),
    ],
)
def test_names_are_checked_before_anything_runs(values, said):
    with pytest.raises(ValueError, match=said):
        run.check(config(**values))
