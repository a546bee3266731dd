"""Fetching by ranges: only what is needed, each byte once, hashed at every load, right or refused."""

import random
import shutil
import threading

import huggingface_hub
import huggingface_hub.constants
import pytest

from tests import small
from tests.hub.faults import Fault
from tests.marks import slow_but
from tests.zoo.fetching.served import SOME, flip, flip_a_piece, overlaps, read, right
from zoo.fetching import digests, opened
from zoo.fetching.hub import WeightsError
from zoo.fetching.places import store_of
from zoo.fetching.weights import open_weights


def test_only_the_needed_bytes_are_fetched_and_none_twice(hub, tmp_path):
    card, data = small.publish(hub, tmp_path, size=40_000, count=20)
    first = open_weights(card)
    assert right(first.read(SOME), data)
    needed = len(first.header.raw) + sum(len(small.whole(data)[name]) for name in SOME)
    assert first.fetched == hub.sent < len(data) / 4
    assert needed <= hub.sent <= needed + 2 * (32 << 10)
    assert right(read(card, SOME), data)
    assert hub.sent == first.fetched, "the second time nothing is asked for"
    assert right(read(card), data)
    assert hub.sent == len(data)
    assert overlaps(hub.ranges) == 0


def test_neighbours_come_together_and_large_stretches_in_parallel(hub, tmp_path, monkeypatch):
    card, data = small.publish(hub, tmp_path)
    read(card)
    assert len([r for r in hub.ranges if r[1] >= 8]) == 2, "the header, then everything at once"
    monkeypatch.setattr(opened, "_RUN", 20_000)
    other, data = small.publish(hub, tmp_path, revision="b" * 40, seed=1)
    hub.forget()
    assert right(read(other), data)
    assert len(hub.ranges) >= len(data) / 20_000


