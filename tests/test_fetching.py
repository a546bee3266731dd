"""Fetching by ranges: only what is needed, each byte once, right or refused, whatever goes wrong."""

import itertools
import multiprocessing
import os
import random
import resource
import signal
import tempfile
import threading
import time
from pathlib import Path

import huggingface_hub.constants
import pytest

from tests import small
from tests.hub.faults import Fault
from zoo.fetching import hub as hubs
from zoo.fetching import opened
from zoo.fetching.hub import WeightsError
from zoo.fetching.pieces import CacheError
from zoo.fetching.places import store_of
from zoo.fetching.weights import open_weights

FORK = multiprocessing.get_context("fork")  # a child that need not import torch anew
SOME = ["layer1.weight", "layer2.weight", "half", "count", "none"]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(hubs, "_WAIT", 0.01)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)


def read(card, names=None, **options):
    file = open_weights(card, **options)
    return file.read(list(file.header.spans) if names is None else names)


def right(found, data):
    expected = small.whole(data)
    return all(expected[name] == value for name, value in found.items())


def overlaps(ranges):
    """Bytes sent more than once."""
    spans = sorted((start, stop) for _, start, stop in ranges)
    return sum(max(0, before[1] - after[0]) for before, after in itertools.pairwise(spans))


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
    monkeypatch.setattr("zoo.fetching.opened._RUN", 20_000)
    other, data = small.publish(hub, tmp_path, revision="b" * 40, seed=1)
    hub.forget()
    assert right(read(other), data)
    assert len(hub.ranges) >= len(data) / 20_000


def test_stretches_are_fetched_side_by_side(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.fetching.opened._RUN", 4000)
    card, data = small.publish(hub, tmp_path, size=4000)
    file, together = open_weights(card), threading.Barrier(4)
    hub.faults = lambda asked: meet(together) if asked.on == "blob" else None
    assert right(file.read([f"layer{i}.weight" for i in range(4)]), data)
    assert together.broken is False


def meet(barrier):
    barrier.wait(timeout=10)  # one connection at a time would never be four


def test_an_answer_of_another_commit_is_a_wrong_revision(hub, tmp_path):
    small.publish(hub, tmp_path)
    with pytest.raises(WeightsError, match=r"lab/small answers with the wrong revision \(a{40}\)"):
        _ = hubs.Remote(small.REPO, "main", small.FILE).size


def test_a_hub_that_asks_for_too_much_patience_is_not_waited_for(hub, tmp_path):
    card, _ = small.publish(hub, tmp_path)
    hub.faults.append(Fault("status", status=429, retry_after=86400))
    with pytest.raises(WeightsError, match=r"cannot be fetched \(AstrayError: status 429.*\). Load again later"):
        read(card)


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


def test_no_token_reaches_another_host(hub, tmp_path, monkeypatch):
    card, data = small.publish(hub, tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    (tmp_path / "token").write_text("hf_secret")
    hub.private.add(small.REPO)
    hub.faults.append(Fault("elsewhere"))
    assert right(read(card), data)
    assert hub.injected
    assert hub.leaks == []


# What a Hub or the way to it does wrong


TRANSIENT = [
    Fault("cut", after=100),
    Fault("cut", after=0),
    Fault("cut", after=0.9, times=3),
    Fault("stall", seconds=0.1),
    Fault("stall", seconds=2),
    Fault("status", status=429, retry_after=0),
    Fault("status", status=500, times=2),
    Fault("status", status=503),
    Fault("short", after=50),
    Fault("shifted", shift=-1),
    Fault("shifted", shift=4),
    Fault("html"),
    Fault("whole"),
    Fault("whole", times=99),
    Fault("elsewhere"),
    Fault("expired"),
    Fault("status", status=429, retry_after=0, on="resolve"),
    Fault("cut", on="resolve"),
]


def said(fault):
    return f"{fault.place}-{fault.kind}-{fault.after}-{fault.times}"


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("fault", TRANSIENT, ids=said)
def test_a_fault_that_passes_ends_in_the_right_bytes(hub, tmp_path, fault, pinned):
    card, data = small.publish(hub, tmp_path, pinned=pinned, count=4)
    if fault.place == "resolve":
        hub.faults.append(fault)  # the address is asked for with the header
    file = open_weights(card)
    if fault.place == "blob":
        hub.faults.append(fault)
    assert right(file.read(SOME[:3]), data)
    assert hub.injected
    assert not list(store_of(card).folder.glob("*.part"))


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


def test_strict_verification_lets_no_wrong_byte_through(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_VERIFY", "strict")
    card, data = small.publish(hub, tmp_path, pinned=False)
    hub.faults.append(Fault("wrong"))
    assert right(read(card, SOME), data), "fetched once more"
    other, _ = small.publish(hub, tmp_path, pinned=False, revision="b" * 40, seed=1)
    hub.faults = lambda asked: Fault("wrong") if asked.on == "blob" else None
    with pytest.raises(WeightsError, match=r"must have sha256 [0-9a-f]{64} .*flipped bits"):
        read(other, SOME)
    monkeypatch.setenv("ZOO_VERIFY", "maybe")
    with pytest.raises(ValueError, match="ZOO_VERIFY must be strict or unset"):
        open_weights(card)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("html", times=99), "an HTML page came"),
        (Fault("html", on="resolve", times=99), "does not answer as a Hub does"),
        (Fault("gone", times=99), "The revision is gone"),
        (Fault("gated", times=99), "Accept its terms"),
        (Fault("status", status=500, times=99), "500"),
        (Fault("cut", after=0, times=99), "cannot be fetched .* Load again"),
        (Fault("shifted", times=99), "another range came"),
    ],
    ids=lambda value: said(value) if isinstance(value, Fault) else "",
)
def test_a_fault_that_stays_is_named(hub, tmp_path, fault, message):
    card, data = small.publish(hub, tmp_path)
    hub.faults.append(fault)
    with pytest.raises(WeightsError, match=message):
        read(card)
    hub.faults = []
    assert right(read(card), data)


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


