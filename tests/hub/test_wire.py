"""Plain requests against the loopback Hub: ranges, uploads, and counts that hold."""

import hashlib
import http.client
import socket
import threading
import time
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from tests.hub.answers import Answer
from tests.hub.asking import COMMIT, DATA, DIGEST, FILE, REPO, ask, location
from tests.hub.wire import Handler, Meter, Tally


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("0-99", 0, 99 + 1), ("100-", 100, len(DATA)), ("-7", len(DATA) - 7, len(DATA)), ("9-99999999", 9, len(DATA))],
)
def test_a_range_is_answered_exactly_and_counted(served, blob, asked, start, stop):
    status, headers, body = ask(blob, asked)
    assert (status, body) == (206, DATA[start:stop])
    assert headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"
    assert headers["ETag"] == f'"{DIGEST}"'
    assert (served.sent, served.ranges) == (stop - start, [(DIGEST, start, stop)])


def test_whole_files_heads_and_impossible_ranges(served, blob):
    assert ask(blob)[::2] == (200, DATA)
    assert ask(blob, "5-4")[::2] == (200, DATA)
    served.forget()
    status, headers, body = ask(blob, method="HEAD")
    assert (status, headers["Content-Length"], body) == (200, str(len(DATA)), b"")
    status, headers, body = ask(blob, f"{len(DATA)}-")
    assert (status, headers["Content-Range"], body) == (416, f"bytes */{len(DATA)}", b"")
    assert ask(f"{served.cdn}/cdn/{'0' * 64}")[0] == 404
    assert (served.sent, served.ranges) == (0, [])


def test_a_git_file_is_served_directly_and_an_lfs_file_elsewhere(served):
    status, headers, body = ask(f"{served.endpoint}/{REPO}/resolve/main/config.json")
    assert (status, headers["X-Repo-Commit"], body) == (200, COMMIT, b"{}")
    assert served.ranges == [(headers["ETag"].strip('"'), 0, 2)]
    first, second = ask(served.endpoint + FILE), ask(served.endpoint + FILE)
    assert (first[0], first[1]["X-Linked-Etag"], first[1]["X-Repo-Commit"]) == (302, f'"{DIGEST}"', COMMIT)
    assert location(first) != location(second)
    assert ask(location(first))[2] == DATA


def test_a_token_that_leaves_the_hub_is_noticed(served, blob):
    ask(served.endpoint + FILE, token="hf_test")
    assert served.leaks == []
    ask(blob, token="hf_test")
    ask(blob.replace("localhost", "127.0.0.1"), token="hf_test")
    host = urlsplit(blob).netloc
    assert served.leaks == [(host, f"/cdn/{DIGEST}"), (host.replace("localhost", "127.0.0.1"), f"/cdn/{DIGEST}")]


def test_counts_hold_under_many_clients(served, blob):
    def fetch(start):
        for stop in range(start + 1, start + 60):
            assert ask(blob, f"{start}-{stop - 1}")[2] == DATA[start:stop]

    clients = [threading.Thread(target=fetch, args=(100 * k,)) for k in range(8)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert len(served.requests) == len(served.ranges) == 8 * 59
    assert served.sent == sum(stop - start for _, start, stop in served.ranges) == 8 * sum(range(1, 60))


def test_a_client_that_hangs_up_is_charged_what_was_sent(hub):
    big = bytes(64 << 20)
    hub.serve(REPO, COMMIT, {"big.bin": big})
    connection = http.client.HTTPConnection(urlsplit(hub.cdn).netloc)
    connection.request("GET", f"/cdn/{hashlib.sha256(big).hexdigest()}")
    assert len(connection.getresponse().read(1000)) == 1000
    connection.close()
    for _ in range(100):
        time.sleep(0.02)
        if hub.ranges and hub.sent == hub.ranges[0][2]:
            break
    assert 1000 <= hub.sent < len(big)
    assert hub.ranges == [(hashlib.sha256(big).hexdigest(), 0, hub.sent)]


def test_serving_hashes_once_and_copies_nothing(hub):
    big = bytes(32 << 20)
    hub.serve(REPO, COMMIT, {"big.bin": big})
    digest = hashlib.sha256(big).hexdigest()
    assert hub.blob(digest) is big
    assert hub.blobs[digest] is hub.repos[REPO].commits[COMMIT].files["big.bin"]
    began = time.perf_counter()
    for _ in range(50):
        assert ask(f"{hub.endpoint}/{REPO}/resolve/{COMMIT}/big.bin", method="HEAD")[0] == 302
    assert time.perf_counter() - began < 2  # 50 hashes of it would take longer


def test_an_upload_must_have_the_stated_digest(hub):
    # In chunks of unstated total length, as a client may send it.
    for data, status in ((DATA, 200), (DATA[1:], 400)):
        connection = http.client.HTTPConnection(urlsplit(hub.cdn).netloc)
        connection.request("PUT", f"/lfs/{DIGEST}", iter([data[:100], data[100:]]), encode_chunked=True)
        assert connection.getresponse().status == status
        connection.close()
    assert hub.blob(DIGEST) == DATA


def test_a_bug_of_the_hub_itself_is_kept_for_the_fixture(served, blob):
    def broken(asked):
        raise ZeroDivisionError

    served.faults = broken
    assert ask(blob)[0] == 500
    assert "ZeroDivisionError" in served.errors.pop()
    assert served.errors == []


def test_what_did_not_go_out_is_not_counted():
    here, there = socket.socketpair()
    there.close()
    tally = Tally()
    meter = Meter(tally, Answer(digest=DIGEST, start=10))
    meter.add(5)
    with pytest.raises(ConnectionError):
        Handler._push(SimpleNamespace(connection=here), memoryview(DATA), meter)
    assert (tally.sent, tally.ranges) == (5, [(DIGEST, 10, 15)])
    meter.add(-5)
    assert (tally.sent, tally.ranges) == (0, [])
    here.close()
