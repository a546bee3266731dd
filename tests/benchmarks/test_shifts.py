"""Probes fitted on shifted copies, judged under shifts of other kinds, on Colin27 alone.

python -m pytest tests/benchmarks/test_shifts.py -m benchmark -s
"""

from functools import cache, partial

import numpy as np
import pytest

from fusion import FusionClassifier, brain_regions
from fusion.data import shifts
from fusion.evaluation.metrics import auc
from fusion.features import extract
from fusion.features.taps import load

HELD = brain_regions("validation")
OTHERS = [name for name in shifts.names() if name not in shifts.FITTED]
DRAWS = 4


@cache
def varied(name):
    """Blocks of validation images, clean and under each shift that no probe was fitted on."""
    changes = [partial(shifts.shift, name=other) for other in OTHERS]
    return extract.varied(load(name), HELD.images, changes)


def figures(model):
    """AUC on clean images, and the mean over shifts that no probe was fitted on."""
    truth = np.searchsorted(model.classes_, HELD.labels)
    views = zip(*(varied(taps.name) for taps in model.taps_), strict=True)
    blocks = [[block for own in each for block in own] for each in views]
    probas = [np.exp(model.calibration_.apply(model.head_.log_proba(each))) for each in blocks]
    clean, *shifted = (auc(truth, proba)(np.ones(len(truth))) for proba in probas)
    return clean, float(np.mean(shifted))


@pytest.mark.benchmark
@pytest.mark.parametrize("labels", [60, 300, 1200])  # of 1,000 and more each has one copy
def test_copies_buy_robustness_to_kinds_that_were_not_copied(labels):
    found = {}
    for seed in range(DRAWS):
        train = brain_regions("train", labels=labels, seed=seed)
        for encoders in (["mocov2-mini@0.5"], ["mae-mini@0.5"], ["mocov2-mini@0.5", "mae-mini@0.5"]):
            for select in ("clean", "shifted"):
                model = FusionClassifier(encoders, select=select, compare_baselines=False).fit(
                    train.images, train.labels, train.groups
                )
                found.setdefault((" + ".join(encoders), select), []).append(figures(model))
    print(f"\n{labels} labels, mean of {DRAWS} draws: clean AUC, AUC under {', '.join(OTHERS)}")
    for (names, select), values in found.items():
        print(f"{names:<32} {select:<8} {np.mean(values, axis=0).round(3)}")
    for names in {names for names, _ in found}:
        gain = np.mean(found[names, "shifted"], axis=0) - np.mean(found[names, "clean"], axis=0)
        assert gain[1] > 0
