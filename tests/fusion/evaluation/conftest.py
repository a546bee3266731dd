"""Answers of models to judge."""

import numpy as np
import pytest


@pytest.fixture
def judged():
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=300)
    proba = rng.dirichlet([1, 1, 1], 300) + 0.5 * np.eye(3)[y]
    proba = np.round(proba / proba.sum(1, keepdims=True), 2)  # with ties
    return np.array(["a", "b", "c"])[y], proba / proba.sum(1, keepdims=True), np.arange(300) // 15


@pytest.fixture
def several():
    """240 images of 24 patients, three labels of which an image has any number; probabilities with ties."""
    rng = np.random.default_rng(3)
    y = (rng.random((240, 3)) < [0.5, 0.3, 0.15]).astype(int)
    proba = np.round(np.clip(rng.random((240, 3)) * 0.7 + 0.3 * y, 0, 1), 2)
    return y, proba, np.arange(240) // 10
