"""What a partner does to a head, good or of pure noise, and whether mean probabilities are how often classes are.

python -m pytest tests/benchmarks/test_heads_partners.py -m benchmark -s
"""

import os
from functools import cache

import numpy as np
import pytest

from fusion import brain_regions
from fusion.data.folds import folds
from fusion.evaluation.metrics import auc_of
from fusion.features.extract import extract
from fusion.heads import calibration
from fusion.heads.optimum import ModuleHead
from fusion.heads.probe import OutOfFold
from fusion.heads.solved import SOLVED

HELD = brain_regions("validation")
DRAWS = int(os.environ.get("SSLZOO_DRAWS", "12"))
HEADS = os.environ.get("SSLZOO_HEADS", "concat mean convex stack").split()  # gated: minutes more


def made(head):
    return SOLVED[head]() if head in SOLVED else ModuleHead(head)


@cache
def of_held(name):
    return extract(name, HELD.images)


def blocks(partner, train, rng):
    """Features of training and validation images: of the contrastive encoder, and of its partner."""
    own = [extract("mocov2-mini@0.75", train.images), of_held("mocov2-mini@0.75")]
    if partner == "mae-mini@0.5":
        return [[own[0], extract(partner, train.images)], [own[1], of_held(partner)]]
    return [[x, rng.normal(size=(len(x), partner)).astype(np.float32)] for x in own]


def worth(head, fitted_on, held, y, groups):
    """AUC on validation; `concat, each alone` takes the strength that is best for each block by itself, as before."""
    split = folds(y, groups, 5, 0)
    strengths = OutOfFold(fitted_on, y, split).best_alone() if "alone" in head else None
    found = made(head.partition(",")[0]).fit(fitted_on, y, split, strengths, hold=False)
    return auc_of(np.unique(HELD.labels, return_inverse=True)[1], found.log_proba(held))


@pytest.mark.benchmark
@pytest.mark.parametrize("labels", [60, 300])
def test_a_partner_of_noise_costs_nothing_and_a_good_one_gains(labels):
    found = {}
    for seed in range(DRAWS):
        train, rng = brain_regions("train", labels=labels, seed=seed), np.random.default_rng(seed)
        y = np.unique(train.labels, return_inverse=True)[1]
        for partner in ("mae-mini@0.5", 16, 256, 2048):
            ours, held = blocks(partner, train, rng)
            alone = worth("concat", ours[:1], held[:1], y, train.groups)
            for head in ("concat, each alone", *HEADS):
                gain = worth(head, ours, held, y, train.groups) - alone
                found.setdefault((head, partner), []).append(gain)
    print(f"\n{labels} labels, {DRAWS} draws: AUC with the partner minus AUC of mocov2-mini@0.75 alone, mean (lowest)")
    for (head, partner), gains in found.items():
        print(f"{head:<18} {partner!s:<14} {np.mean(gains):+.4f} ({np.min(gains):+.4f})")
    for partner in (16, 256, 2048):
        assert np.mean(found["concat", partner]) > -0.005


@pytest.mark.benchmark
@pytest.mark.parametrize("prevalence", [0.2, 0.05, 0.02])
def test_mean_probabilities_are_the_prevalence(prevalence):
    means, briers = [], []
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        (x, y), (fresh, truth) = (drawn(rng, count, prevalence) for count in (2000, 20_000))
        head = SOLVED["concat"]().fit([x], y, folds(y, None, 5, 0), None)
        answers = head.log_proba([fresh])
        calibrated = calibration.calibrate(head.held, y, calibration.frequencies(y)).apply(answers)
        each = [np.exp(found)[:, 1] for found in (answers, calibrated)]
        means.append([proba.mean() for proba in each])
        briers.append([((proba - truth) ** 2).mean() for proba in each])
    before, after = np.mean(means, axis=0)
    print(
        f"\n{prevalence:.0%}: balanced {before:.3f}, calibrated {after:.4f}; Brier {np.mean(briers, axis=0).round(4)}"
    )
    assert abs(after - prevalence) <= 0.01


def drawn(rng, count, prevalence, width=64):
    y = (np.arange(count) < prevalence * count).astype(np.int64)
    x = rng.normal(size=(count, width))
    x[:, :4] += 0.8 * y[:, None]
    return x, y
