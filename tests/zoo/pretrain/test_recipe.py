"""Recipes: what must stand in one."""

import pytest

from tests.zoo.pretrain.toy import OPTIONS, RECIPE
from zoo.pretrain import recipe


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("seed: 0\n", "", "differs in"), ("method: restorative", "method: other", "contrastive or restorative")],
)
def test_a_bad_recipe_is_refused(old, new, message, tmp_path):
    text = RECIPE.format(method="restorative", options=OPTIONS["restorative"])
    (tmp_path / "recipe.yaml").write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=message):
        recipe.read(tmp_path / "recipe.yaml")
