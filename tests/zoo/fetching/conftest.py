import huggingface_hub.constants
import pytest

from zoo.fetching.wire import asking


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(asking, "WAIT", 0.01)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
