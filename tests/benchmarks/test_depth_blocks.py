"""All quarters of both encoders as blocks, beside one depth of each and the best single one, on Colin27 alone.

python -m pytest tests/benchmarks/test_depth_blocks.py -m benchmark -s

Depths, encoder and penalties are chosen out of fold on the labelled training images; validation slabs judge.
"""

import os
import time
from functools import cache

import numpy as np
import pytest

from fusion import brain_regions
from fusion.data.folds import folds
from fusion.evaluation.metrics import auc_of
from fusion.features import extract, taps
from fusion.heads.probe import OutOfFold
from fusion.heads.solved import SolvedConcat

ENCODERS = ("mocov2-mini@quarters", "mae-mini@quarters")
DRAWS = int(os.environ.get("SSLZOO_DRAWS", "8"))


def quarters(images):
    """Eight blocks: of each encoder, a pass for all its quarters."""
    return [block for name in ENCODERS for block in extract.blocks(taps.load(name), images)]


@cache
def of_held():
    held = brain_regions("validation")
    return quarters(held.images), np.unique(held.labels, return_inverse=True)[1]


def choices(blocks, y, split):
    """Which of the eight blocks each row takes: by the out-of-fold AUC of each block alone."""
    folded = OutOfFold(blocks, y, split)
    alone = [folded.auc(folded.alone(e, c)) for e, c in enumerate(folded.best_alone())]
    each = [int(np.argmax(alone[:4])), 4 + int(np.argmax(alone[4:]))]
    return {"best single": [int(np.argmax(alone))], "a depth of each": each, "all quarters": list(range(8))}


def answers(train, y, groups, held):
    """Log-probabilities of each row for the held blocks, and the seconds of its fit."""
    split, found = folds(y, groups, 5, 0), {}
    for row, places in choices(train, y, split).items():
        started = time.process_time()
        head = SolvedConcat().fit([train[p] for p in places], y, split, None, hold=False)
        found[row] = head.log_proba([held[p] for p in places]), time.process_time() - started
    return found


@pytest.mark.benchmark
@pytest.mark.parametrize("labels", [60, 300])
def test_all_quarters_beside_a_depth_of_each(labels):
    held, truth = of_held()
    found, seconds = {}, {}
    for seed in range(DRAWS):
        train = brain_regions("train", labels=labels, seed=seed)
        y = np.unique(train.labels, return_inverse=True)[1]
        for row, (log_proba, took) in answers(quarters(train.images), y, train.groups, held).items():
            found.setdefault(row, []).append(auc_of(truth, log_proba))
            seconds.setdefault(row, []).append(took)
    print(f"\n{labels} labels, {DRAWS} draws: mean AUC on validation slabs, minus the best single (lowest, highest); s")
    for row, figures in found.items():
        gains = np.subtract(figures, found["best single"])
        spread = f"{gains.mean():+.4f} ({gains.min():+.4f}, {gains.max():+.4f})"
        print(f"{row:<16} {np.mean(figures):.4f} {spread} {np.mean(seconds[row]):.1f} s")
    assert all(0.5 < np.mean(figures) <= 1 for figures in found.values())
