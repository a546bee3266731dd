"""Golden features: one fixed input, and how far two lists of values are apart."""

import pytest

import zoo
from zoo.upkeep import golden


def test_the_fixed_input_and_the_cosine():
    card = zoo.card("mocov2-chest")
    x = golden.fixed_input(card)
    assert x.shape == (1, 3, 224, 224)
    assert (x.abs().max() <= 1) & (x.std() > 0.3)
    assert golden.cosine([1.0, 0.0], [0.0, 1.0]) == 0
    assert golden.cosine([3.0, 4.0], [6.0, 8.0]) == pytest.approx(1)
    assert golden.cosine([1.0], [1.0, 2.0]) == -1
    assert golden.cosine([0.0], [0.0]) == 1
    assert golden.cosine([0.0], [1.0]) == 0
