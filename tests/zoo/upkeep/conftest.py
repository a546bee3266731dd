import huggingface_hub
import pytest

from tests.loadable import publish
from zoo.upkeep import airgap


@pytest.fixture
def own(hub, tmp_path, monkeypatch):
    """A folder for cards of one's own, in the registry."""
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.setenv("ZOO_CARDS", str(folder))
    return folder


@pytest.fixture
def go(tmp_path, monkeypatch):
    """Goes to another machine: empty caches, and the Hub is gone."""

    def away(hub, where="there"):
        hub.reset()
        for name, folder in {"HF_HUB_CACHE": "hub", "HF_ASSETS_CACHE": "assets"}.items():
            monkeypatch.setattr(huggingface_hub.constants, name, str(tmp_path / where / folder))
        return tmp_path / where

    return away


@pytest.fixture
def exported(hub, own, tmp_path):
    """An exported folder with one checkpoint, two of its own pieces and what belongs to them."""
    publish(hub, own)
    return airgap.export(["small-test@0.25"], tmp_path / "out")
