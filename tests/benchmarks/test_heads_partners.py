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

TRAIN, HELD = brain_regions("train"), brain_regions("validation")
CLASSES = np.unique(TRAIN.labels)
PLACES = {image.tobytes(): place for place, image in enumerate(TRAIN.images)}
DRAWS = int(os.environ.get("SSLZOO_DRAWS", "12"))
HEADS = os.environ.get("SSLZOO_HEADS", "concat mean convex stack").split()  # gated: minutes more
OWN, GOOD, NOISE = "mocov2-mini@0.75", "mae-mini@0.5", (16, 256, 2048)


def made(head):
    return SOLVED[head]() if head in SOLVED else ModuleHead(head)


@cache
def features(name):
    """Of all training images and of those of validation."""
    return extract(name, TRAIN.images), extract(name, HELD.images)


def blocks(partner, rows, rng):
    """Features of training and validation images: of the contrastive encoder, and of its partner."""
    own = [features(OWN)[0][rows], features(OWN)[1]]
    if partner == GOOD:
        return [[own[0], features(GOOD)[0][rows]], [own[1], features(GOOD)[1]]]
    return [[x, rng.normal(size=(len(x), partner)).astype(np.float32)] for x in own]


def worth(head, fitted_on, held, train):
    """AUC on validation; `concat, each alone` takes the strength that is best for each block by itself, as before."""
    y = np.searchsorted(CLASSES, train.labels)
    split = folds(y, train.groups, 5, 0)
    strengths = OutOfFold(fitted_on, y, split).best_alone() if "alone" in head else None
    found = made(head.partition(",")[0]).fit(fitted_on, y, split, strengths, hold=False)
    return auc_of(np.searchsorted(CLASSES, HELD.labels), found.log_proba(held))


@cache
def alone(labels, seed):
    """What the encoder is worth without a partner."""
    train = brain_regions("train", labels=labels, seed=seed)
    ours, held = blocks(GOOD, rows_of(train), None)
    return worth("concat", ours[:1], held[:1], train)


def rows_of(train):
    return np.array([PLACES[image.tobytes()] for image in train.images])


def gains(head, partner, labels, draws):
    """AUC with the partner minus AUC without, of each draw of labels and of noise."""
    found = []
    for seed in range(draws):
        own = seed if labels else 0  # of all labels there is one draw
        train = brain_regions("train", labels=labels, seed=own)
        ours, held = blocks(partner, rows_of(train), np.random.default_rng(seed))
        found.append(worth(head, ours, held, train) - alone(labels, own))
    return found


@pytest.mark.benchmark
@pytest.mark.parametrize("labels", [60, 300, None])
def test_a_partner_of_noise_costs_nothing_and_a_good_one_gains(labels):
    print(f"\n{labels or 'all'} labels: AUC with the partner minus AUC of {OWN} alone, mean (lowest)")
    for head in (*HEADS, "concat, each alone"):
        for partner in (GOOD, *NOISE):
            if not labels and partner != GOOD and head != "concat":
                continue  # of the default head alone: 2,048 columns on 4,030 images take minutes a fit
            found = gains(head, partner, labels, 1 if partner == GOOD and not labels else DRAWS)
            print(f"{head:<18} {partner!s:<14} {np.mean(found):+.4f} ({np.min(found):+.4f})", flush=True)
            if head == "concat" and partner in NOISE:
                assert np.mean(found) > -0.005


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
