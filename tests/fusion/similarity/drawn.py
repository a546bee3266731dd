"""Representations to compare: arrays, layers, images, and an encoder that was changed a little."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import strategies as some

SEEDS = some.integers(0, 2**31)


def draw(seed, n=64, d=6, e=9, shared=0.0):
    """Two representations with a common part."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 3))
    first = rng.normal(size=(n, d)) + shared * common @ rng.normal(size=(3, d))
    second = rng.normal(size=(n, e)) + shared * common @ rng.normal(size=(3, e))
    return first + rng.normal(size=d), second + rng.normal(size=e)


def of_widths(n, d, e):
    """Two representations with a common part, off the origin."""
    rng = np.random.default_rng(n + d)
    common = rng.normal(size=(n, 4))
    return [2 + common @ rng.normal(size=(4, width)) + rng.normal(size=(n, width)) for width in (d, e)]


def centred(values):
    return values - values.mean(0)


def assert_agreement(measure, other, sizes):
    """Of the measure with what another package makes of the same arrays."""
    x, y = of_widths(*sizes)
    found = measure(x, y)
    assert 0.05 < found < 1.2
    assert found == pytest.approx(other(x, y), abs=1e-6)


MANY = np.random.default_rng(2).integers(0, 256, (120, 32, 32), dtype=np.uint8)


def noisy(seed, n, widths, shift=3.0):
    """Layers as they come behind a ReLU: shifted, in float32."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 4))
    return [(common @ rng.normal(size=(4, w)) + rng.normal(size=(n, w)) + shift).astype("f4") for w in widths]


def cut(levels, size):
    return [[level[start : start + size] for level in levels] for start in range(0, len(levels[0]), size)]


def own_twin(encoder):
    twin = copy.deepcopy(encoder)
    with torch.no_grad():
        twin.trunk.layer3[0].conv1.weight.add_(0.3)
    return twin


def at_64(encoder):
    """A copy that sees its images at 64 pixels."""
    larger = copy.deepcopy(encoder)
    larger.card = larger.card.model_copy(update={"input": larger.card.input.model_copy(update={"size": 64})})
    return larger
