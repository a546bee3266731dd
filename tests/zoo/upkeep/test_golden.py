"""Golden features: one fixed input, and how far two lists of values are apart."""

import math

import pytest
import torch

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


def test_the_values_are_the_first_32_of_the_features():
    encoder = zoo.load("mocov2-mini", 0.5)
    found = golden.values(encoder)
    with torch.no_grad():
        features = encoder(golden.fixed_input(encoder.card))
    assert len(found) == min(32, features.shape[1]) == 32
    assert found == features[0, :32].tolist()
    assert golden.values(zoo.load("mocov2-mini", 0.5)) == found


def test_the_fixed_input_is_two_waves_per_channel():
    card = zoo.card("mocov2-chest")
    x = golden.fixed_input(card)
    assert x.dtype == torch.float32
    assert float(x[0, 0, 3, 5]) == pytest.approx(math.sin(0.37 * 3) * math.cos(0.23 * 5), abs=1e-6)
    assert float(x[0, 2, 3, 5]) == pytest.approx(math.sin(0.37 * 3 + 2) * math.cos(0.23 * 5 - 4), abs=1e-6)
