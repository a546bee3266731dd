"""Every row of the demo's table, judged on random answers."""

import numpy as np

from fusion.data.samples import Samples
from fusion.demo import protocol
from fusion.demo.protocol import Choice, Outcome
from fusion.evaluation import score
from fusion.features import raw

REGIONS = np.array(["cerebellum", "deep", "frontal", "occipital", "parietal", "temporal"])
TEST = Samples(np.zeros((72, 8, 8), np.uint8), np.tile(REGIONS, 12), np.arange(72) // 6)


def outcomes():
    """In the order of the table; of the random controls two seeds."""
    rng = np.random.default_rng(0)
    return [row for budget in protocol.BUDGETS for row in _rows(rng, budget)]


def _rows(rng, budget):
    names, levels = protocol.ENCODERS, range(len(protocol.DEPTHS))
    inputs = {raw.NAME: [[(raw.NAME, 0)]], "random init": [[(f"random init {seed}", 3)] for seed in (0, 1)]}
    inputs |= {f"{name} @ {protocol.DEPTHS[level]:g}": [[(name, level)]] for name in names for level in levels}
    inputs |= {"all-concat @ 1": [[(name, 3) for name in names]], "fusion": [[(names[0], 1), (names[1], 2)]]}
    judged = {row: _judged(rng, len(keys)) for row, keys in inputs.items()}
    for row, keys in inputs.items():
        (held, _), (test, proba) = _judged(rng, 1), judged[row]
        choice = Choice(row, budget, keys, [], [0.1] * len(keys[0]), held)
        yield Outcome(choice, test, None if row == "fusion" else judged["fusion"][0] - test, proba)


def _judged(rng, models):
    proba = list(rng.dirichlet(np.ones(6), (models, len(TEST))))
    return score.score(TEST.labels, proba, REGIONS, TEST.groups, resamples=20), proba
