import pytest

from tests.hub.asking import COMMIT, DATA, DIGEST, REPO


@pytest.fixture
def served(hub):
    hub.serve(REPO, COMMIT, {"model.safetensors": DATA, "config.json": b"{}"})
    return hub


@pytest.fixture
def blob(served):
    return f"{served.cdn}/cdn/{DIGEST}"
