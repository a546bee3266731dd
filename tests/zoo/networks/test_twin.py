"""A call on a twin leaves nothing behind on the module."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import zoo
from zoo.networks.twin import twin


def test_tensors_are_shared_and_modes_and_hooks_are_not():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.BatchNorm2d(2), nn.Dropout()))
    module[1][0].eval()
    modes = [part.training for part in module.modules()]
    own, seen = twin(module, training=False), []
    own[1][0].register_forward_hook(lambda *_: seen.append(1))
    assert [part.training for part in own.modules()] == [False] * 5
    assert [part.training for part in module.modules()] == modes
    assert all(a is b for a, b in zip(own.parameters(), module.parameters(), strict=True))
    module(torch.zeros(1, 1, 8, 8))
    assert not seen
    own(torch.zeros(1, 1, 8, 8))
    assert seen == [1]


def test_a_module_in_two_places_is_one_and_the_callers_hooks_go_along():
    shared, seen = nn.Linear(3, 3), []
    module = nn.Sequential(shared, nn.ReLU(), shared)
    shared.register_forward_hook(lambda *_: seen.append(1))
    own = twin(module)
    assert own[0] is own[2]
    own(torch.zeros(1, 3))
    assert seen == [1, 1]


@pytest.mark.parametrize("method", ["__call__", "pyramid", "maps", "at_depths"])
def test_threads_on_one_encoder_get_what_each_gets_alone(method):
    encoder = zoo.load("mocov2-mini", 1)
    inputs = [encoder.preprocess(torch.rand(2, 64, 64, generator=torch.manual_seed(i)).numpy()) for i in range(16)]

    def call(x):
        with torch.inference_mode():
            found = getattr(encoder, method)(x)
        return found if isinstance(found, list) else [found]

    alone = [call(x) for x in inputs]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(call, inputs * 4))
    for found, expected in zip(together, alone * 4, strict=True):
        assert [level.shape for level in found] == [level.shape for level in expected]
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, expected, strict=True))
    assert not [m for m in encoder.modules() if m._forward_hooks]


def test_gradients_flow_through_a_twin():
    encoder = zoo.load("mocov2-mini", 0.25)
    encoder.pyramid(torch.rand(2, 1, 64, 64))[0].sum().backward()
    assert next(encoder.parameters()).grad is not None
