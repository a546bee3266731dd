"""One request: its end in time and bytes, whom the token goes to, when it is asked again, and Ctrl-C."""

import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import httpx2
import huggingface_hub.constants
import pytest

from tests import small
from tests.conftest import ROOT
from tests.hub.faults import Fault
from tests.zoo.fetching.served import read, right
from zoo.fetching import hub as hubs
from zoo.fetching.wire import asking
from zoo.fetching.wire.asking import AstrayError, Question, Watch
from zoo.fetching.wire.refusals import WeightsError

TOKEN = "hf_never_shown"


def answer(status=429, **headers):
    return httpx2.Response(status, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3", 3),
        ("1.5", 1.5),
        ("", 0),
        ("²", 0),
        ("-5", 0),
        ("soon", 0),
        ("1e9", 0),
        ("٣", 0),
        ("9" * 400, float("inf")),
    ],
)
def test_any_text_that_asks_to_wait_is_met(text, seconds):
    made = SimpleNamespace(status_code=429, headers={"Retry-After": text})
    assert asking.asked_to_wait(made) == seconds


def test_a_date_to_wait_for():
    assert asking.asked_to_wait(answer(Retry_After="Wed, 21 Oct 2015 07:28:00 GMT")) == 0
    assert asking.asked_to_wait(answer(Retry_After="Fri, 31 Dec 9999 23:59:59 GMT")) > 1e10
    assert asking.asked_to_wait(answer(Retry_After="Fri, 99 Dec 9999 23:59:59 GMT")) == 0
    assert asking.asked_to_wait(answer(404, Retry_After="3")) is None


@pytest.mark.parametrize(
    ("configured", "url", "goes"),
    [
        ("https://hub.example", "https://hub.example/x", True),
        ("https://hub.example", "https://HUB.example:443/x", True),
        ("https://hub.example", "http://hub.example/x", False),
        ("https://hub.example", "http://hub.example:443/x", False),
        ("https://hub.example", "https://hub.example:8443/x", False),
        ("https://hub.example", "https://cdn.hub.example/x", False),
        ("https://hub.example", "https://hub.example@evil.example/x", False),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/x", True),
        ("http://127.0.0.1:8000", "http://127.0.0.1/x", False),
        ("http://127.0.0.1:8000", "http://localhost:8000/x", False),
    ],
)
def test_the_token_goes_to_the_hubs_own_scheme_host_and_port(monkeypatch, configured, url, goes):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", configured)
    assert ("authorization" in asking._headers(url, None)) is goes
    assert "authorization" not in asking._headers(url, False)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("on", ["resolve", "blob"])
def test_a_redirect_to_another_port_or_host_takes_no_token_along(hub, tmp_path, monkeypatch, host, on):
    card, data = small.publish(hub, tmp_path)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.faults = lambda asked: Fault("plain", host=host, on=on) if asked.on == on and not hub.injected else None
    if on == "blob":
        assert right(read(card), data)
    else:
        with pytest.raises(WeightsError, match="does not answer as a Hub does"):
            read(card)
    assert hub.injected
    assert hub.leaks == []


def test_a_password_in_the_endpoint_is_sent_and_never_shown(hub, tmp_path, monkeypatch):
    seen, whole = [], hub.answer
    monkeypatch.setattr(
        hub, "answer", lambda request: (seen.append(request.headers["Authorization"]), whole(request))[1]
    )
    address = hub.endpoint.replace("http://", "http://me:p%40ssword@")
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    for ask in (hubs.commits, lambda repo: hubs.Remote(repo, "a" * 40, "x.safetensors").etag):
        with pytest.raises(WeightsError) as caught:
            ask("lab/nowhere")
        said = chained(caught.value)
        assert "ssword" not in said
        assert "me:" not in said
    assert set(seen) == {"Basic bWU6cEBzc3dvcmQ="}


def chained(error):
    """All that a traceback, a repr or a logger could show of an error and of what led to it."""
    found = []
    while error is not None:
        found += [str(error), repr(error), str(vars(error))]
        error = error.__cause__ or error.__context__
    return "\n".join(found)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("address", ["http://me:pass word@[bad", "foo://me:password@proxy:1", "http://me:password@p:x"])
def test_a_password_in_a_proxys_address_is_never_shown(hub, monkeypatch, name, address):
    huggingface_hub.utils.close_session()
    monkeypatch.setenv(name, address)
    monkeypatch.setenv("no_proxy", "")
    try:
        with pytest.raises(WeightsError, match=r"is no address of a proxy|ConnectError") as caught:
            hubs.models()
    finally:
        huggingface_hub.utils.close_session()
    assert "word" not in str(caught.value)


def test_redirects_end(hub, tmp_path):
    small.publish(hub, tmp_path)
    for kind, fact in {"loop": "redirects without end", "nowhere": "no address"}.items():
        hub.forget()
        hub.faults = [Fault(kind, times=99, on="resolve")]
        url = f"{hub.endpoint}/{small.REPO}/resolve/{small.REVISION}/{small.FILE}"
        with pytest.raises(AstrayError, match=fact):
            asking.ask(Question(url, "HEAD"), Watch(), limit=0)
        assert len(hub.requests) <= 8


