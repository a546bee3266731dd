import numpy as np
import pytest

import zoo
from tests.zoo.images.files import real
from zoo.images.reading import read


@pytest.fixture(scope="module")
def encoder():
    return zoo.load("mocov2-mini", 0.5)


@pytest.fixture(scope="module")
def image():
    pixels = read(real("MR_small.dcm"), None)
    return np.rint(255 * pixels).astype(np.uint8)
