"""CCA as S3 takes it, with the pixels of maps as samples."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

import zoo
from fusion.features import extract
from fusion.similarity.canonical import cca
from fusion.similarity.measures import TooFewImages

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Sample = list[Floats]  # per quarter (P, C)


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
        ValueError: The maps of the two differ, there are too few pixels for that many channels, or a number is below 1.

    Source: Juodelyte et al. arXiv:2302.08272, and the code with it.
    """
    if not same_maps(first, second):
        raise ValueError(
            f"encoders must have the same maps, to share channels (got {first.channels} and {second.channels}, of "
            f"images of {first.card.input.size} and {second.card.input.size}). Pass two of one architecture, depth and "
            "input size, or use fusion.compare."
        )
    drawn = (sample(e, images, points=points, channels=channels, repeats=repeats) for e in (first, second))
    return cca_of(*drawn)


def same_maps(first: zoo.Encoder, second: zoo.Encoder) -> bool:
    """Tell whether the maps of the two can be compared channel by channel."""
    sizes = (encoder.card.input.size for encoder in (first, second))
    return (first.channels, first.strides) == (second.channels, second.strides) and len(set(sizes)) == 1


def sample(
    encoder: zoo.Encoder, images: Any, *, points: int = 10_000, channels: int = 64, repeats: int = 5
) -> list[Sample]:
    """The pixels that `pixel_cca` compares, from one pass: for each repeat and quarter (P, C), the same of any encoder.

    Arguments as in `pixel_cca`.
    """
    images = zoo.listed(images)
    if not len(images) or min(points, channels, repeats) < 1:
        raise ValueError(
            f"images, points, channels and repeats must be at least 1 (got {len(images)}, {points}, {channels} and "
            f"{repeats}). Leave the last three out."
        )
    sides = [max(1, round(encoder.card.input.size / stride)) for stride in encoder.strides]
    counts = [min(len(images), max(1, round(points / side**2))) for side in sides]
    draws = [_draw(seed, len(images), encoder.channels, channels) for seed in range(repeats)]
    needed = np.unique(np.concatenate([order[: max(counts)] for order, _ in draws]))
    parts: list[list[list[Floats]]] = [[[] for _ in counts] for _ in draws]
    picked = images[needed] if isinstance(images, np.ndarray) else [images[row] for row in needed]
    start = 0
    for levels in extract.batches(encoder, picked, zoo.Encoder.pyramid):
        rows = needed[start : start + len(levels[0])]
        start += len(rows)
        for (order, chosen), taken in zip(draws, parts, strict=True):
            for quarter, level in enumerate(levels):
                few = level[np.isin(rows, order[: counts[quarter]])][:, chosen[quarter]]
                taken[quarter].append(
                    few.transpose(0, 2, 3, 1).reshape(-1, few.shape[1])
                )  # (n, C, H, W) -> (n * H * W, C)
    return [[np.concatenate(column) for column in taken] for taken in parts]


def cca_of(first: list[Sample], second: list[Sample]) -> list[float]:
    """Mean CCA per quarter, over repeats, of two samples of the same images."""
    found = [[_cca(x, y) for x, y in zip(a, b, strict=True)] for a, b in zip(first, second, strict=True)]
    return cast(list[float], np.mean(found, axis=0).tolist())


def _cca(x: Floats, y: Floats) -> float:
    try:
        return cca(x, y)
    except TooFewImages as error:
        raise ValueError(
            f"points must give {error.least} pixels or more at each quarter, for that many channels (got {len(x)}). "
            "Pass more images or points, or fewer channels."
        ) from None


def _draw(seed: int, images: int, widths: Sequence[int], channels: int) -> tuple[Ints, list[Ints]]:
    """The order of images, and the channels of each quarter."""
    rng = np.random.default_rng(seed)
    return rng.permutation(images), [rng.permutation(width)[:channels] for width in widths]
