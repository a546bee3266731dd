"""Six images of two classes."""

import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for i in range(3):
            Image.new("L", (8, 8), 20 * i).save(tmp_path / label / f"{i}.png")
    return tmp_path
