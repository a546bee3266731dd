"""A comparison and a scan by hand."""

import numpy as np

from fusion.evaluation.intervals import Interval
from fusion.selection.scan import Level, Pair, Scan
from fusion.similarity.compare import Comparison

DEPTHS = (0.25, 0.5, 0.75, 1.0)
VALUES = np.array([[0.99, 0.5, 0.104, -0.061], [0.8, 0.7, 0.4, -0.001], [0.3, 0.2, 0.6, 0.45]])
PAIR = Comparison("cka", "left@0.75", "right@1", (DEPTHS[:3], DEPTHS), VALUES, 120)


def levels(name, scores, probed):
    return [
        Level(name, depth, logme=score, h_score=2.0, knn=0.6 + score, auc=probed.get(depth))
        for depth, score in zip(DEPTHS, scores, strict=True)
    ]


def interval(value):
    return Interval(value, value - 0.1, value + 0.1)


SCAN = Scan(
    levels=levels("left", (0.1, 0.2, 0.15, 0.0), {0.5: 0.8, 0.75: 0.9}) + levels("right", (0, 0, 0.1, 0.3), {1.0: 0.7}),
    recommended=["left@0.75"],
    auc=0.9,
    depths={"left": 0.75, "right": 1.0},
    concat=0.65,
    pairs=[Pair(("left@0.75", "right@1"), 0.88, -0.02, interval(0.4), interval(0.6))],
    folds=5,
    stability={"left": 0.95, "right": 0.7, "set": 0.65},
)
