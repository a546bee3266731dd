"""The control that every encoder must beat: an image as 16 x 16 grey pixels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import zoo

NAME = "raw pixels"

_SIDE = 16
_BATCH = 64


def pixels(images: Any, window: Sequence[float] | None = None) -> npt.NDArray[np.float32]:
    """(N, 256) grey pixels, read by the rule of an encoder that takes one channel.

    Args:
        images: What `encoder.preprocess` takes.
        window: As in `zoo.load`.
    """
    images = zoo.listed(images)
    reader = zoo.untrained("mocov2-mini", 0.25, window=window).preprocess
    doubts: list[str] = []
    parts = [reader(images[start : start + _BATCH], doubts=doubts) for start in range(0, len(images), _BATCH)]
    reader.tell(doubts, len(images))
    small = torch.nn.functional.adaptive_avg_pool2d(torch.cat(parts), _SIDE)  # (N, 1, H, W) -> (N, 1, 16, 16)
    return small.flatten(1).numpy()
