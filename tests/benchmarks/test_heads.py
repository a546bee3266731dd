"""The heads on the validation slabs, at depths and penalties chosen there: what fusion/heads/README.md says of them.

python -m pytest tests/benchmarks/test_heads.py -m benchmark -s

With SSLZOO_MAE=WEIGHTS another file takes the place of mae-mini's, as for a recipe that is being tried.
"""

import itertools
import os

import numpy as np
import pytest

import zoo
from fusion import brain_regions
from fusion.data.folds import folds as folds_of
from fusion.evaluation.metrics import auc_of
from fusion.features import extract
from fusion.heads.probe import GRID
from fusion.heads.solved import SOLVED

NAMES = ("mocov2-mini", "mae-mini")
TRAIN, HELD = brain_regions("train"), brain_regions("validation")
CLASSES = np.unique(TRAIN.labels)


def encoder(name):
    other = os.environ.get("SSLZOO_MAE") if name == "mae-mini" else None
    return zoo.load(name, 1.0, weights=other)


class Draw:
    """Heads that are fitted on so many labels and judged on the validation slabs."""

    def __init__(self, labels, levels):
        places = {image.tobytes(): i for i, image in enumerate(TRAIN.images)}
        drawn = brain_regions("train", labels=labels)
        self.index, self.levels = [places[image.tobytes()] for image in drawn.images], levels
        self.y = np.searchsorted(CLASSES, drawn.labels)
        self.folds = folds_of(self.y, drawn.groups, 5, 0)

    def auc(self, head, keys, penalties):
        train, held = ([self.levels[part, name][level] for name, level in keys] for part in (0, 1))
        fitted = SOLVED[head]().fit([x[self.index] for x in train], self.y, self.folds, penalties, hold=False)
        return auc_of(np.searchsorted(CLASSES, HELD.labels), fitted.log_proba(held))

    def best(self, name):
        """Level and C of one encoder."""
        return max(itertools.product(range(4), GRID), key=lambda own: self.auc("concat", [(name, own[0])], [own[1]]))


@pytest.mark.benchmark
def test_heads_on_the_validation_slabs():
    parts = [TRAIN.images, HELD.images]
    levels = {(i, n): extract.quarters(encoder(n), images) for n in NAMES for i, images in enumerate(parts)}
    draws = [Draw(labels, levels) for labels in (60, 300, None)]
    chosen = [[draw.best(name) for name in NAMES] for draw in draws]
    for place, name in enumerate(NAMES):
        alone = [own[place] for own in chosen]
        row = [d.auc("concat", [(name, level)], [c]) for d, (level, c) in zip(draws, alone, strict=True)]
        print(f"\n{name} alone", *(f"{value:.4f}" for value in row), f"levels {[level for level, _ in alone]}", end="")
    for head in SOLVED:
        keys = [[(name, level) for name, (level, _) in zip(NAMES, own, strict=True)] for own in chosen]
        row = [d.auc(head, k, [c for _, c in own]) for d, k, own in zip(draws, keys, chosen, strict=True)]
        print(f"\n{head:>7}", *(f"{value:.4f}" for value in row), f"mean {np.mean(row):.4f}", end="")
