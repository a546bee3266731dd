"""Training patches of the shipped task, thirty of each region; and features that know nothing."""

from collections.abc import Sequence

import numpy as np

import fusion
from fusion.data import folds as folds_
from fusion.selection import scan as scan_

TRAIN = fusion.brain_regions("train", labels=180)


def noise(depths: Sequence[int], seed: int, count: int = 60, folds: int = 5, apart: float = 0.0) -> fusion.Scan:
    """A scan of features of noise, without an encoder: so many depths of each, two classes, means so far `apart`."""
    rng = np.random.default_rng(seed)
    y = np.tile(np.arange(2), count // 2)
    blocks = {
        f"e{e}": [rng.normal(size=(count, 12)) + apart * y[:, None] * (np.arange(12) < 3) for _ in range(many)]
        for e, many in enumerate(depths)
    }
    places = {f"e{e}": tuple((k + 1) / many for k in range(many)) for e, many in enumerate(depths)}
    return scan_._judged(blocks, places, y, None, folds_.folds(y, None, folds, seed), np.arange(len(y)))


def best_of(found: fusion.Scan) -> float:
    """The highest AUC of a level: what flatters."""
    return max(level.auc for level in found.levels if level.auc is not None)
