"""Restoration: the target is standardised, the input masked and jittered."""

import torch

from fusion import brain_regions
from zoo.pretrain.methods import restorative


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