def test_a_small_answer_is_capped(hub):
    hub.serve("lab/long", "a" * 40, {"README.md": b"x" * 5000})
    question = Question(f"{hub.endpoint}/lab/long/resolve/main/README.md")
    assert len(asking.ask(question, Watch(), limit=5000).content) == 5000
    with pytest.raises(AstrayError, match="more than 4999 bytes came"):
        asking.ask(question, Watch(), limit=4999)


def test_tries_are_few_and_waits_grow(monkeypatch):
    waits = []
    watch = SimpleNamespace(rest=lambda: 99.0, pause=waits.append)
    monkeypatch.setattr(asking, "WAIT", 1.0)
    tries = asking.Tries(watch)
    for _ in range(3):
        tries.failed(httpx2.ReadError("reset"))
    with pytest.raises(httpx2.ReadError):
        tries.failed(httpx2.ReadError("reset"))
    assert waits == [1, 2, 4]
    tries.failed(httpx2.ReadError("reset"), progress=True)
    assert waits[-1] == 1
    for error in (httpx2.UnsupportedProtocol("no"), AstrayError("no", last=True), AstrayError("no", 21.0)):
        with pytest.raises(type(error)):
            asking.Tries(watch).failed(error)


def test_the_end_of_a_watch_wakes_who_waits(hub, tmp_path):
    small.publish(hub, tmp_path)
    hub.faults = [Fault("head", seconds=0.05, times=99, on="resolve")]
    url = f"{hub.endpoint}/{small.REPO}/resolve/{small.REVISION}/{small.FILE}"
    before, watch = set(threading.enumerate()), Watch()
    threading.Timer(0.3, watch.end).start()
    began = time.monotonic()
    with pytest.raises(AstrayError, match="broken off"):
        list(asking.aside([lambda: [asking.ask(Question(url, "HEAD"), watch, limit=0)]], watch))
    assert time.monotonic() - began < 2
    time.sleep(0.5)
    assert not [one for one in set(threading.enumerate()) - before if "_work" in one.name]


def test_what_jobs_give_comes_as_it_comes_and_errors_end_the_rest():
    watch = Watch()
    assert sorted(asking.aside([lambda i=i: [i, -i] for i in range(1, 30)], watch)) == sorted(
        sign * i for i in range(1, 30) for sign in (1, -1)
    )
    assert watch._over.is_set()
    with pytest.raises(ZeroDivisionError):
        list(asking.aside([lambda: [1 / 0], lambda: [1]], Watch()))
    assert list(asking.aside([], Watch())) == []


# What runs in the background of a script is begun with SIGINT ignored, and so is all that it begins.
LOADER = """
import signal, sys, zoo
signal.signal(signal.SIGINT, signal.default_int_handler)
print("ready", flush=True)
sys.stdin.readline()
try:
    {}
except KeyboardInterrupt:
    print("left", flush=True)
    raise
"""
CALLS = {
    "load": "zoo.load('own', 1.0, card=sys.argv[1])",
    "whole": "zoo.load('own', 1.0, card=sys.argv[1], whole=True)",
    "models": "from zoo.fetching import published; published.cards_of()",
}


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("whole", "drip"),
        *(pytest.param(call, kind, marks=pytest.mark.slow) for call in CALLS for kind in ("drip", "head", "stall")),
    ],
)
def test_ctrl_c_ends_a_fetch_at_once_and_leaves_nothing_half_written(hub, tiny, tmp_path, call, kind):
    data = tiny.with_name("tiny-test.safetensors").read_bytes()
    card = tiny.read_text().replace("---\nzoo:", "---\ntags: [sslzoo]\nzoo:", 1)
    card = card.replace("repo: null", f'repo: lab/tiny, revision: "{"c" * 40}"')
    tiny.write_text(card)
    hub.serve("lab/tiny", "c" * 40, {"tiny-test.safetensors": data, "README.md": card.encode()})
    fault = Fault(kind, after=10, seconds=30 if kind == "stall" else 0.2, on="resolve" if call == "models" else "blob")
    hub.faults = lambda asked: fault if asked.on == fault.place else None
    command = [sys.executable, "-c", LOADER.format(CALLS[call]), str(tiny)]
    pipe = subprocess.PIPE
    child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT)
    assert child.stdout.readline() == "ready\n"
    child.stdin.write("\n")
    child.stdin.flush()
    while not hub.injected:
        time.sleep(0.05)
    time.sleep(0.5)
    began = time.monotonic()
    child.send_signal(signal.SIGINT)
    assert child.stdout.readline() == "left\n"
    assert time.monotonic() - began < 3
    _, said = child.communicate(timeout=10)  # a busy machine takes seconds to take torch down
    assert child.returncode != 0
    assert "KeyboardInterrupt" in said
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".part", ".incomplete")]
