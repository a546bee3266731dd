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


METHODS = ["__call__", "pyramid", "maps", "at_depths", "preprocess", "identity", "quarters", "blocks"]


def called(encoder, method, pixels, x):
    """What the method answers, as a list of tensors or plain values."""
    if method == "preprocess":
        return [encoder.preprocess(pixels)]
    if method == "identity":
        return [encoder.identity()]
    if method in ("quarters", "blocks"):
        return [group["params"][0] for group in getattr(encoder, method)()]
    with torch.inference_mode():
        found = getattr(encoder, method)(x)
    return found if isinstance(found, list) else [found]


def assert_same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-5) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize(
    ("methods", "calls"),
    [*(([method], 4) for method in METHODS), pytest.param(METHODS, 200 * len(METHODS), marks=pytest.mark.slow)],
)
def test_threads_on_one_encoder_get_what_each_gets_alone(methods, calls):
    encoder = zoo.load("mocov2-mini", 1)
    pixels = [torch.rand(2, 64, 64, generator=torch.manual_seed(i)).numpy() for i in range(16)]
    inputs = [(values, encoder.preprocess(values)) for values in pixels]
    alone = {(method, i): called(encoder, method, *inputs[i]) for method in methods for i in range(16)}

    def work(thread):
        for call in range(calls):
            method, i = methods[(thread + call) % len(methods)], (thread * calls + call) % 16
            assert_same(called(encoder, method, *inputs[i]), alone[method, i])

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert not [m for m in encoder.modules() if m._forward_hooks]


def test_gradients_flow_through_a_twin():
    encoder = zoo.load("mocov2-mini", 0.25)
    encoder.pyramid(torch.rand(2, 1, 64, 64))[0].sum().backward()
    assert next(encoder.parameters()).grad is not None
