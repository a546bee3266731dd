"""CCA of the pixels of maps."""

import numpy as np
import pytest

import zoo
from fusion.features import extract
from fusion.similarity.canonical import cca
from fusion.similarity.pixel_cca import pixel_cca
from tests.fusion.similarity.drawn import MANY, at_64, own_twin


def test_pixel_cca_by_hand(pair):
    """One repeat of all images and channels is plain CCA of the pixels."""
    encoder, other = pair[0], own_twin(pair[0])
    found = pixel_cca(encoder, other, MANY, points=10**6, channels=64, repeats=1)
    x, y = (
        [np.concatenate(p) for p in zip(*extract.batches(e, MANY, zoo.Encoder.pyramid), strict=True)]
        for e in (encoder, other)
    )
    for quarter, value in enumerate(found):
        a, b = (np.moveaxis(levels[quarter], 1, -1).reshape(-1, levels[quarter].shape[1]) for levels in (x, y))
        assert value == pytest.approx(cca(a, b), abs=1e-6)


def test_pixel_cca_before_and_after_a_change(pair):
    found = pixel_cca(pair[0], own_twin(pair[0]), MANY, points=500, channels=6)
    assert found[:2] == pytest.approx([1, 1], abs=1e-6)  # what lies before the change is the same
    assert max(found[2:]) < 0.99
    assert found == pixel_cca(pair[0], own_twin(pair[0]), MANY, points=500, channels=6)


def test_bad_input(pair):
    with pytest.raises(ValueError, match="encoders must have the same maps"):
        pixel_cca(*pair, MANY)
    with pytest.raises(ValueError, match=r"encoders must have the same maps.* of images of 32 and 64"):
        pixel_cca(pair[1], at_64(pair[1]), MANY)
    with pytest.raises(ValueError, match=r"must be at least 1 \(got 0, "):
        pixel_cca(pair[0], own_twin(pair[0]), MANY[:0])
    with pytest.raises(ValueError, match=r"points must give \d+ pixels or more .*\(got \d+\)\. Pass more images"):
        pixel_cca(pair[0], own_twin(pair[0]), MANY[:2])
