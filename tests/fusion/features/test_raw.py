"""The control that every encoder must beat."""

import numpy as np
import pytest

from fusion import brain_regions
from fusion.features import raw


def test_raw_pixels_are_sixteen_by_sixteen_means():
    images = brain_regions("validation").images[:70]  # more than are read at a time
    found = raw.pixels(images)
    assert found.shape == (70, 256)
    means = images.reshape(70, 16, 4, 16, 4).mean((2, 4)).reshape(70, 256) / 255
    slope, offset = np.polyfit(means.ravel(), found.ravel(), 1)  # of the reader's scale
    assert slope > 0
    np.testing.assert_allclose(found, slope * means + offset, atol=1e-4)
    assert found[1, 17] == pytest.approx(slope * images[1, 4:8, 4:8].mean() / 255 + offset, abs=1e-4)


def test_a_change_is_of_the_pixels():
    images = brain_regions("validation").images[:3]
    plain, darker, same = raw.varied(images, [lambda pixels: 0.5 * pixels, lambda pixels: pixels])
    np.testing.assert_array_equal(plain, raw.pixels(images))
    np.testing.assert_allclose(same, plain, atol=1e-5)
    np.testing.assert_allclose(darker, raw.pixels((images / 2).astype(np.float32) / 255), atol=1e-4)
