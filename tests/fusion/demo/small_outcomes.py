"""Every row of the demo's table, judged on random answers."""

import numpy as np

from fusion.data.samples import Samples
from fusion.demo import protocol
from fusion.demo.features import DEPTHS, ENCODERS
from fusion.demo.protocol import Choice, Outcome, Pick
from fusion.evaluation import score
from fusion.features import raw
from fusion.heads.calibration import neutral
from fusion.heads.solved import SOLVED

REGIONS = np.array(["cerebellum", "deep", "frontal", "occipital", "parietal", "temporal"])
TEST = Samples(np.zeros((72, 8, 8), np.uint8), np.tile(REGIONS, 12), np.arange(72) // 6)


def outcomes():
    """In the order of the table; of drawn labels two draws, of all labels two random controls."""
    rng = np.random.default_rng(0)
    return [row for budget in protocol.BUDGETS for row in _rows(rng, budget)]


def _rows(rng, budget):
    drawn, levels = 1 if budget is None else 2, range(len(DEPTHS))
    inputs = {raw.NAME: [[(raw.NAME, 0)]] * drawn, "random init @ 0.25": [[(f"random init {s}", 0)] for s in (0, 1)]}
    inputs |= {f"{name} @ {DEPTHS[level]:g}": [[(name, level)]] * drawn for name in ENCODERS for level in levels}
    inputs |= {protocol.SINGLE: [[(ENCODERS[0], 1)], [(ENCODERS[1], 0)]][:drawn]}
    inputs |= {"all-concat @ 1": [[(name, 3) for name in ENCODERS]] * drawn}
    inputs |= {protocol.FUSION: [[(ENCODERS[0], 1), (ENCODERS[1], 2)]] * drawn}
    judged = {row: _judged(rng, len(keys)) for row, keys in inputs.items()}
    for row, keys in inputs.items():
        test, proba = judged[row]
        choice = Choice(row, budget, [Pick(own, _head(own), neutral(6), rng.uniform(0.7, 0.9)) for own in keys])
        gain = None if row == protocol.FUSION else judged[protocol.FUSION][0] - test
        yield Outcome(choice, test, [0.8, 0.9][: len(keys)], gain, proba, [REGIONS[p.argmax(1)] for p in proba])


def _head(keys):
    head = SOLVED[protocol.HEAD]()
    head.strengths = (0.1,) * len(keys)
    return head


def _judged(rng, models):
    proba = list(rng.dirichlet(np.ones(6), (models, len(TEST))))
    return score.score(TEST.labels, proba, REGIONS, TEST.groups, resamples=20), proba
