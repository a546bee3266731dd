"""A file on the Hub: one file in all its bytes, bounded whatever its size is said to be, refused where it changes."""

import pytest

from tests import small
from tests.hub.answers import Answer, page
from tests.hub.faults import Fault
from tests.zoo.fetching.served import read, right
from zoo.fetching import hub as hubs
from zoo.fetching.places import remote_of, store_of
from zoo.fetching.weights import open_weights
from zoo.fetching.wire import asking, remote
from zoo.fetching.wire.refusals import WeightsError


def swapped(hub, monkeypatch, data, *, asked):
    """From the n-th request for bytes on, the CDN sends another file of the same size under the old address."""
    whole, count = hub.answer, iter(range(99))

    def answer(request):
        if request.path.startswith("/cdn/") and next(count) >= asked:
            other = bytes(len(data) - 1000) + data[-1000:]
            start, stop = (int(part) for part in request.headers["Range"].removeprefix("bytes=").split("-"))
            headers = {"ETag": '"another"', "Content-Range": f"bytes {start}-{stop}/{len(data)}"}
            return Answer(206, headers, (memoryview(other[start : stop + 1]),))
        return whole(request)

    monkeypatch.setattr(hub, "answer", answer)


@pytest.mark.parametrize("asked", [1, 2])
def test_header_and_body_of_two_files_are_refused_at_a_first_use(hub, tmp_path, monkeypatch, asked):
    card, data = small.publish(hub, tmp_path, pinned=False)
    with monkeypatch.context() as patch:
        swapped(hub, patch, data, asked=asked)
        with pytest.raises(WeightsError, match="bytes of another file came, by their ETag"):
            read(card)
    assert right(read(card), data)


def test_a_body_of_another_file_than_the_kept_header_is_refused(hub, tmp_path, monkeypatch):
    card, data = small.publish(hub, tmp_path, pinned=False)
    open_weights(card)
    with monkeypatch.context() as patch:
        swapped(hub, patch, data, asked=0)
        with pytest.raises(WeightsError, match="bytes of another file came"):
            read(card, ["layer1.weight"])
    assert right(read(card), data)


def test_where_digests_are_known_they_decide_and_not_the_etag(hub, tmp_path):
    card, data = small.publish(hub, tmp_path)
    hub.faults = lambda asked: Fault("etag") if asked.on == "blob" else None
    assert right(read(card), data)


def test_a_file_that_changes_while_its_address_is_renewed_is_refused(hub, tmp_path):
    card, _ = small.publish(hub, tmp_path, pinned=False)
    file = open_weights(card)
    small.publish(hub, tmp_path, pinned=False, seed=1)
    hub.faults = [Fault("expired")]
    with pytest.raises(WeightsError, match="must stay one file while it is fetched"):
        file.read(["layer1.weight"])


@pytest.mark.parametrize("kind", ["reset", "cut", "short"])
def test_few_bytes_a_time_are_asked_for_a_few_times(hub, tmp_path, kind):
    card, _ = small.publish(hub, tmp_path, size=80_000)
    hub.faults = lambda asked: Fault(kind, after=3) if asked.on == "blob" else None
    with pytest.raises(WeightsError, match=r"cannot be fetched .* Load again later"):
        read(card)
    assert len(hub.requests) < 20


@pytest.mark.parametrize("kind", ["whole", "reset"])
def test_a_whole_file_comes_in_spite_of_a_fault(hub, tmp_path, kind):
    card, data = small.publish(hub, tmp_path, pinned=False, size=80_000)
    hub.faults = [Fault(kind, after=0.5, times=2), Fault("whole")]
    assert right(read(card, whole=True), data)
    assert hub.sent < 3 * len(data)


