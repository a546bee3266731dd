"""Masked, jittered restoration for a grey CNN encoder, whole in this file.

The encoder sees a patch with random squares cut out and its intensities distorted; a decoder without skip connections
must give back the clean patch, standardised, so that everything it needs has to pass through the deepest map.
Source: Pathak et al. arXiv:1604.07379 (context encoders), He et al. arXiv:2111.06377 (mask ratio, per-patch target),
Zhou et al. arXiv:1908.06912 (restoration from non-linear intensities).
"""

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.pretrain.recipe import Pretraining, Recipe


class Restorative(Pretraining):
    """In-painting: `training_step` takes clean patches (N, 1, H, W) in [0, 1] and returns the restoration loss."""

    def __init__(self, encoder: nn.Module, recipe: Recipe) -> None:
        super().__init__(encoder, recipe)
        network: Any = encoder
        reduction = network.feature_info[-1]["reduction"]
        self.decoder = _decoder(network.num_features, int(np.log2(reduction)))

    def training_step(self, clean: Tensor, _: int) -> Tensor:
        options = self.recipe.options
        flipped = torch.where(torch.rand(len(clean), 1, 1, 1) < 0.5, clean.flip(-1), clean)
        corrupted = mask(jitter(flipped, options["jitter"]), options["mask"], options["square"])
        deepest = cast(Any, self.encoder).forward_features(
            (corrupted - self.recipe.mean) / self.recipe.std
        )  # (N, D, h, w)
        restored = self.decoder(deepest)  # (N, D, h, w) -> (N, 1, H, W)
        return self.record(functional.mse_loss(restored, standardise(flipped)))


def standardise(patches: Tensor) -> Tensor:
    """Bring each patch of (N, 1, H, W) to mean 0 and standard deviation 1."""
    mean, std = patches.mean((2, 3), keepdim=True), patches.std((2, 3), keepdim=True)
    return (patches - mean) / (std + 1e-2)


def jitter(patches: Tensor, strength: float) -> Tensor:
    """Distort the intensities of each patch: gamma, contrast, brightness and noise, all scaled by `strength`."""
    draw = torch.empty(len(patches), 4, 1, 1, 1, device=patches.device).uniform_(-1, 1)
    gamma, contrast, brightness, noise = (strength * draw[:, i] for i in range(4))
    distorted = patches.clamp(1e-4, 1) ** gamma.exp()
    distorted = distorted * (1 + contrast) + 0.5 * brightness
    return distorted + 0.1 * noise.abs() * torch.randn_like(patches)


def mask(patches: Tensor, ratio: float, square: int) -> Tensor:
    """Replace a random `ratio` of the `square` x `square` tiles of each patch by its mean."""
    count, _, height, width = patches.shape
    keep = torch.rand(count, 1, height // square, width // square, device=patches.device) >= ratio
    keep = keep.repeat_interleave(square, 2).repeat_interleave(square, 3)  # (N, 1, h, w) -> (N, 1, H, W)
    return torch.where(keep, patches, patches.mean((2, 3), keepdim=True))


def _decoder(width: int, doublings: int) -> nn.Sequential:
    steps: list[nn.Module] = []
    for _ in range(doublings):
        narrower = max(16, width // 2)
        steps += [
            nn.Upsample(scale_factor=2, mode="nearest"),
            nn.Conv2d(width, narrower, 3, padding=1, bias=False),
            nn.BatchNorm2d(narrower),
            nn.ReLU(inplace=True),
        ]
        width = narrower
    return nn.Sequential(*steps, nn.Conv2d(width, 1, 1))


def views(recipe: Recipe, size: int) -> "_Scale":
    """A clean patch as a tensor (1, H, W) in [0, 1]; corruption happens on the whole batch in `training_step`."""
    del recipe, size
    return _Scale()


class _Scale:
    def __call__(self, patch: np.ndarray) -> Tensor:
        return torch.from_numpy(patch)[None].float() / 255
