"""Stored values to [0, 1]: by a window, by a span, or by the maximum of their type."""

import numpy as np
import pytest

from tests.zoo.images.files import WINDOW
from zoo.images import scale


@pytest.mark.parametrize(("values", "expected"), [([-200, -160, 40, 240, 900], [0, 0, 0.5, 1, 1])])
def test_a_window_maps_its_ends_to_0_and_1(values, expected):
    found = scale.windowed(np.array(values), WINDOW)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected)


def test_what_lies_outside_its_span_is_refused():
    np.testing.assert_allclose(scale.within(np.array([0, 51, 255]), (0, 255)), [0, 0.2, 1], rtol=1e-6)
    with pytest.raises(ValueError, match=r"^its values must lie in 0\.\.255, not -1\.\.256$"):
        scale.within(np.array([-1, 256]), (0, 255))


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.array([0, 51, 255], np.uint8), [0, 0.2, 1]),
        (np.array([0, 13107, 65535], np.uint16), [0, 0.2, 1]),
        (np.array([False, True]), [0, 1]),
        (np.array([0.0, 0.25, 1.0]), [0, 0.25, 1]),
    ],
)
def test_stored_values_become_0_to_1(stored, expected):
    found = scale.unit(stored)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("stored", "error", "message"),
    [
        (np.array([0, 1], np.int16), TypeError, r"^images must be uint8, uint16 or float in \[0, 1\] \(got int16\)"),
        (np.array([0, 1 + 0j]), TypeError, r"\(got complex128\)\. Convert them first"),
        (np.array([0.0, 1.5]), ValueError, r"^float images must lie in \[0, 1\] \(got 0 to 1\.5\)\. Rescale them"),
        (np.array([-0.1, 1.0]), ValueError, r"\(got -0\.1 to 1\)"),
        (np.array([np.nan, 0.5]), ValueError, r"\(got nan to nan\)"),
    ],
)
def test_values_without_a_scale_are_refused(stored, error, message):
    with pytest.raises(error, match=message):
        scale.unit(stored)


@pytest.mark.parametrize("shape", [(1, 1), (3, 2**21), (5000, 300), (2100, 600, 3)])
def test_bands_are_put_together_as_they_were(shape):
    stored = np.arange(np.prod(shape)).reshape(shape) % 251
    assert (scale.banded(lambda band: band * 2, stored) == stored * 2).all()
