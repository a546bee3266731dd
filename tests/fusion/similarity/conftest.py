"""Two small encoders."""

import pytest

from tests.small_fits import own


@pytest.fixture
def pair(tmp_path):
    return own(tmp_path, "left", seed=2), own(tmp_path, "right", 0.75, family="restorative", seed=3)
