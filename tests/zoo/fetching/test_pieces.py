"""The cache of a file's pieces: full, read-only, shared, written by eight at once, and killed at any moment."""

import os
import random
import resource
import signal
import tempfile
import time
from pathlib import Path

import huggingface_hub.constants
import pytest

from tests import small
from tests.zoo.fetching.served import FORK, child, eight_at_once, joined, overlaps, read, right
from zoo.fetching import digests, opened
from zoo.fetching import header as header_
from zoo.fetching import hub as hubs
from zoo.fetching.pieces import CacheError, Store
from zoo.fetching.places import store_of
from zoo.fetching.weights import open_weights
from zoo.fetching.wire import asking


@pytest.mark.parametrize("whole", [False, True])
def test_a_full_disk_is_named_and_leaves_nothing(hub, tmp_path, whole):
    card, data = small.publish(hub, tmp_path, size=300_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"the cache .* must be writable \(got: File too large\).*HF_HOME"):
            read(card, whole=whole)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(store_of(card).folder.glob("*.part"))
    assert right(read(card), data)


def as_another_user(card, answer):
    if os.getuid() == 0:  # to whom nothing is read-only
        os.setresuid(65534, 65534, 65534)
    file = open_weights(card)
    assert file.read(["layer1.weight"])
    try:
        file.read(["layer2.weight"])
    except CacheError as error:
        answer.send(str(error))


def test_a_read_only_cache_gives_what_it_holds_and_says_what_it_cannot(hub, monkeypatch):
    with tempfile.TemporaryDirectory() as home:  # one that another user may enter
        os.chmod(home, 0o755)
        card, _ = small.publish(hub, Path(home))
        assets = Path(home) / "assets"
        monkeypatch.setattr(huggingface_hub.constants, "HF_ASSETS_CACHE", str(assets))
        read(card, ["layer1.weight"])
        for place in [assets, *assets.rglob("*")]:
            place.chmod(0o555 if place.is_dir() else 0o444)
        said, answer = FORK.Pipe(duplex=False)
        process = FORK.Process(target=as_another_user, args=(card, answer))
        process.start()
        process.join(60)
        for place in [assets, *assets.rglob("*")]:
            place.chmod(0o755)
    assert process.exitcode == 0
    assert "must be writable (got: Permission denied)" in said.recv()


def test_eight_processes_fetch_each_byte_once(hub, tmp_path):
    card, data = small.publish(hub, tmp_path, size=100_000)
    assert eight_at_once(card, tmp_path) == [joined(data)] * 8
    assert hub.sent == len(data)
    assert overlaps(hub.ranges) == 0


@pytest.mark.parametrize("whole", [True, False])
def test_eight_processes_mend_the_same_spoilt_bytes(hub, tmp_path, whole):
    card, data = small.publish(hub, tmp_path, size=20_000)
    read(card, whole=whole)
    for _ in range(3):
        if whole:
            spoilt = hubs.Remote(small.REPO, small.REVISION, small.FILE).cached
        else:
            spoilt = max(store_of(card).folder.glob("*-*.*"), key=lambda path: path.stat().st_size)
        spoilt.write_bytes(spoilt.read_bytes()[:-1] + b"?")
        assert eight_at_once(card, tmp_path) == [joined(data)] * 8


def test_a_cache_may_be_shared_with_other_users(hub, tmp_path):
    card, _ = small.publish(hub, tmp_path)
    before = os.umask(0o022)
    try:
        read(card)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in store_of(card).folder.glob("*-*.*")} == {0o644}


def keys_of(data):
    header = header_.parse(data[: header_.stop(data[:8])])
    return [opened.key(span) for span in header.spans.values()]


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_cache_that_goes_on(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(opened, "_RUN", 4000)
    monkeypatch.setattr(asking, "_THREADS", 2)
    draw, partly = random.Random(0), 0
    for turn in range(20):
        card, data = small.publish(hub, tmp_path, seed=turn, revision=f"{turn:040x}", size=2000)
        hub.faults = lambda asked: time.sleep(0.03) if asked.on == "blob" else None  # slow, but right
        gate, answer = FORK.Event(), tmp_path / f"answer{turn}"
        process = FORK.Process(target=child, args=(card, gate, answer))
        process.start()
        gate.set()
        time.sleep(draw.uniform(0, 0.8))
        process.kill()
        process.join()
        hub.faults = []
        held = store_of(card).get(keys_of(data))
        partly += 0 < len(held) < len(small.whole(data)) - 1
        assert right(read(card), data)
        assert not list(store_of(card).folder.glob("*.part"))
    assert partly >= 5, "many were killed with some tensors fetched and others not"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "pieces")


def test_a_piece_is_named_by_what_it_hashes_to(store):
    assert (store.keys(), store.get(["a"]), store.sound("a"), store.folder.exists()) == (set(), {}, None, False)
    store.put("a", b"abc")
    (path,) = store.folder.iterdir()
    assert path.name == f"a.{digests.sha256(b'abc')}"
    assert store.get(["a", "b"]) == {"a": b"abc"}
    assert store.recorded() == {"a": digests.sha256(b"abc")}
    assert store.sound("a") == b"abc"


def test_a_flipped_piece_goes_to_quarantine_and_its_digest_stays(store):
    store.put("a", b"abc")
    next(store.folder.iterdir()).write_bytes(b"abd")
    assert store.get(["a"]) == {"a": b"abd"}, "as it lies there"
    assert store.sound("a") is None
    assert (store.keys(), store.spoilt()) == (set(), {"a"})
    assert store.recorded() == {"a": digests.sha256(b"abc")}
    store.put("a", b"abc")
    assert store.sound("a") == b"abc"


def test_a_disproved_digest_holds_no_longer(store):
    for key in ("a", "b"):
        store.put(key, key.encode())
    store.disprove({"a": digests.sha256(b"other"), "b": digests.sha256(b"b")})
    assert (store.keys(), store.recorded()) == ({"b"}, {"b": digests.sha256(b"b")})
    assert store.spoilt() == {f"a.{digests.sha256(b'a')}.disproved"}


def test_a_whole_file_behind_a_link_is_put_aside(store, tmp_path):
    (tmp_path / "blob").write_bytes(b"whole")
    link = tmp_path / "model.safetensors"
    link.symlink_to(tmp_path / "blob")
    store.quarantine_file(link)
    assert not link.is_symlink()
    assert not (tmp_path / "blob").exists()
    assert (store.folder / "quarantine" / "model.safetensors").read_bytes() == b"whole"
    assert store.spoilt() == {"model.safetensors"}


def test_the_lock_removes_what_was_half_written_and_nothing_else(store):
    store.put("a", b"abc")
    (store.folder / "0123.part").write_bytes(b"ab")
    with store.lock():
        assert not list(store.folder.glob("*.part"))
        assert store.keys() == {"a"}