def test_200_random_faults_and_none_slips_through(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.fetching.opened._RUN", 1000)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    served = 0
    for turn in range(1000):
        card, data = small.publish(hub, tmp_path, seed=turn, revision=f"{turn:040x}", count=6, size=600)
        hub.chaos(seed=turn, rate=0.4)
        try:
            found = read(card)
        except WeightsError:
            found = {}
        hub.calm()
        assert right(found, data), f"seed {turn}: {hub.injected}"
        assert right(read(card), data), f"seed {turn}: the cache is wrong"
        served += bool(found)
        if len(hub.injected) >= 200:
            break
    assert len(hub.injected) >= 200
    assert served > turn / 3, "most faults are survived, not only refused"


# The disk and the process


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


def child(card, gate, answer):
    """What another process does, once the gate opens."""
    huggingface_hub.utils.close_session()  # a connection is not shared with the parent
    gate.wait()
    file = open_weights(card)
    names = sorted(file.header.spans)
    found = file.read(names)
    answer.write_bytes(b"".join(found[name] for name in names))


def joined(data):
    pieces = small.whole(data)
    return b"".join(pieces[name] for name in sorted(pieces))


def eight_at_once(card, folder):
    """What eight processes read, all started at the same moment."""
    gate, answers = FORK.Event(), [folder / f"answer{i}" for i in range(8)]
    children = [FORK.Process(target=child, args=(card, gate, answer)) for answer in answers]
    for process in children:
        process.start()
    gate.set()
    for process in children:
        process.join(60)
    assert [process.exitcode for process in children] == [0] * 8
    return [answer.read_bytes() for answer in answers]


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
    header = opened.headers.parse(data[: opened.headers.stop(data[:8])])
    return [opened.key(span) for span in header.spans.values()]


def test_a_kill_at_any_moment_leaves_a_cache_that_goes_on(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.fetching.opened._RUN", 4000)
    monkeypatch.setattr(hubs, "_THREADS", 2)
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


@pytest.mark.parametrize("token", ["hf_secret\x0bb", "hf_sécret"])
def test_a_token_that_cannot_be_sent_is_not_shown(hub, tmp_path, monkeypatch, token):
    card, _ = small.publish(hub, tmp_path)
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(WeightsError) as caught:
        read(card)
    assert "cret" not in str(caught.value)
