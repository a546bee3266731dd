"""Where a card's file lies: one place for each file, and none for a card that pins no commit."""

import pytest

from tests.loadable import REVISION, write_card
from zoo.fetching import hub as hubs
from zoo.fetching import places
from zoo.fetching.hub import WeightsError

OTHER = "b" * 40


@pytest.fixture
def card(tmp_path):
    def make(repo="lab/small", revision=REVISION, file="model.safetensors", more=""):
        pinned = f'revision: "{revision}", ' if revision else ""
        return write_card(tmp_path, "small-test", f"{{repo: {repo}, {pinned}file: {file}{more}}}")

    return make


def test_the_pieces_lie_in_one_folder_for_each_file_and_commit(hub, card):
    base = hubs.cache()
    assert places.store_of(card()).folder == base / "lab%2Fsmall" / REVISION / "model.safetensors"
    deep = places.store_of(card(file="deep/model.safetensors")).folder
    assert deep == base / "lab%2Fsmall" / REVISION / "deep%2Fmodel.safetensors"
    assert places.store_of(card(revision=OTHER)).folder.parts[-2] == OTHER
    assert not base.exists(), "asking creates nothing"


def test_the_file_on_the_hub(card):
    remote = places.remote_of(card(more=f', sha256: "{"0" * 64}"'))
    assert (remote.repo, remote.revision, remote.file) == ("lab/small", REVISION, "model.safetensors")
    assert (remote.sha256, remote.fetched) == ("0" * 64, 0)
    assert places.remote_of(card()).sha256 is None


@pytest.mark.parametrize("given", [{"revision": None}, {"repo": "null"}, {"file": "null"}])
def test_a_file_without_repo_commit_or_name_is_nowhere(card, given):
    message = r"^revision must be pinned \(got None\)\. Pass zoo\.load\('small-test', revision='<40 hex digits>'\)\.$"
    with pytest.raises(WeightsError, match=message):
        places.remote_of(card(**given))


def test_a_converted_file_lies_by_its_source_and_by_all_that_made_it(card):
    one = card(file="x.pth")
    path = places.converted("0" * 64, one)
    assert path.parts[-4:-2] == ("converted", "0" * 64)
    assert (path.name, len(path.parent.name)) == ("model.safetensors", 16)
    assert path.is_relative_to(hubs.cache())
    same = one.model_copy(update={"name": "other-test", "domain": "other"})
    assert places.converted("0" * 64, same) == path, "what the card is called makes no other file"
    others = [
        one.model_copy(update={"architecture": "resnet34"}),
        one.model_copy(update={"kwargs": {**one.kwargs, "in_chans": 3}}),
        card(file="x.pth", more=", layout: moco"),
    ]
    made = {path, *(places.converted("0" * 64, other) for other in others), places.converted("1" * 64, one)}
    assert len(made) == 5
