"""Two blocks of features, labels and folds."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold


@pytest.fixture
def problem():
    """Two encoders, the second of pure noise; four classes, ten groups."""
    rng = np.random.default_rng(0)
    y = np.arange(240) % 4
    good = rng.normal(size=(240, 6)) + 1.5 * np.eye(4, 6)[y]
    noise = rng.normal(size=(240, 40)) * 30 + 5
    groups = rng.integers(10, size=240)
    folds = list(StratifiedGroupKFold(4, shuffle=True, random_state=0).split(y, y, groups))
    return [good, noise], y, folds, groups
