"""What the leaderboard adds to a fit, in CPU time. Not part of the suite: a time is no assertion.

python -m pytest tests/benchmarks/test_leaderboard.py -m benchmark -s
"""

import time

import pytest

from fusion import FusionClassifier, brain_regions

TRAIN = brain_regions("train", labels=300)


@pytest.mark.benchmark
@pytest.mark.parametrize("encoders", [["mocov2-mini"], ["mocov2-mini", "mae-mini"]])
def test_the_cost_of_a_leaderboard(encoders):
    taken = {False: [], True: []}
    for _ in range(3):
        for on, seconds in taken.items():
            started = time.process_time()
            model = FusionClassifier(encoders, compare_baselines=on).fit(TRAIN.images, TRAIN.labels, TRAIN.groups)
            seconds.append(time.process_time() - started)
    share = min(taken[True]) / min(taken[False]) - 1
    print(f"\n{encoders}: {min(taken[False]):.2f} s, and {100 * share:.0f} % for the leaderboard")
    assert model.leaderboard_ is not None
