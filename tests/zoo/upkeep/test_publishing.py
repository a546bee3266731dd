"""The card that a repo gets, pinned to its weights, and the config by which timm builds the same network."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import zoo
from zoo.fetching import opened
from zoo.registry import cards
from zoo.upkeep import golden, publishing


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("tags: [a, 'b: c']  # ours", "tags: [a, 'b: c', sslzoo, x]  # ours"),
        ("tags:\n- a\n- x\n# next", "tags:\n [a, x, sslzoo]\n# next"),
        ("tags: [x, sslzoo]", "tags: [x, sslzoo]"),
        ("tags: a", "tags: [a, sslzoo, x]"),
    ],
)
def test_a_pinned_card_keeps_every_other_byte(tags, expected):
    """Comments, quotes, order and the body stay; weights written in lines or in braces are replaced."""
    head, tail = "datasets: [é]\nzoo:\n  pool:   avg\n  weights:{}", "\n\n  # about the terms\n  terms: {card: 'x'}\n"
    body = "---\n# x\n\n---\nweights: {repo: null}\n"
    for weights, left in (
        (" {repo: null, prefix: abc} # c", ' {repo: "o/n"} # c'),
        ("\n    repo: null\n    file: y", '\n    {repo: "o/n"}'),
    ):
        text = f"---\n{head.format(weights)}{tail}{tags}\n{body}"
        pinned = publishing.pin(text, {"repo": "o/n"}, ["sslzoo", "x"])
        assert pinned == f"---\n{head.format(left)}{tail}{expected}\n{body}"
        yaml.safe_load(pinned.split("\n---\n")[0])


def test_a_card_without_tags_gets_them():
    text = "---\nzoo:\n  weights: {}\n---\nbody"
    assert publishing.pin(text, {"size": 3}, ["a"]) == "---\nzoo:\n  weights: {size: 3}\ntags: [a]\n---\nbody"


def test_config_states_what_timm_can_use(tiny):
    stated = json.loads(publishing.config(cards.read(tiny)))
    assert (stated["architecture"], stated["num_classes"], stated["num_features"]) == ("resnet18", 0, 16)
    assert stated["model_args"]["channels"] == [8, 8, 16, 16]
    assert stated["pretrained_cfg"]["input_size"] == [1, 32, 32]
    assert (stated["pretrained_cfg"]["mean"], stated["pretrained_cfg"]["crop_mode"]) == ([0.5], "squash")


def test_what_is_examined_is_described_to_the_byte(tiny):
    weights = tiny.with_name("tiny-test.safetensors")
    card, found = publishing.examine(tiny, weights)
    assert card.name == "tiny-test"
    assert found.model_copy(update={"golden": {}}) == opened.digest(weights)
    assert found.golden == {
        f"{depth:g}": golden.values(zoo.load("own", depth, card=tiny, weights=weights)) for depth in golden.DEPTHS
    }


def test_what_is_not_fit_is_refused_by_its_cause(tiny):
    weights = tiny.with_name("tiny-test.safetensors")
    state = load_file(weights)
    save_file({key: value for key, value in state.items() if key != "conv1.weight"}, weights)
    with pytest.raises(zoo.WeightsError, match=r"must have exactly timm's names \(1 differ: conv1\.weight\)\. Run "):
        publishing.examine(tiny, weights)
    save_file({key: torch.zeros_like(value) for key, value in state.items()}, weights)
    with pytest.raises(ValueError, match=r"features must tell two images apart \(got equal ones\)\. Check the weights"):
        publishing.examine(tiny, weights)
    with pytest.raises(zoo.WeightsError, match=r"^weights must be an existing file \(got '.*none'\)\. Check the path"):
        publishing.examine(tiny, weights.with_name("none"))
    tiny.write_text(tiny.read_text().replace("mean: [0.5], std: [0.25]", "mean: null, std: null"))
    with pytest.raises(ValueError, match=r"tiny-test\.md must state mean, std \(got null\)\. Edit its front matter\.$"):
        publishing.examine(tiny, weights)
