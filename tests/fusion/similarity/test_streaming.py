"""Layers that come in batches give what arrays in memory give."""

import numpy as np
import pytest

import zoo
from fusion.features import extract
from fusion.similarity import measures, streaming
from fusion.similarity.canonical import cca
from fusion.similarity.compare import compare
from tests.fusion.similarity.drawn import MANY, cut, noisy


@pytest.mark.parametrize("size", [1, 7, 64, 5000])
@pytest.mark.parametrize(
    ("measure", "alone"),
    [
        ("cka", measures.cka),
        ("biased-cka", lambda x, y: measures.cka(x, y, debiased=False)),
        ("cca", cca),
    ],
)
def test_streamed_is_in_memory_for_any_batch_size(measure, alone, size):
    """More rows than a chunk, so that sums run over several."""
    first, second = noisy(0, 2100, (5, 24)), noisy(1, 2100, (16, 3, 8))
    found = streaming.pooled(zip(cut(first, size), cut(second, size), strict=True), measure)
    expected = [[alone(x, y) for y in second] for x in first]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("debiased", [True, False])
@pytest.mark.parametrize("rows", [40, 256, 700])
def test_fewer_images_than_columns_give_the_same(rows, debiased):
    """By Gram matrices, in one tile or several."""
    first, second = noisy(0, rows, (300, 5, 500)), noisy(1, rows, (64, 800))
    found = streaming.pooled(zip(cut(first, 64), cut(second, 64), strict=True), "cka" if debiased else "biased-cka")
    expected = [[measures.cka(x, y, debiased=debiased) for y in second] for x in first]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_minibatch_cka_of_maps_is_its_definition(pair):
    found = compare(*pair, MANY, measure="minibatch-cka", batch=25)
    x, y = ([np.concatenate(p) for p in zip(*extract.batches(e, MANY, zoo.Encoder.maps), strict=True)] for e in pair)
    flat = [[level.reshape(len(MANY), -1) for level in levels] for levels in (x, y)]
    expected = [[measures.minibatch_cka(a, b, batch=25) for b in flat[1]] for a in flat[0]]
    np.testing.assert_allclose(found.values, expected, atol=1e-5)
    assert found.measure == "minibatch-cka, batch 25"
