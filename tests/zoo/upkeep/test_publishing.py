"""The card that a repo gets, pinned to its weights, and the config by which timm builds the same network."""

import json

import pytest
import yaml

from zoo.registry import cards
from zoo.upkeep import publishing


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
