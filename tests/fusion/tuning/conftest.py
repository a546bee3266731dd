"""A small encoder."""

import pytest

from tests.small_fits import own


@pytest.fixture
def encoder(tmp_path):
    return own(tmp_path)
