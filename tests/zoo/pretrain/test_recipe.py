"""Recipes: what must stand in one, and what the methods share."""

import pytest
import torch
from torch import nn

from tests.conftest import ROOT
from tests.zoo.pretrain.toy import OPTIONS, RECIPE
from zoo.pretrain import recipe


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [("seed: 0\n", "", "seed"), ("seed: 0\n", "seed: 0\nsede: 0\n", "sede"), ("epochs:", "epoch:", "epoch', 'epochs")],
)
def test_a_bad_recipe_is_refused(old, new, wrong, tmp_path):
    text = RECIPE.format(method="restorative", options=OPTIONS["restorative"])
    (tmp_path / "recipe.yaml").write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=rf"must hold exactly \[.*\] \(differs in \['{wrong}'\]\)\. Edit that file\.$"):
        recipe.read(tmp_path / "recipe.yaml")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed: 0\n", "seed: 0\nseed: 1\n", "the key 'seed' twice"),
        ("mr: 192", "mr: 192, mr: 8", "the key 'mr' twice"),
        ("seed: 0", "seed: [", "while parsing"),
    ],
)
def test_a_recipe_that_says_two_things_or_nothing_is_refused(old, new, said, tmp_path):
    text = RECIPE.format(method="restorative", options=OPTIONS["restorative"])
    assert old in text
    (tmp_path / "recipe.yaml").write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=rf"^recipe .*recipe\.yaml must be valid YAML \(got {said}.*\)\. Edit it\.$"):
        recipe.read(tmp_path / "recipe.yaml")


def test_a_recipe_is_read_as_it_is_written(tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(method="contrastive", options=OPTIONS["contrastive"]))
    found = recipe.read(tmp_path / "recipe.yaml")
    assert (found.name, found.method, found.architecture) == ("contrastive-toy", "contrastive", "resnet18")
    assert (found.patches, found.batch_size, found.learning_rate) == ({"mr": 192}, 64, 0.001)
    assert found.options == {
        "dimensions": 16,
        "temperature": 0.2,
        "queue": 128,
        "momentum": 0.99,
        "jitter": 0.6,
        "crop": 0.3,
    }


@pytest.mark.parametrize("name", ["mocov2-mini", "mae-mini"])
def test_the_shipped_recipes_are_recipes(name):
    found = recipe.read(ROOT / "zoo/pretrain/recipes" / f"{name}.yaml")
    assert (found.name, found.architecture) == (name, "resnet18")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_run(value):
    method = recipe.Pretraining(nn.Conv2d(1, 1, 1), None)
    with pytest.raises(FloatingPointError, match=rf"^loss must be finite \(got {value}\)\. Lower learning_rate in the"):
        method.record(torch.tensor(value))
