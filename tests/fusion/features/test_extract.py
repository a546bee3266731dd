import numpy as np

import zoo
from fusion.features import extract
from tests.fusion.estimators.small_models import TRAIN


def test_levels_equal_the_truncated_encoders():
    whole = zoo.load("mocov2-mini", 1.0)
    levels = extract.levels(whole, TRAIN.images)
    assert whole.depths == tuple(k / 8 for k in range(1, 9))
    for depth, level in zip(whole.depths, levels, strict=True):
        expected = extract.extract(zoo.load("mocov2-mini", depth), TRAIN.images)
        np.testing.assert_allclose(level, expected, atol=1e-5)
    chunked = extract.extract(whole, TRAIN.images, batch=7)
    np.testing.assert_allclose(chunked, levels[-1], atol=1e-5)
    ends = extract.quarters(whole, TRAIN.images)
    assert all(np.array_equal(a, b) for a, b in zip(ends, levels[1::2], strict=True))
