"""Restoration: the target is standardised, the input masked and jittered."""

import numpy as np
import timm
import torch
import yaml

from fusion import brain_regions
from tests.zoo.pretrain.toy import OPTIONS, RECIPE
from zoo.pretrain.methods import restorative
from zoo.pretrain.recipe import Recipe


def test_restoration_is_standardised_masked_and_jittered():
    clean = torch.from_numpy(brain_regions("train", labels=60).images[:8, None] / 255.0).float()
    target = restorative.standardise(clean)
    torch.testing.assert_close(target.mean((1, 2, 3)), torch.zeros(8), atol=1e-5, rtol=0)
    torch.manual_seed(0)
    masked = restorative.mask(clean, 0.5, 8)
    tiles = (masked != clean).unfold(2, 8, 8).unfold(3, 8, 8).flatten(4).any(-1).float()
    assert 0.3 < tiles.mean() < 0.6
    assert torch.equal(restorative.mask(clean, 0.0, 8), clean)
    torch.testing.assert_close(restorative.jitter(clean, 0.0), clean, atol=2e-4, rtol=0)
    assert (restorative.jitter(clean, 0.6) - clean).abs().mean() > 0.02


def test_the_loss_is_finite_and_reaches_encoder_and_decoder():
    plan = Recipe(**yaml.safe_load(RECIPE.format(method="restorative", options=OPTIONS["restorative"])))
    torch.manual_seed(0)
    method = restorative.Restorative(timm.create_model(plan.architecture, num_classes=0, **plan.kwargs), plan)
    method.log = lambda *given, **options: None  # outside a run there is no logger
    clean = torch.rand(4, 1, 64, 64)
    assert method.decoder(method.encoder.forward_features(clean)).shape == clean.shape
    loss = method.training_step(clean, 0)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(value.grad is not None for value in method.parameters())


def test_a_view_is_the_clean_patch():
    patch = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    view = restorative.views(None, 64)(patch)
    assert (view.shape, view.dtype) == ((1, 64, 64), torch.float32)
    assert view.max() == 1
    assert torch.equal((view[0] * 255).round().byte(), torch.from_numpy(patch))
