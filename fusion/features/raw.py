"""The control that every encoder must beat: an image as 16 x 16 grey pixels."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import zoo
from fusion.features.extract import Change, Floats

NAME = "raw pixels"

_SIDE = 16
_BATCH = 64


def pixels(images: Any, window: Sequence[float] | None = None) -> Floats:
    """(N, 256) grey pixels, read by the rule of an encoder that takes one channel.

    Args:
        images: What `encoder.preprocess` takes.
        window: As in `zoo.load`.
    """
    return varied(images, [], window)[0]


def varied(images: Any, changes: Sequence[Change], window: Sequence[float] | None = None) -> list[Floats]:
    """`pixels` of images as they are and after each change: 1 + len(changes) of (N, 256).

    Args:
        images: As in `pixels`.
        changes: As in `fusion.features.extract.varied`.
        window: As in `zoo.load`.
    """
    images = zoo.listed(images)
    reader = zoo.untrained("mocov2-mini", 0.25, window=window).preprocess
    doubts: list[str] = []
    parts = [reader(images[start : start + _BATCH], doubts=doubts) for start in range(0, len(images), _BATCH)]
    reader.tell(doubts, len(images))
    whole = torch.cat(parts)
    return [_small(whole), *(_small(reader.varied(whole, change)) for change in changes)]


def _small(x: Tensor) -> Floats:
    small = torch.nn.functional.adaptive_avg_pool2d(x, _SIDE)  # (N, 1, H, W) -> (N, 1, 16, 16)
    return small.flatten(1).numpy()
