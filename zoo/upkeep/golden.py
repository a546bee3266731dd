"""Golden features: the first values that an encoder gives for one fixed input, by which it is known again."""

import math

import torch
from torch import Tensor

from zoo.networks.encoder import Encoder
from zoo.registry.cards import Card

DEPTHS = (0.5, 1.0)
CLOSE = 0.9999
_COUNT = 32


def fixed_input(card: Card) -> Tensor:
    """The input, (1, C, size, size) in [-1, 1]: waves of no common period, the same on every machine to rounding."""
    size, channels = card.input.size, card.input.channels
    place = torch.arange(size, dtype=torch.float64)
    phase = torch.arange(channels, dtype=torch.float64)[:, None, None]
    # (C, 1, 1) + (H, 1) * (1, W) -> (C, H, W)
    waves = torch.sin(0.37 * place[:, None] + phase) * torch.cos(0.23 * place[None] - 2 * phase)
    return waves[None].float()


def values(encoder: Encoder) -> list[float]:
    """The first 32 values of the encoder's features of the fixed input (fewer where it has fewer)."""
    with torch.no_grad():
        return [float(value) for value in encoder(fixed_input(encoder.card))[0, :_COUNT]]


def cosine(found: list[float], expected: list[float]) -> float:
    """The cosine of the angle between two lists of values; -1 where they are not of one length."""
    if len(found) != len(expected):
        return -1.0
    norms = math.hypot(*found) * math.hypot(*expected)
    return math.fsum(a * b for a, b in zip(found, expected, strict=True)) / norms if norms else float(found == expected)
