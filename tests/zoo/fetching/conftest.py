import huggingface_hub.constants
import pytest

from zoo.fetching import hub as hubs


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(hubs, "_WAIT", 0.01)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
