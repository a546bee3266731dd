"""Six images of two classes."""

import pytest

from tests.fusion.data.small_tables import picture


@pytest.fixture
def folder(tmp_path):
    for k, label in enumerate(("cat", "dog")):
        (tmp_path / label).mkdir()
        for i in range(3):
            picture(1000 + 3 * k + i).save(tmp_path / label / f"{i}.png")
    return tmp_path
