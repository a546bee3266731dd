"""Blocks of features, and what they are to say."""

import numpy as np

WIDTHS = [6, 9]


def blocks(count=150, seed=0):
    """Two encoders: the first knows the class number modulo 3, the second is loud noise."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 3
    good = rng.normal(size=(count, 6)) + 1.2 * np.eye(3, 6)[y]
    return [good.astype(np.float32), (5 + 3 * rng.normal(size=(count, 9))).astype(np.float32)]


def targets(kind, count=150):
    y = np.arange(count) % 3
    rare = np.random.default_rng(1).random(count) < 0.2
    return {"classes": y, "binary": y % 2, "labels": np.stack([y == 0, y > 0, rare], 1).astype(np.int64)}[kind]
