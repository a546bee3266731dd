"""Every fault does what faults.py says, seen by plain requests and by the real client."""

import http.client
import threading
import time
from urllib.parse import urlsplit

import pytest
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import GatedRepoError, RevisionNotFoundError

from tests.hub.asking import COMMIT, DATA, DIGEST, FILE, REPO, ask, location
from tests.hub.faults import TRANSIENT, Fault


def test_cut_sends_so_many_bytes_once(served, blob):
    served.faults.append(Fault("cut", after=1234))
    status, headers, body = ask(blob, "100-5099")
    assert (status, headers["Content-Length"], body) == (206, "5000", DATA[100 : 100 + 1234])
    assert (served.sent, served.ranges) == (1234, [(DIGEST, 100, 1334)])
    assert ask(blob, "1334-5099")[2] == DATA[1334:5100]
    assert served.ranges == [(DIGEST, 100, 1334), (DIGEST, 1334, 5100)]
    assert served.injected == [("cut", f"/cdn/{DIGEST}")]


def test_cut_on_resolve_gives_no_answer(served):
    served.faults.append(Fault("cut", on="resolve"))
    with pytest.raises(http.client.RemoteDisconnected):
        ask(served.endpoint + FILE)
    assert ask(served.endpoint + FILE)[0] == 302


def test_stall_is_silent_then_closes(served, blob):
    served.faults += [Fault("stall", after=10, seconds=0.3), Fault("stall", after=10, seconds=60)]
    began = time.monotonic()
    assert ask(blob)[2] == DATA[:10]
    assert 0.3 <= time.monotonic() - began < 5
    with pytest.raises(TimeoutError):
        ask(blob, timeout=0.2)
    assert served.ranges == [(DIGEST, 0, 10)] * 2


def test_reset_ends_a_stall(served, blob):
    served.faults.append(Fault("stall", after=10, seconds=60))
    woken = threading.Timer(0.2, served.reset)
    woken.start()
    began = time.monotonic()
    assert ask(blob)[2] == DATA[:10]
    assert time.monotonic() - began < 30
    woken.join()


def test_status_says_when_to_come_back(served, blob):
    served.faults += [Fault("status", status=429, retry_after=3), Fault("status", status=429), Fault("status")]
    answers = [ask(blob) for _ in range(4)]
    assert [status for status, _, _ in answers] == [429, 429, 503, 200]
    assert [headers["Retry-After"] for _, headers, _ in answers] == ["3", "0", None, None]
    assert served.sent == len(DATA)


def test_whole_ignores_the_range(served, blob):
    served.faults.append(Fault("whole"))
    status, headers, body = ask(blob, "100-199")
    assert (status, headers["Content-Range"], body) == (200, None, DATA)
    assert served.ranges == [(DIGEST, 0, len(DATA))]


@pytest.mark.parametrize("asked", ["100-199", None])
def test_wrong_flips_one_bit_under_right_headers(served, blob, asked):
    right = ask(blob, asked)
    served.faults.append(Fault("wrong", after=50))
    status, headers, body = ask(blob, asked)
    assert (status, headers["Content-Range"], len(body)) == (right[0], right[1]["Content-Range"], len(right[2]))
    different = [place for place, (sent, true) in enumerate(zip(body, right[2], strict=True)) if sent != true]
    assert different == [50]
    assert (body[50] ^ right[2][50]).bit_count() == 1


def test_wrong_with_a_shift_sends_another_part(served, blob):
    served.faults += [Fault("wrong", shift=3), Fault("wrong", shift=3)]
    status, headers, body = ask(blob, "100-199")
    assert (status, headers["Content-Range"], body) == (206, f"bytes 100-199/{len(DATA)}", DATA[103:203])
    assert ask(blob)[2] == DATA[3:] + DATA[:3]


def test_shifted_answers_another_range_and_says_so(served, blob):
    served.faults += [Fault("shifted"), Fault("shifted", shift=8), Fault("shifted")]
    status, headers, body = ask(blob, "100-199")
    assert (status, headers["Content-Range"], body) == (206, f"bytes 101-200/{len(DATA)}", DATA[101:201])
    assert ask(blob, "10200-")[1]["Content-Range"] == f"bytes 10192-10231/{len(DATA)}"
    assert ask(blob)[::2] == (206, DATA[1:])
    assert served.ranges == [(DIGEST, 101, 201), (DIGEST, 10192, 10232), (DIGEST, 1, len(DATA))]


def test_html_comes_with_status_200(served, blob):
    served.faults += [Fault("html"), Fault("html", on="resolve")]
    for url in (blob, served.endpoint + FILE):
        status, headers, body = ask(url, "0-9")
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert body.startswith(b"<!doctype html>")
        assert headers["X-Repo-Commit"] is None
    assert served.sent == 0


