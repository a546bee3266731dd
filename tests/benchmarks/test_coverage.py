"""How often 95 % intervals hold the truth, over simulated patients, and from how many patients of a class on.

OMP_NUM_THREADS=1 python -m pytest tests/benchmarks/test_coverage.py -m benchmark -s

Two models judge the same images. Patients differ in how they score (`effect`: normal, of the standard deviation of
single images) and in how far apart their classes are. The truth is the figure of very many patients. Patients are
alike, of ten images, half of each class; or they are unlike, of 2 to 60 images (log-normal, deviation 0.7), of which a
quarter is of the second class, in some patients more than in others (beta).

AUC and balanced accuracy are asserted, of a model and of a difference; the others are printed. Of 800 runs of each of
16 cases, these hold .921 (50 patients, unlike, effect 1: balanced accuracy) to .981 (6 patients, unlike, effect 1: the
difference of AUC). Brier score and log-loss hold .912 to .965. Calibration errors hold .84 to 1.00 (both: six patients,
alike, effect 0), since bins of few images are mostly noise.
"""

import numpy as np
import pytest
from scipy.special import expit

from fusion.evaluation import intervals, metrics, score

RUNS, RESAMPLES = 800, 200
ERROR = (0.98 * 0.02 / RUNS) ** 0.5  # by which a share may be above the promise: holding more often misleads nobody
FIGURES = ("auc", "balanced_accuracy", "brier_score", "log_loss", "calibration_error", "classwise_calibration_error")
PROMISED = FIGURES[:2]


def patients(rng, groups, unlike):
    """Patient of each image, and its class."""
    sizes = np.clip(np.round(rng.lognormal(2.1, 0.7, groups)), 2, 60).astype(int) if unlike else np.full(groups, 10)
    members = np.repeat(np.arange(groups), sizes)
    if not unlike:
        return members, np.arange(len(members)) % 2
    return members, (rng.random(len(members)) < rng.beta(1, 3, groups)[members]).astype(int)


def rare(rng, groups, carriers):
    """Patients of ten images, of which these have the second class only, the others the first."""
    members = np.repeat(np.arange(groups), 10)
    return members, (members < carriers).astype(int)


def opinions(rng, members, y, effect):
    """Probabilities (N, 2) of both models, which have a part of their errors in common."""
    shift, slope, own = effect * rng.normal(size=(3, members.max() + 1))[:, members]
    noise, other = rng.normal(size=(2, len(y)))
    first = (1.3 + 0.7 * slope) * y + shift + noise
    second = (1.3 + 0.4 * slope) * y + 0.7 * shift + 0.7 * own + 0.6 * noise + 0.8 * other
    return [np.stack([1 - p, p], axis=1) for p in (expit(1.6 * s - 1.2) for s in (first, second))]


def truth(effect, draw):
    """Figures of both models on very many patients, each drawn as those of the simulation."""
    rng = np.random.default_rng(99)
    members, y = draw(rng, 40_000)
    ones = np.ones(len(y))
    found = []
    for proba in opinions(rng, members, y, effect):
        figures = {name: metric(y, proba)(ones) for name, metric in metrics.OF_PROBABILITIES.items()}
        found.append(
            {
                "auc": metrics.auc(y, proba)(ones),
                "balanced_accuracy": metrics.balanced_accuracy(y, proba)(ones),
                **figures,
            }
        )
    return found


def covered(groups, effect, draw, true, runs, figures=FIGURES):
    """Shares of runs whose interval holds the truth: of the first model, and of the difference of both."""
    rng, held = np.random.default_rng(1), []
    while len(held) < runs:
        members, y = draw(rng, groups)
        if np.isnan(intervals.freedom(members, metrics.sides(y, 2))):
            continue  # it would have no interval
        a, b = (
            score.score(y, proba, [0, 1], members, resamples=RESAMPLES, seed=len(held))
            for proba in opinions(rng, members, y, effect)
        )
        gains = {name: true[0][name] - true[1][name] for name in figures}
        pairs = [
            (getattr(found, name), wanted[name]) for found, wanted in ((a, true[0]), (a - b, gains)) for name in figures
        ]
        held.append([interval.low <= value <= interval.high for interval, value in pairs])
    return np.mean(held, axis=0).reshape(2, len(figures))


def told(case, shares):
    print(f"{case:40}", *(f"{share:.3f}" for share in shares.ravel()), flush=True)


@pytest.mark.benchmark
@pytest.mark.parametrize("effect", [0.0, 1.0])
@pytest.mark.parametrize("unlike", [False, True])
def test_intervals_hold_what_they_promise(unlike, effect):
    def draw(rng, groups):
        return patients(rng, groups, unlike)

    true, missed = truth(effect, draw), []
    print(f"\n{'':40}", *(f"{name[:5]}" for name in FIGURES * 2))
    for groups in (6, 12, 20, 50):
        case = f"{groups} {'unlike' if unlike else 'alike'}, effect {effect:g}"
        shares = covered(groups, effect, draw, true, RUNS)
        told(case, shares)
        missed += [case] * bool(shares[:, :2].min() < 0.92 or shares[:, :2].max() > 0.98 + ERROR)
    assert not missed


@pytest.mark.benchmark
@pytest.mark.parametrize("groups", [10, 30])
@pytest.mark.parametrize("carriers", [1, 2, 3, 4, 5])
def test_a_class_of_few_patients(groups, carriers, monkeypatch):
    """What the least number of carriers rests on."""
    monkeypatch.setattr(intervals, "CARRIERS", 2)
    for effect in (0.0, 1.0):
        true = truth(effect, lambda rng, groups: rare(rng, groups, groups // 2))
        if carriers > 1:
            shares = covered(groups, effect, lambda rng, groups: rare(rng, groups, carriers), true, RUNS, PROMISED)
            told(f"{carriers} of {groups}, effect {effect:g}", shares)
            assert carriers < 3 or shares.min() >= 0.92
