"""A series that runs in seconds."""

import csv

from fusion.study import config as config_

CONFIG = {
    "name": "several",
    "folds": 3,
    "encoders": ["mocov2-mini@0.25", "untrained:mocov2-mini@0.25"],
    "strategies": ["full", "probe"],
    "only": {"mocov2-mini": ["probe"], "untrained:mocov2-mini": ["full"]},
    "learning_rates": [1e-3, 1e-2],
    "training": {"epochs": 1, "batch": 12},
    "labels": [12],
    "seeds": [0],
    "reference": "probe",
    "raw_pixels": False,
}


def config(**values):
    return config_.parse({**CONFIG, **values}, "test")


def rows(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))
