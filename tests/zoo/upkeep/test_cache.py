"""What the cache holds, and what pruning frees and leaves."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

import zoo
from tests.loadable import REVISION, inside, publish, write_card
from zoo.fetching import hub as hubs
from zoo.fetching.pieces import Store
from zoo.fetching.places import store_of
from zoo.upkeep import cache


def spoil(card):
    """A bit of a piece flips on the disk, and the next load finds it."""
    path = next(path for path in store_of(card).folder.glob("*-*.*") if path.stat().st_size > 99)
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    zoo.load(card.name)
    return path


def size(folder):
    return sum(map(len, inside(folder).values()))


def test_an_empty_cache_holds_nothing_and_frees_nothing(own):
    assert cache.held() == []
    assert cache.prune(unknown=True, quarantine=True) == 0
    assert not hubs.cache().exists(), "looking creates nothing"


def test_what_is_held(hub, own):
    card = publish(hub, own)
    zoo.load("small-test", 1.0)
    (one,) = cache.held()
    assert (one.repo, one.revision, one.file) == ("lab/small-test", REVISION, "model.safetensors")
    assert (one.folder, one.cards) == (store_of(card).folder, ("small-test",))
    assert (one.pieces, one.spoilt) == (len(inside(one.folder)), 0)
    assert one.size == size(hubs.cache())
    assert timedelta() <= datetime.now(UTC) - one.fetched < timedelta(minutes=1)


def test_a_file_in_a_folder_of_its_repo_keeps_its_name(hub, own):
    publish(hub, own, file="deep/model.safetensors")
    zoo.load("small-test")
    assert [one.file for one in cache.held()] == ["deep/model.safetensors"]


def test_a_converted_file_belongs_to_its_pickle(hub, own, convert_once):
    card = publish(hub, own, file="checkpoint.pt")
    path = convert_once(card)
    pointer, made = sorted(cache.held(), key=lambda one: one.pieces)
    assert (made.folder, made.pieces, made.size) == (path.parent, 2, size(path.parent))
    assert pointer.folder == store_of(card).folder
    assert {(one.repo, one.file, one.cards) for one in (pointer, made)} == {
        ("lab/small-test", "checkpoint.pt", ("small-test",))
    }
    assert cache.prune(unknown=True) == 0
    assert zoo.load("small-test").report.verified == "conversion"
    assert cache.prune(repo="lab/small-test") == pointer.size + made.size
    assert cache.held() == []


def test_a_conversion_by_a_card_that_has_changed_is_unknown(hub, own, convert_once):
    card = publish(hub, own, file="checkpoint.pt")
    first = convert_once(card)
    text = card.path.read_text()
    card.path.write_text(text.replace("{in_chans: 1, ", "{in_chans: 1, stem_width: 64, "))
    second = convert_once(zoo.card("small-test"))
    assert first != second
    assert cache.prune(unknown=True)
    assert (first.exists(), second.exists()) == (False, True)


def test_a_conversion_that_no_pickle_leads_to_is_nobodys(hub, own, convert_once):
    card = publish(hub, own, file="checkpoint.pt")
    path = convert_once(card)
    for left in store_of(card).folder.glob("source.*"):
        left.unlink()
    (one,) = cache.held()
    assert (one.folder, one.repo, one.revision, one.file, one.cards) == (path.parent, None, None, None, ())
    assert cache.prune(unknown=True) == one.size


def test_a_conversion_of_two_repos_stays_while_one_is_left(hub, own, convert_once):
    both = [publish(hub, own, name, file="checkpoint.pt") for name in ("one-test", "two-test")]
    assert len({convert_once(card) for card in both}) == 1
    (made,) = (one for one in cache.held() if one.folder.parts[-3] == "converted")
    assert (made.repo, set(made.cards)) == (None, {"one-test", "two-test"})
    cache.prune(repo="lab/one-test")
    assert zoo.load("two-test").report.verified == "conversion"


def test_unknown_goes_and_pinned_stays(hub, own, monkeypatch):
    publish(hub, own)
    publish(hub, own, "other-test")
    for name in ("small-test", "other-test"):
        zoo.load(name)
    (own / "other-test.md").unlink()
    known, unknown = sorted(cache.held(), key=lambda one: not one.cards)
    assert cache.prune() == 0
    assert cache.prune(unknown=True) == unknown.size > 0
    assert cache.held() == [known]
    assert zoo.load("small-test").report.fetched == 0
    monkeypatch.delenv("ZOO_CARDS")
    assert cache.prune(unknown=True) == known.size
    assert inside(hubs.cache()) == {}


@pytest.mark.parametrize(
    ("prefix", "kept"), [("", True), (f", prefix: {REVISION[:7]}", True), (", prefix: bbbbbbb", False)]
)
def test_a_card_that_leaves_the_commit_open_pins_those_it_may_mean(hub, own, prefix, kept):
    publish(hub, own)
    zoo.load("small-test")
    write_card(own, "small-test", f"{{repo: lab/small-test, file: model.safetensors{prefix}}}")
    assert (cache.prune(unknown=True) == 0) == kept


def test_one_repo_goes(hub, own):
    for name in ("small-test", "other-test"):
        publish(hub, own, name)
        zoo.load(name)
    other, small = cache.held()
    assert cache.prune(repo="lab/small-test") == small.size
    assert cache.held() == [other]
    zoo.load("small-test")


def test_a_repo_that_is_not_held_is_refused(hub, own):
    with pytest.raises(ValueError, match=r"repo must be one that the cache holds \(got 'a/b'; held: none\)\. Run zoo"):
        cache.prune(repo="a/b")
    publish(hub, own)
    zoo.load("small-test")
    with pytest.raises(ValueError, match=r"\(got 'lab/smal'; held: lab/small-test\)"):
        cache.prune(repo="lab/smal")
    with pytest.raises(ValueError, match=r"\(got ''; held: lab/small-test\)"):
        cache.prune(repo="")


def test_quarantine_goes_only_when_asked(hub, own):
    card = publish(hub, own)
    zoo.load("small-test")
    before = cache.held()[0]
    spoilt = spoil(card)
    (one,) = cache.held()
    assert (one.pieces, one.spoilt, one.size) == (before.pieces, 1, before.size + spoilt.stat().st_size)
    assert cache.prune(unknown=True) == 0
    assert cache.prune(quarantine=True) == spoilt.stat().st_size
    assert [(one.pieces, one.spoilt) for one in cache.held()] == [(before.pieces, 0)]
    assert zoo.load("small-test").report.fetched == 0


def test_what_a_killed_process_left_goes_in_any_case(hub, own, convert_once):
    card = publish(hub, own, file="checkpoint.pt")
    made = convert_once(card).parent
    before = inside(hubs.cache())
    (made / "tmp1.part").write_bytes(b"12345")
    (store_of(card).folder / "tmp2.part").write_bytes(b"123")
    (made / "scratch-1").mkdir()
    (made / "scratch-1" / "raw.safetensors").write_bytes(b"12")
    assert {one.pieces for one in cache.held()} == {1, 2}
    assert cache.prune() == 10
    assert inside(hubs.cache()) == before
    assert not (made / "scratch-1").exists()


def test_links_lead_nowhere(hub, own, tmp_path):
    publish(hub, own)
    zoo.load("small-test")
    (one,) = cache.held()
    outside = tmp_path / "outside"
    (outside / "x" / "quarantine").mkdir(parents=True)
    for path in ("piece", "x/left.part", "x/quarantine/piece"):
        (outside / path).write_bytes(b"mine")
    (one.folder / "linked.part").symlink_to(outside / "piece")
    (one.folder / "quarantine").symlink_to(outside / "x")
    (one.folder / "scratch-1").symlink_to(outside / "x")
    (one.folder.parent / "linked").symlink_to(outside / "x")
    (hubs.cache() / "lab%2Flinked").symlink_to(outside)
    (hubs.cache() / "converted").symlink_to(outside)
    before = inside(outside)
    assert cache.held() == [one]
    (own / "small-test.md").unlink()
    assert cache.prune(unknown=True, quarantine=True) == one.size
    assert inside(outside) == before


def test_pruning_waits_for_a_fetch(hub, own):
    card = publish(hub, own)
    zoo.load("small-test")
    pieces = inside(hubs.cache())
    (own / "small-test.md").unlink()
    done = threading.Thread(target=cache.prune, kwargs={"unknown": True})
    with Store(store_of(card).folder).lock():
        done.start()
        time.sleep(0.3)
        assert inside(hubs.cache()) == pieces
    done.join(10)
    assert inside(hubs.cache()) == {}


def test_an_invalid_card_stops_pruning_before_anything_goes(hub, own):
    publish(hub, own)
    zoo.load("small-test")
    before = inside(hubs.cache())
    (own / "small-test.md").write_text("---\nzoo: {}\n---\n")
    with pytest.raises(zoo.CardError, match=r"small-test.md must follow the card format"):
        cache.prune(unknown=True)
    assert inside(hubs.cache()) == before
