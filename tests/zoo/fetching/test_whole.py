"""A whole file: fetched once, checked, and fetched once more where it is spoilt."""

import random
import shutil

import huggingface_hub
import huggingface_hub.constants
import pytest

from tests import small
from tests.hub.faults import Fault
from tests.marks import slow_but
from tests.zoo.fetching.served import SOME, flip, read, right
from zoo.fetching import digests, opened
from zoo.fetching import header as header_
from zoo.fetching import hub as hubs
from zoo.fetching.hub import WeightsError
from zoo.fetching.places import store_of
from zoo.fetching.weights import open_weights


def test_a_whole_file_of_the_hub_client_is_used_as_it_is(hub, tmp_path):
    card, data = small.publish(hub, tmp_path)
    huggingface_hub.hf_hub_download(small.REPO, small.FILE, revision=small.REVISION)
    hub.forget()
    file = open_weights(card)
    assert right(file.read(SOME), data)
    assert hub.sent == file.fetched == 0
    assert file.verified == "card"


def test_whole_fetches_the_file_once(hub, tmp_path):
    card, data = small.publish(hub, tmp_path, pinned=False)
    file = open_weights(card, whole=True)
    assert right(file.read(SOME), data)
    assert (file.verified, file.fetched) == ("whole file", len(data))
    hub.forget()
    again = open_weights(card)
    assert right(again.read(SOME), data)
    assert (again.verified, hub.sent) == ("whole file", 0)


def test_wrong_bytes_of_a_first_use_are_reported_as_first_use(hub, tmp_path):
    card, data = small.publish(hub, tmp_path, pinned=False)
    file = open_weights(card)
    hub.faults.append(Fault("wrong"))
    assert not right(file.read(["layer1.weight"]), data), "nobody can know"
    assert file.verified == "first-use"
    whole = open_weights(card, whole=True)
    assert right(whole.read(["layer1.weight"]), data)
    assert whole.verified == "whole file"
    assert len(list((store_of(card).folder / "quarantine").iterdir())) == 1, "what the first use had recorded"


@pytest.mark.parametrize("known", slow_but(["card", "hub", "whole file"], "card"))
def test_200_flipped_bits_of_a_whole_file_are_caught_at_the_load(hub, tmp_path, known):
    card, data = small.publish(hub, tmp_path, pinned=known == "card", beside=known == "hub", count=4, size=400)
    read(card, whole=True)
    names = ["layer1.weight", "half", "count"]
    spans = open_weights(card).header.spans
    used = [(0, header_.stop(data[:8]))] + [(spans[name].start, spans[name].stop) for name in names]
    draw = random.Random(2)
    for _ in range(200):
        path = hubs.Remote(small.REPO, small.REVISION, small.FILE).cached
        start, stop = draw.choices(used, [stop - start for start, stop in used])[0]
        flip(path, draw.randrange(8 * start, 8 * stop))
        assert path.read_bytes() != data
        file = open_weights(card)
        assert right(file.read(names), data), "put aside and fetched once more"
        assert (file.verified, path.read_bytes()) == (known, data)


def test_a_small_file_kept_in_git_is_checked_by_gits_own_hash(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.hub.loopback.LFS", ())
    card, data = small.publish(hub, tmp_path, pinned=False, count=2, size=100)
    assert right(read(card), data), "by ranges, as any"
    assert right(read(card, whole=True), data)
    assert open_weights(card).verified == "whole file"
    path = hubs.Remote(small.REPO, small.REVISION, small.FILE).cached
    assert opened.digest(path).file == digests.sha256(data)
    store_of(card).quarantine(["whole"])
    flip(path, 3)
    assert right(read(card), data), "put aside and fetched once more"
    hub.serve(small.REPO, small.REVISION, {small.FILE: data[:-1] + b"x"})
    store_of(card).quarantine(["whole"])
    flip(path, 3)
    with pytest.raises(WeightsError, match=r"must have git sha1 [0-9a-f]{40} \(got"):
        read(card)


def test_a_wrong_first_use_recovers_once_the_whole_file_was_right(hub, tmp_path):
    card, data = small.publish(hub, tmp_path, pinned=False)
    file = open_weights(card)
    hub.faults.append(Fault("wrong"))
    assert not right(file.read(["layer1.weight"]), data)
    assert right(read(card, ["layer1.weight"], whole=True), data)
    shutil.rmtree(tmp_path / "hub-cache")
    flip(next(store_of(card).folder.glob("whole.*")), 9)
    again = open_weights(card)
    assert (again.verified, right(again.read(["layer1.weight"]), data)) == ("first-use", True), (
        "the disproved digest is gone"
    )