def test_stretches_are_fetched_side_by_side(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(opened, "_RUN", 4000)
    card, data = small.publish(hub, tmp_path, size=4000)
    file, together = open_weights(card), threading.Barrier(4)
    hub.faults = lambda asked: meet(together) if asked.on == "blob" else None
    assert right(file.read([f"layer{i}.weight" for i in range(4)]), data)
    assert together.broken is False


def meet(barrier):
    barrier.wait(timeout=10)  # one connection at a time would never be four


def test_what_was_held_is_not_fetched_with_its_neighbours(hub, tmp_path):
    card, data = small.publish(hub, tmp_path)
    names = sorted(small.whole(data))
    read(card, names[1::3])
    read(card, names)
    assert overlaps(hub.ranges) == 0


def test_nothing_is_asked_for_before_it_is_needed(hub, tmp_path):
    card, _ = small.publish(hub, tmp_path)
    open_weights(card)
    assert [start for _, start, _ in hub.ranges] == [0, 8]


@pytest.mark.parametrize("kind", ["wrong", "moved"])
def test_wrong_bytes_are_fetched_once_more_where_digests_are_known(hub, tmp_path, kind):
    card, data = small.publish(hub, tmp_path)
    fault = Fault("wrong", shift=8 if kind == "moved" else None)
    file = open_weights(card)
    hub.faults.append(fault)
    assert right(file.read(["layer1.weight"]), data)
    hub.faults = lambda asked: fault if asked.on == "blob" else None
    with pytest.raises(WeightsError, match=r"lab/small/model.safetensors must hold the published bytes.*weights=PATH"):
        file.read(["layer3.weight"])
    hub.faults = []
    assert right(read(card), data), "nothing wrong was kept"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"<!doctype html><title>Sign in</title>", "it is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "it is a git-lfs pointer"),
        (b"\x80\x02}q\x00.q\x00q\x00", "it is a pickled checkpoint"),
        (b"", "it is truncated at 0 bytes|cannot be fetched"),
        (b"\x20\x00\x00\x00\x00\x00\x00\x00{}", "cannot be fetched"),
        ((200_000_000).to_bytes(8, "little") + b"{}", "its header claims 200000000 bytes"),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_file_that_is_something_else_is_refused_by_its_cause(hub, tmp_path, content, cause, whole):
    card, _ = small.publish(hub, tmp_path, pinned=False)
    hub.serve(small.REPO, small.REVISION, {small.FILE: content})
    with pytest.raises(WeightsError, match="truncated" if whole and "fetched" in cause else cause):
        read(card, whole=whole)
    assert not store_of(card).get(["header"])


def test_a_file_cut_short_on_the_hub_is_refused(hub, tmp_path):
    card, data = small.publish(hub, tmp_path)
    hub.serve(small.REPO, small.REVISION, {small.FILE: data[:-10]})
    with pytest.raises(WeightsError, match=rf"it is truncated at {len(data) - 10} bytes, not {len(data)}"):
        read(card)


def test_another_file_than_the_pinned_one_is_a_wrong_revision(hub, tmp_path):
    card, _ = small.publish(hub, tmp_path)
    from safetensors.numpy import save

    hub.serve(small.REPO, small.REVISION, {small.FILE: save({"other": small.tensors()["half"]})})
    with pytest.raises(WeightsError, match="its header is another"):
        read(card)


@pytest.mark.parametrize("pinned", slow_but([True, False], True))
def test_200_flipped_bits_of_the_cache_are_caught_at_the_load(hub, tmp_path, pinned, monkeypatch):
    card, data = small.publish(hub, tmp_path, pinned=pinned, count=4, size=400)
    names = ["layer1.weight", "layer2.weight", "half", "count"]
    read(card)
    draw = random.Random(1)
    for _ in range(100):
        flip_a_piece(card, names, draw)
        assert right(read(card, names), data), "fetched once more"
        assert store_of(card).spoilt()
        flip_a_piece(card, names, draw)
        with monkeypatch.context() as cut_off:
            cut_off.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
            with pytest.raises(WeightsError, match="cannot be fetched"):
                read(card, names)
        assert right(read(card, names), data)


def test_a_flip_elsewhere_waits_for_the_load_that_needs_it(hub, tmp_path):
    card, data = small.publish(hub, tmp_path)
    read(card)
    span = open_weights(card).header.spans["layer3.weight"]
    flip(next(store_of(card).folder.glob(f"{opened.key(span)}.*")), 7)
    assert right(read(card, ["layer1.weight"]), data)
    assert not store_of(card).spoilt()
    assert right(read(card, ["layer3.weight"]), data)
    assert store_of(card).spoilt() == {opened.key(span)}


def test_what_a_first_use_recorded_holds_from_then_on(hub, tmp_path):
    card, data = small.publish(hub, tmp_path, pinned=False)
    assert right(read(card, ["layer1.weight"]), data)
    other, _ = small.publish(hub, tmp_path, pinned=False, seed=1)
    for path in store_of(card).folder.glob("*-*.*"):
        flip(path, 0)
    with pytest.raises(WeightsError, match="must be the file that its header is of"):
        read(other, ["layer1.weight"])
    hub.serve(small.REPO, small.REVISION, {small.FILE: data})
    assert right(read(other, ["layer1.weight"]), data)


def test_a_file_that_changes_behind_its_header_is_refused(hub, tmp_path):
    card, data = small.publish(hub, tmp_path, pinned=False)
    read(card, ["half"])
    _, other = small.publish(hub, tmp_path, pinned=False, seed=1)
    assert len(other) == len(data)
    with pytest.raises(WeightsError, match="must be the file that its header is of"):
        read(card, ["layer1.weight"])
    with pytest.raises(WeightsError, match="Load once with whole=True"):
        read(card, ["layer2.weight"])
    assert right(read(card, whole=True), other)
    shutil.rmtree(tmp_path / "hub-cache")
    assert right(read(card), other), "nothing of the old one is left in use"


def test_a_tensor_that_the_digests_do_not_list_is_refused(hub, tmp_path):
    card, data = small.publish(hub, tmp_path, pinned=False)
    own = tmp_path / "own.safetensors"
    own.write_bytes(data)
    listed = opened.digest(own)
    fewer = listed.model_copy(update={"tensors": {k: v for k, v in listed.tensors.items() if k != "half"}})
    hub.serve(small.REPO, small.REVISION, {small.FILE: data, "digests.json": digests.dump(fewer)})
    assert right(read(card, ["count"]), data)
    with pytest.raises(WeightsError, match="the Hub sent others for half"):
        read(card, ["half"])