def test_short_is_well_formed_but_too_little(served, blob):
    served.faults += [Fault("short", after=0.25), Fault("short", after=10)]
    status, headers, body = ask(blob, "100-199")
    assert (status, headers["Content-Range"], body) == (206, f"bytes 100-124/{len(DATA)}", DATA[100:125])
    assert headers["Content-Length"] == "25"
    assert ask(blob)[::2] == (200, DATA[:10])


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_elsewhere_redirects_to_a_third_host_that_has_the_file(served, blob, host):
    served.faults += [Fault("elsewhere", host=host), Fault("elsewhere", host=host, on="resolve")]
    for url in (blob, served.endpoint + FILE):
        answer = ask(url)
        assert answer[0] == 302
        assert urlsplit(location(answer)).hostname == host
        assert urlsplit(location(answer)).port != urlsplit(blob).port
        assert ask(location(answer), "5-9")[2] == DATA[5:10]
    ask(location(answer), token="hf_test")
    assert served.leaks == [(urlsplit(location(answer)).netloc, urlsplit(location(answer))[2] + "?" + _query(answer))]


def _query(answer):
    return urlsplit(location(answer)).query


def test_an_expired_url_stays_expired_and_a_new_one_works(served, blob):
    signed = location(ask(served.endpoint + FILE))
    served.faults.append(Fault("expired"))
    assert [ask(signed)[0], ask(signed)[0]] == [403, 403]
    assert ask(location(ask(served.endpoint + FILE)))[::2] == (200, DATA)
    assert ask(blob)[0] == 200


def test_gone_and_gated_are_what_the_client_takes_them_for(served):
    served.faults += [Fault("gone"), Fault("gated")]
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download(REPO, "model.safetensors", revision=COMMIT)
    with pytest.raises(GatedRepoError):
        hf_hub_download(REPO, "model.safetensors", revision=COMMIT)
    assert hf_hub_download(REPO, "model.safetensors", revision=COMMIT)
    assert [kind for kind, _ in served.injected] == ["gone", "gated"]


def test_the_real_client_resumes_after_a_cut(served, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500)  # it keeps whole pieces only
    served.faults.append(Fault("cut", after=1000, times=2))
    with open(hf_hub_download(REPO, "model.safetensors", revision=COMMIT, token="hf_test"), "rb") as stream:
        assert stream.read() == DATA
    assert served.ranges == [(DIGEST, 0, 1000), (DIGEST, 1000, 2000), (DIGEST, 2000, len(DATA))]
    assert served.sent == len(DATA)
    assert served.leaks == []


def test_faults_wait_for_the_request_they_apply_to(served, blob):
    served.faults += [Fault("gone"), Fault("status", times=2)]
    assert [ask(blob)[0] for _ in range(3)] == [503, 503, 200]
    assert [ask(served.endpoint + FILE)[0] for _ in range(2)] == [404, 302]
    assert served.faults == []


def test_a_policy_is_asked_with_every_request(served, blob):
    seen = []

    def policy(asked):
        seen.append(asked)
        return Fault("status", status=500) if asked.range == "bytes=0-9" else None

    served.faults = policy
    assert [ask(blob, "0-9")[0], ask(blob, "0-8")[0], ask(served.endpoint + FILE)[0]] == [500, 206, 302]
    assert [(asked.on, asked.method, asked.digest) for asked in seen] == [
        ("blob", "GET", DIGEST),
        ("blob", "GET", DIGEST),
        ("resolve", "GET", None),
    ]


def test_a_fault_must_be_known_where_it_is_used():
    with pytest.raises(ValueError, match=r"fault must be one that resolve knows \(got 'short'\)"):
        Fault("short", on="resolve")
    with pytest.raises(ValueError, match=r"fault must be one that blob knows \(got 'typo'\)"):
        Fault("typo")


def test_chaos_is_the_same_for_the_same_seed_and_ends(served, blob):
    def outcomes(seed):
        served.forget()
        served.chaos(seed, 0.5)
        for _ in range(40):
            try:
                ask(blob, "0-99")
            except http.client.HTTPException as error:  # nothing but an unknown answer would be one
                pytest.fail(repr(error))
        return [kind for kind, _ in served.injected], list(served.ranges)

    first = outcomes(1)
    assert outcomes(1) == first
    assert outcomes(2) != first
    assert 10 < len(first[0]) < 30
    served.calm()
    served.forget()
    assert all(ask(blob, "0-99")[::2] == (206, DATA[:100]) for _ in range(20))
    assert served.injected == []


def test_chaos_knows_every_kind(served, blob):
    for kind in TRANSIENT:
        served.chaos(0, 1.0, (kind,))
        assert ask(blob, "0-99")[::2] != (206, DATA[:100])
    assert [kind for kind, _ in served.injected] == list(TRANSIENT)
