"""What a config may say."""

import pytest
import yaml

import zoo
from fusion.study import config as config_
from fusion.study import run
from tests.fusion.study.on_paper import config


def refused(**values):
    with pytest.raises(ValueError) as caught:
        config(**values)
    said = str(caught.value)
    assert said.startswith("here: ")
    assert said.endswith("Edit the config.")
    assert "\n" not in said
    return said


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
        ({"window": [400, -1000]}, "window must be null or [low, high], the lower end first, in the images' unit"),
        ({"window": [0]}, "(got [0])"),
        ({"window": [0.0, float("nan")]}, "window must be null or [low, high]"),
        ({"window": [False, True]}, "window must be null or [low, high]"),
        ({"learning_rates": [0.0]}, "learning_rates.0 must be greater than 0 (got 0.0)"),
        ({"strategies": []}, "strategies must be given, each label once"),
        ({"strategies": ["full", {"full": "probe"}]}, "strategies must be given, each label once"),
        ({"strategies": [1]}, "must be a list of names or {label: phases | one strategy per encoder | variant}"),
        ({"strategies": [{"l2-sp": {"alpha": "strong"}}]}, "must have numbers for alpha of l2-sp, not 'strong'"),
        ({"strategies": [{"l2-sp": {"alpha": []}}]}, "must have numbers for alpha of l2-sp, not []"),
        ({"strategies": [{"own": {"strategy": 3}}]}, "must have a name for strategy of own, not 3"),
        ({"strategies": [{"own": {"statistics": [True]}}]}, "must have modes of fusion.Training for statistics of own"),
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


@pytest.mark.parametrize(
    ("more", "key"),
    [("seeds: [0]\nseeds: [1, 2]", "seeds"), ("training: {epochs: 1, epochs: 9}", "epochs"), ("'name': y", "name")],
)
def test_a_key_that_is_given_twice_is_refused(tmp_path, more, key):
    (tmp_path / "twice.yaml").write_text(f"name: x\nencoders: [[mae-mini]]\nstrategies: [full]\n{more}\n")
    with pytest.raises(ValueError, match=rf"must be valid YAML \(got the key '{key}' twice, below line \d\)\. Edit it"):
        config_.read(tmp_path / "twice.yaml")


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
        laid = run.lay_out(form, "data")
        assert len(laid.cells) == len({cell.key for cell in laid.cells})
        assert yaml.safe_load(yaml.safe_dump(form.model_dump(mode="json"))) == form.model_dump(mode="json")
        assert config_.parse(form.model_dump(mode="json"), "dump") == form
    assert found.data is None
    assert {n.removeprefix("untrained:") for entry in found.encoders for n in entry} <= set(zoo.names())


def test_the_ready_made_names():
    names = ["s0-fusion", "s0-label-fractions", "s0-quarters", "s0-truncated"]
    names += ["s1-statistics", "s1-strategies", "s3-representations"]
    assert config_.ready_made() == names
    rows = run.lay_out(config_.read("s1-strategies"), "data").cells
    assert len({cell.strategy for cell in rows if cell.encoders}) == 8
    assert len({cell.encoders for cell in rows if cell.encoders}) == 3


def test_a_variant_is_a_row_for_each_strength_and_mode():
    both = {"l2-sp": {"alpha": [0.1, 0.01], "statistics": ["batch", "frozen"]}}
    found = config(strategies=["full", both, {"still": {"strategy": "full", "statistics": "frozen"}}])
    assert found.strategies == {
        "full": "full",
        "l2-sp, alpha 0.1, statistics batch": {"strategy": "l2-sp", "alpha": 0.1, "statistics": "batch"},
        "l2-sp, alpha 0.1, statistics frozen": {"strategy": "l2-sp", "alpha": 0.1, "statistics": "frozen"},
        "l2-sp, alpha 0.01, statistics batch": {"strategy": "l2-sp", "alpha": 0.01, "statistics": "batch"},
        "l2-sp, alpha 0.01, statistics frozen": {"strategy": "l2-sp", "alpha": 0.01, "statistics": "frozen"},
        "still": {"strategy": "full", "statistics": "frozen"},
    }
    assert config_.parse(found.model_dump(mode="json"), "again") == found
    assert config_.variant("full") == {"strategy": "full"}
    assert config_.variant({"a": "full", "b": "probe"}) == {"strategy": {"a": "full", "b": "probe"}}
    assert config_.variant(found.strategies["still"]) == {"strategy": "full", "statistics": "frozen"}


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ({"strategy": "full", "alpha": 0.1}, r"alpha must name one of l1-sp, l2-sp \(got 'full'\)"),
        ({"strategy": "l2-sp", "alpha": -0.1}, r"alpha must be a number from 0 \(got -0.1\)\. Try alpha: 0.01"),
        (
            {"strategy": "full", "statistics": "moving"},
            r"statistics must be strategy, batch or frozen \(got 'moving'\)",
        ),
        ({"strategy": "ful"}, r"strategies must name one of full, .*\(got 'ful'\)\. Nearest: full"),
    ],
)
def test_a_variant_that_cannot_be_is_refused_before_anything_runs(variant, said):
    with pytest.raises(ValueError, match=said):
        run.check(config(encoders=["mocov2-mini"], strategies=[{"own": variant}], reference="own"))