@pytest.mark.parametrize("kind", ["endless", "drip", "unended"])
def test_a_whole_file_that_never_ends_is_left(hub, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(asking, "SLOW", (0.3, 8 << 10))
    monkeypatch.setattr(asking, "QUIET", 1.5)
    monkeypatch.setattr(asking, "PATIENCE", 3.0)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    card, data = small.publish(hub, tmp_path, pinned=False, size=80_000)
    hub.faults = lambda asked: Fault(kind, seconds=0.05) if asked.on == "blob" else None
    try:
        assert right(read(card, whole=True), data)
    except WeightsError:
        assert kind != "endless"
    assert hub.sent < 10 * len(data)
    assert not list(tmp_path.rglob("*.incomplete"))


@pytest.mark.parametrize("stated", [(70 << 30), 10**14])
def test_an_impossible_size_is_refused_before_a_byte_is_asked_for(hub, tmp_path, monkeypatch, stated):
    card, _ = small.publish(hub, tmp_path, pinned=False)
    whole = hub.answer

    def answer(request):
        found = whole(request)
        return Answer(302, {**found.headers, "X-Linked-Size": str(stated)}) if found.status == 302 else found

    monkeypatch.setattr(hub, "answer", answer)
    with pytest.raises(WeightsError, match=rf"must be at most \d+ bytes \(got {stated}\)"):
        read(card, whole=True)
    assert hub.sent == 0


def test_a_size_that_nobody_states_has_a_cap(hub, tmp_path, monkeypatch):
    _, data = small.publish(hub, tmp_path, pinned=False)
    whole = hub.answer

    def answer(request):
        found = whole(request)
        headers = {name: value for name, value in found.headers.items() if name != "X-Linked-Size"}
        return Answer(302, headers) if found.status == 302 else found

    monkeypatch.setattr(hub, "answer", answer)
    file = hubs.Remote(small.REPO, small.REVISION, small.FILE)
    assert file.size is None
    assert file.download().read_bytes() == data
    monkeypatch.setattr(remote, "_UNSTATED", 1000)
    _, data = small.publish(hub, tmp_path, pinned=False, revision="b" * 40, seed=1)
    with pytest.raises(WeightsError, match=r"must end after 1000 bytes \(got 1000 or more\)"):
        hubs.Remote(small.REPO, "b" * 40, small.FILE).download()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"null", b"[[]]", b'[{"oid": 1}]' * 2, b"[" * 100_000, b"<html>", b"\xff"]
)
def test_an_odd_answer_about_a_file_is_no_hubs(hub, tmp_path, monkeypatch, body):
    small.publish(hub, tmp_path)
    whole = hub.answer
    odd = page(body, "application/json")
    monkeypatch.setattr(hub, "answer", lambda request: odd if "paths-info" in request.path else whole(request))
    with pytest.raises(WeightsError, match=r"127\.0\.0\.1:\d+ does not answer as a Hub does\. Check HF_ENDPOINT\."):
        _ = hubs.Remote(small.REPO, small.REVISION, small.FILE).listed


def test_other_bytes_than_asked_for_are_not_kept(hub, tmp_path):
    card, data = small.publish(hub, tmp_path, pinned=False)
    for kind in ("gzip", "total"):
        hub.faults = lambda asked, kind=kind: Fault(kind) if asked.on == "blob" else None
        with pytest.raises(WeightsError, match=r"compressed|another range"):
            read(card)
        assert not store_of(card).get(["header"])
    hub.faults = lambda asked: Fault("longer") if asked.on == "blob" else None
    assert right(read(card), data), "what is more than asked for is passed over"


@pytest.mark.parametrize("off", [-1, 1, 10**6])
@pytest.mark.parametrize("pinned", [True, False])
def test_a_file_of_another_size_than_the_card_states_is_refused_before_it_is_fetched(hub, tmp_path, off, pinned):
    card, data = small.publish(hub, tmp_path, pinned=pinned)

    def stating(size):
        return card.model_copy(update={"weights": card.weights.model_copy(update={"size": size})})

    wrong = stating(len(data) + off)
    message = rf"must have {len(data) + off} bytes, as its card says \(the Hub has {len(data)}\)\. Correct the card's"
    for whole in (False, True):
        with pytest.raises(WeightsError, match=message):
            open_weights(wrong, whole=whole)
    remote_ = remote_of(wrong)
    with pytest.raises(WeightsError, match=message):
        remote_.download()  # as a conversion fetches what is pickled
    assert remote_.fetched == 0
    assert not [path for path in store_of(wrong).folder.glob("*") if "header" in path.name]
    assert right(read(stating(len(data))), data)
