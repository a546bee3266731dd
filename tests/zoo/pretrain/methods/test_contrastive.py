"""MoCo v2: two views of one patch, a momentum encoder without gradients, and a queue that outlives a kill."""

import copy

import numpy as np
import pytest
import timm
import torch
import yaml

from tests.zoo.pretrain.toy import OPTIONS, RECIPE
from zoo.pretrain.methods import contrastive
from zoo.pretrain.recipe import Recipe

SIZE = 64


@pytest.fixture(scope="module")
def plan():
    return Recipe(**yaml.safe_load(RECIPE.format(method="contrastive", options=OPTIONS["contrastive"])))


@pytest.fixture
def method(plan):
    torch.manual_seed(0)
    made = contrastive.Contrastive(timm.create_model(plan.architecture, num_classes=0, **plan.kwargs), plan)
    made.log = lambda *given, **options: None  # outside a run there is no logger
    return made


def batch(seed=0, count=8):
    torch.manual_seed(seed)
    return [torch.randn(count, 1, SIZE, SIZE) for _ in range(2)]


def test_two_views_of_one_patch_are_grey_standardised_and_different(plan):
    patch = np.linspace(0, 255, SIZE * SIZE).reshape(SIZE, SIZE).astype(np.uint8)
    views = contrastive.views(plan, SIZE)
    torch.manual_seed(0)
    first, second = views(patch)
    assert first.shape == second.shape == (1, SIZE, SIZE)
    assert not torch.equal(first, second)
    low, high = -plan.mean / plan.std, (1 - plan.mean) / plan.std
    for view in (first, second):
        assert low - 1e-5 <= view.min() < view.max() <= high + 1e-5


def test_gradients_reach_the_query_and_not_the_momentum_encoder(method):
    loss = method.training_step(batch(), 0)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(value.grad is not None for value in method.encoder.parameters())
    assert all(value.grad is not None for value in method.head.parameters())
    kept = [*method.encoder_momentum.parameters(), *method.head_momentum.parameters()]
    assert all(value.grad is None and not value.requires_grad for value in kept)


def test_the_momentum_encoder_follows_by_one_part_in_a_hundred(method):
    before = copy.deepcopy(method.encoder_momentum.state_dict())
    with torch.no_grad():
        for value in method.encoder.parameters():
            value.add_(1.0)
    method.training_step(batch(), 0)
    for name, value in method.encoder_momentum.named_parameters():
        torch.testing.assert_close(value, before[name] + 0.01, rtol=0, atol=1e-6)


def test_a_key_is_found_among_the_patches_of_the_queue(method):
    first, second = batch()
    same = copy.deepcopy(method)
    assert same.training_step([first, first], 0) < method.training_step([first, second], 0)


def test_the_queue_goes_into_a_checkpoint_and_comes_back(method, plan):
    method.training_step(batch(), 0)
    checkpoint = {}
    method.on_save_checkpoint(checkpoint)
    saved = {name: value.clone() for name, value in checkpoint["queue"].items()}
    assert any((value.dim() == 2 and value.shape[1] == 128) or value.shape[0] == 128 for value in saved.values())
    other = contrastive.Contrastive(timm.create_model(plan.architecture, num_classes=0, **plan.kwargs), plan)
    other.on_load_checkpoint({"queue": saved})
    found = dict(other.loss.memory_bank.named_buffers())
    assert found.keys() == saved.keys()
    assert all(torch.equal(found[name], saved[name]) for name in saved)
