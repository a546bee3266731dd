import shutil

import huggingface_hub
import pytest

from tests.loadable import publish
from zoo.fetching import digests, places
from zoo.fetching import hub as hubs
from zoo.upkeep import airgap, conversion


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


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """What was converted in this session."""
    return tmp_path_factory.mktemp("converted")


@pytest.fixture
def convert_once(hub, kept):
    """Converts a card's file, in a process of its own only the first time: later ones find what an earlier left."""

    def convert(card):
        served = hub.files(card.weights.repo, card.weights.revision)[card.weights.file]
        place = places.converted(digests.sha256(served), card).parent
        known = kept / place.relative_to(hubs.cache())
        if known.exists() and not place.exists():
            shutil.copytree(known, place)
        path = conversion.convert_card(card)
        assert path.parent == place
        if not known.exists():
            shutil.copytree(place, known)
        return path

    return convert
