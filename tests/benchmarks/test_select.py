"""A scan against trying every depth: how good its depths are on the validation slabs, and what it costs.

OMP_NUM_THREADS=1 python -m pytest tests/benchmarks/test_select.py -m benchmark -s

Trying a depth means loading the encoder cut there, extracting training and validation patches, choosing the penalty on
the folds, and fitting; fine-tuning it is ten epochs of `full`. Seconds are the processor's.
"""

import time

import numpy as np
import pytest

import zoo
from fusion import FusionClassifier, Training, brain_regions, scan
from fusion.data import folds
from fusion.evaluation.metrics import auc_of
from fusion.features import extract
from fusion.heads.probe import OutOfFold, fit_probe
from tests.fusion.selection.small_task import best_of, noise

NAMES = ("mocov2-mini", "mae-mini")
HELD = brain_regions("validation")
RUNS = 40  # of scans of noise
SETS = 100  # of data that know something, or nothing
DEPTHS = [k / 8 for k in range(1, 9)]


def timed(call):
    started = time.process_time()
    found = call()
    return found, time.process_time() - started


def tried(name, depth, train):
    """Validation AUC of a probe at one depth."""
    encoder = zoo.load(name, depth)
    x, held = (extract.extract(encoder, part.images) for part in (train, HELD))
    y = np.unique(train.labels, return_inverse=True)[1]
    (penalty,) = OutOfFold([x], y, folds.folds(y, train.groups, 5, 0)).best_alone()
    opinions = fit_probe(x, y, 6, penalty).opinions(held)
    return auc_of(np.unique(HELD.labels, return_inverse=True)[1], opinions)


def tuned(name, depth, train):
    settings = Training(epochs=10, patience=None, learning_rate=3e-3)
    FusionClassifier([f"{name}@{depth:g}"], strategy="full", training=settings, compare_baselines=False).fit(
        train.images, train.labels
    )


@pytest.mark.benchmark
@pytest.mark.parametrize("labels", [300, None])
def test_scan_against_every_depth(labels):
    train = brain_regions("train", labels=labels)
    found, seconds = timed(lambda: scan(NAMES, train.images, train.labels, train.groups))
    exhaustive, short = 0.0, []
    print(f"\nlabels {labels or 'all'}: scan {seconds:.1f} s, recommends {found.recommended}, AUC {found.auc:.3f}")
    print(f"all-concat {found.concat:.3f}; stability {found.stability}; {found.pairs}")
    for name in NAMES:
        each = [timed(lambda name=name, depth=depth: tried(name, depth, train)) for depth in DEPTHS]
        exhaustive += sum(cost for _, cost in each)
        aucs = dict(zip(DEPTHS, (auc for auc, _ in each), strict=True))
        short.append(max(aucs.values()) - aucs[found.depths[name]])
        print(
            f"{name}: depth {found.depths[name]}, {short[-1]:.4f} below the best;",
            {d: f"{a:.4f}" for d, a in aucs.items()},
        )
    print(f"every depth by itself {exhaustive:.1f} s, the scan {seconds / exhaustive:.2f} of it")
    assert max(short) <= 0.01
    assert seconds <= 0.35 * exhaustive


@pytest.mark.benchmark
def test_scan_against_fine_tuning_every_depth():
    train = brain_regions("train", labels=300)
    _, seconds = timed(lambda: scan(NAMES, train.images, train.labels, train.groups))
    _, tuning = timed(lambda: [tuned(name, depth, train) for name in NAMES for depth in DEPTHS])
    print(f"\nscan {seconds:.1f} s, fine-tuning at every depth {tuning:.1f} s: {seconds / tuning:.3f} of it")
    assert seconds <= 0.1 * tuning


@pytest.mark.benchmark
@pytest.mark.parametrize("depths", [(8, 8), (4, 4, 4, 4)])
def test_scan_of_noise(depths):
    """What is reported is chance within two standard errors; what the recommendation is made by is above."""
    found = [noise(depths, seed) for seed in range(RUNS)]
    figures = {
        "auc": [one.auc for one in found],
        "best level": [best_of(one) for one in found],
        "concat": [one.concat for one in found],
        "gain": [np.mean([pair.gain for pair in one.pairs]) for one in found],
    }
    print(f"\n{' + '.join(map(str, depths))} depths of noise, {RUNS} scans, mean and standard error:")
    errors = {name: np.std(own, ddof=1) / np.sqrt(RUNS) for name, own in figures.items()}
    print({name: f"{np.mean(own):.4f} ({errors[name]:.4f})" for name, own in figures.items()})
    assert abs(np.mean(figures["auc"]) - 0.5) < 2 * errors["auc"]
    assert abs(np.mean(figures["gain"])) < 2 * errors["gain"]
    assert np.mean(figures["best level"]) > 0.5 + 2 * errors["best level"]


@pytest.mark.benchmark
@pytest.mark.parametrize("apart", [0.0, 0.4])
@pytest.mark.parametrize("folds", [3, 5])
def test_spread_is_how_much_scans_differ(folds, apart):
    """From data set to data set, of features that know nothing and of those that know something."""
    found = [noise((2, 2), seed, folds=folds, apart=apart) for seed in range(SETS)]
    seen, said = np.std([one.auc for one in found], ddof=1), np.sqrt(np.mean([one.spread**2 for one in found]))
    plain = said / np.sqrt(1 + folds / (folds - 1))  # as if folds shared no images
    print(f"\n{folds} folds, means {apart} apart: AUC {np.mean([one.auc for one in found]):.3f}; spread:", end=" ")
    print(f"{seen:.4f} seen, {said:.4f} said ({said / seen:.2f} of it), {plain:.4f} uncorrected ({plain / seen:.2f})")
    assert 0.8 < said / seen < 1.4
