"""CCA as S3 takes it, with the pixels of maps as samples."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

import zoo
from fusion import features
from fusion.canonical import cca

Floats = npt.NDArray[np.float32]


def pixel_cca(
    first: zoo.Encoder, second: zoo.Encoder, images: Any, *, points: int = 10_000, channels: int = 64, repeats: int = 5
) -> list[float]:
    """Mean CCA at the end of each quarter: pixels are the samples, and both give the same channels.

    Each repeat draws images, until they have about `points` pixels at that quarter, and `channels` channels. The mean
    is over all coefficients, then over repeats. S3's further layer, the stem, is not a block here.

    Args:
        first: An encoder.
        second: One of the same architecture and depth, for example a fine-tuned copy.
        images: What `encoder.preprocess` takes.
        points: Pixels per repeat; all where there are fewer.
        channels: Drawn without replacement; all where there are fewer.
        repeats: Of the draw, with seeds 0, 1, ...

    Raises:
        ValueError: The maps of the two differ, or there are too few pixels for that many channels.

    Source: Juodelyte et al. arXiv:2302.08272, and the code with it.
    """
    if (first.channels, first.strides) != (second.channels, second.strides):
        raise ValueError(
            f"encoders must have the same maps, to share channels (got {first.channels} and {second.channels}). "
            "Pass two of one architecture and depth, or use fusion.compare."
        )
    sides = [max(1, round(first.card.input.size / stride)) for stride in first.strides]
    counts = [min(len(images), max(1, round(points / side**2))) for side in sides]
    found = []
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(images))[: max(counts)]
        x, y = (_pixels(encoder, images, order, counts) for encoder in (first, second))
        chosen = [rng.permutation(width)[:channels] for width in first.channels]
        found.append([cca(a[:, kept], b[:, kept]) for a, b, kept in zip(x, y, chosen, strict=True)])
    return cast(list[float], np.mean(found, axis=0).tolist())


def _pixels(encoder: zoo.Encoder, images: Any, order: npt.NDArray[np.int64], counts: Sequence[int]) -> list[Floats]:
    """The pixels (P, C) of each quarter's map, of the first so many images in that order."""
    picked = images[order] if isinstance(images, np.ndarray) else [images[i] for i in order]
    kept: list[list[Floats]] = [[] for _ in counts]
    start = 0
    for levels in features.batches(encoder, picked, encoder.pyramid):
        for place, level in enumerate(levels):
            few = level[: max(0, counts[place] - start)]
            kept[place].append(few.transpose(0, 2, 3, 1).reshape(-1, level.shape[1]))  # (n, C, H, W) -> (n * H * W, C)
        start += len(levels[0])
    return [np.concatenate(parts) for parts in kept]
