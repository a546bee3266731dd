"""One request, bounded in bytes, in time and in redirects, in a thread whose sockets Ctrl-C and its time shut."""

import base64
import contextlib
import email.utils
import queue
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from urllib.parse import unquote, urljoin, urlsplit

import httpx2
import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

T = TypeVar("T")

TRIES = 4  # in a row without progress
PROGRESS = 64 << 10  # bytes
SLACK = 1 << 20  # bytes beside those that are wanted
WAIT, PAUSE = 1.0, 20.0  # seconds before a second request, doubled each time, and those that a Hub may ask for
PATIENCE, FLOOR = 30.0, 32 << 10  # seconds for an operation, and one more for each so many of its bytes
QUIET = 25.0  # seconds without a byte
SLOW = (8.0, 8 << 10)  # in so many seconds so many bytes must come
_BUFFER = (socket.SOL_SOCKET, socket.SO_RCVBUF, PROGRESS)
_HOPS, _THREADS, _AHEAD = 8, 8, 16
_LASTING = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)


class AstrayError(httpx2.TransportError):
    """An answer that is not what was asked for; the next, after `pause` seconds, may be, unless it is the `last`."""

    def __init__(self, fact: str, pause: float = 0, *, last: bool = False) -> None:
        super().__init__(fact)
        self.pause, self.last = pause, last


class Watch:
    """The time and bytes of one operation that wants `size` bytes, and the sockets that its threads opened."""

    def __init__(self, size: int = 0, seconds: float | None = None) -> None:
        self._came, self._most = 0, 3 * size + SLACK
        timeout = float(constants.HF_HUB_DOWNLOAD_TIMEOUT)
        self.seconds = seconds or max(PATIENCE, 3 * timeout) + size / FLOOR
        self.quiet = max(QUIET, 2 * timeout)
        self._began = self._seen = time.monotonic()
        self._small = size < FLOOR * PATIENCE
        self._over, self._lock = threading.Event(), threading.Lock()
        self._streams: list[Any] = []

    def rest(self) -> float:
        """Seconds that are left."""
        return self._began + self.seconds - time.monotonic()

    def seen(self) -> None:
        """Something came."""
        self._seen = max(self._seen, time.monotonic())

    def check(self) -> None:
        """Raise an `AstrayError` where it is over, took too long, or nothing comes any more."""
        if self._over.is_set():
            raise AstrayError("it was broken off", last=True)
        if self.rest() < 0:
            raise AstrayError(f"it was not done in {self.seconds:.0f} s", last=True)
        if time.monotonic() - self._seen > self.quiet:
            raise AstrayError(f"nothing came for {self.quiet:.0f} s", last=True)

    def pause(self, seconds: float) -> None:
        """Wait, unless it is over before; asked for, it is no silence."""
        self._seen = time.monotonic() + seconds
        self._over.wait(seconds)
        self.check()

    def hold(self, name: str, info: dict[str, Any]) -> None:
        """Take note of a connection, as httpcore traces it."""
        if name.endswith((".connect_tcp.complete", ".start_tls.complete", "_connection.complete")):
            stream = info["return_value"]
            stream.read = partial(self._read, stream.read)
            with self._lock:
                self._streams.append(stream)
            if self._small:  # or megabytes that nobody asked for wait in the kernel
                with contextlib.suppress(OSError, AttributeError):
                    stream.get_extra_info("socket").setsockopt(*_BUFFER)
        if self._over.is_set():
            self.end()

    def _read(self, read: Callable[..., bytes], *given: Any, **named: Any) -> bytes:
        self.check()
        data = read(*given, **named)
        self._came += len(data)
        if self._came > self._most:
            raise AstrayError("far more came than was asked for", last=True)
        return data

    def end(self) -> None:
        """No more: who waits for a byte is woken."""
        self._over.set()
        with self._lock:
            streams, self._streams = self._streams, []
        for stream in streams:
            with contextlib.suppress(OSError, AttributeError, ValueError):
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


class Tries:
    """When something is asked for again: a few times in a row without progress, after growing waits."""

    def __init__(self, watch: Watch, count: int | None = None) -> None:
        self.watch, self.count, self.failures = watch, TRIES if count is None else count, 0

    def failed(self, error: Exception, *, progress: bool = False) -> None:
        """Wait before the next try; raise `error` where there is none."""
        self.failures = 1 if progress else self.failures + 1
        asked, last = getattr(error, "pause", 0.0), getattr(error, "last", isinstance(error, _LASTING))
        pause = max(asked, WAIT * 2 ** (self.failures - 1))
        if last or self.failures >= self.count or asked > PAUSE or pause > self.watch.rest():
            raise error
        self.watch.pause(pause)


def aside(jobs: Sequence[Callable[[], Iterable[T]]], watch: Watch) -> Iterator[T]:
    """What the jobs give, in the order in which it comes; they run in threads that end with the watch."""
    todo, out = iter(list(jobs)), queue.Queue[Any](_AHEAD)
    count = min(_THREADS, len(jobs))
    for _ in range(count):
        threading.Thread(target=_work, args=(todo, out, watch), daemon=True).start()
    try:
        while count:
            item, error, done = _next(out, watch)
            count -= done
            if error is not None:
                raise error
            yield from () if done else (item,)
    finally:
        watch.end()


@dataclass(frozen=True)
class Question:
    """What is asked; redirects are followed up to a `final` answer, the token goes to the Hub's own address alone."""

    url: str
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    data: dict[str, Any] | None = None
    token: bool | None = None
    final: Callable[[httpx2.Response], bool] = lambda _: False


@contextlib.contextmanager
def answered(question: Question, watch: Watch) -> Iterator[httpx2.Response]:
    """An open answer, of which nothing but the headers is read."""
    url = question.url
    for _ in range(_HOPS):
        with _sent(url, question, watch) as answer:
            watch.seen()
            if not answer.has_redirect_location or question.final(answer):
                yield answer
                return
            url = joined(url, answer.headers["Location"])
    raise AstrayError("it redirects without end", last=True)


def pour(answer: httpx2.Response, limit: int, watch: Watch) -> Iterator[bytes]:
    """The body as it comes, at most so many bytes of it; an `AstrayError` where it comes too slowly."""
    left, mark, since = limit, limit, time.monotonic()
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise AstrayError("the bytes came compressed, through a proxy")
    for chunk in answer.iter_raw() if limit else ():
        watch.seen()
        piece = chunk[:left]
        left -= len(piece)
        yield piece
        if not left:
            return
        if time.monotonic() - since > SLOW[0]:
            if mark - left < SLOW[1]:
                raise AstrayError(f"less than {SLOW[1]} bytes came in {SLOW[0]:.0f} s")
            mark, since = left, time.monotonic()


def ask(question: Question, watch: Watch, *, limit: int, count: int | None = None) -> httpx2.Response:
    """A whole answer of at most `limit` bytes; what the Hub refuses is raised as its client raises it."""
    tries = Tries(watch, count)
    while True:
        try:
            with answered(question, watch) as answer:
                found = _read(answer, limit, watch)
            if (pause := asked_to_wait(found)) is None or tries.failures + 1 >= tries.count:
                hf_raise_for_status(found)
                return found
            error: Exception = AstrayError(f"status {found.status_code}", pause)
        except httpx2.TransportError as failure:
            error = failure
        tries.failed(error)


def asked_to_wait(answer: httpx2.Response) -> float | None:
    """Seconds after which to ask again; None where that is of no use."""
    if answer.status_code not in (408, 429) and answer.status_code < 500:
        return None
    text = answer.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?", text):
        return float(text)
    with contextlib.suppress(ValueError, TypeError, OverflowError, IndexError, OSError):
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    return 0.0


def joined(url: str, place: str) -> str:
    """The address that `place` is, seen from `url`."""
    with contextlib.suppress(ValueError):
        return urljoin(url, place)
    raise AstrayError("it redirects to what is no address", last=True)


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port, by which two addresses are one."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)
    raise AstrayError("it redirects to what is no address", last=True)


@contextlib.contextmanager
def _sent(url: str, question: Question, watch: Watch) -> Iterator[httpx2.Response]:
    if huggingface_hub.is_offline_mode():
        raise OfflineModeIsEnabled("HF_HUB_OFFLINE is set")
    watch.check()
    timeout = max(0.1, min(float(constants.HF_HUB_DOWNLOAD_TIMEOUT), 0.8 * watch.rest()))
    options: dict[str, Any] = {"timeout": timeout, "follow_redirects": False, "extensions": {"trace": watch.hold}}
    try:
        headers = _headers(url, question.token) | question.headers
        with _session().stream(question.method, url, headers=headers, data=question.data, **options) as answer:
            yield answer
    except httpx2.InvalidURL:
        raise AstrayError("it redirects to what is no address", last=True) from None


def _session() -> httpx2.Client:
    with contextlib.suppress(ValueError, ImportError, httpx2.InvalidURL):
        return huggingface_hub.get_session()
    # The error's own text would quote the address, a password in it.
    raise httpx2.UnsupportedProtocol("HTTP_PROXY, HTTPS_PROXY or ALL_PROXY is no address of a proxy. Correct it.")


def _headers(url: str, token: bool | None) -> dict[str, str]:
    # One connection per request: each is known to its watch, which may shut it.
    found = build_hf_headers(token=token) | {"Accept-Encoding": "identity", "Connection": "close"}
    if origin(url) != origin(constants.ENDPOINT):
        found.pop("authorization", None)
    elif "@" in (place := urlsplit(constants.ENDPOINT).netloc):
        pair = unquote(place.rpartition("@")[0]).encode()
        found["authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    return found


def _read(answer: httpx2.Response, limit: int, watch: Watch) -> httpx2.Response:
    body = b"".join(pour(answer, limit + 1, watch)) if answer.request.method != "HEAD" else b""
    if len(body) > limit:
        raise AstrayError(f"more than {limit} bytes came", last=True)
    headers = [pair for pair in answer.headers.multi_items() if not pair[0].endswith(("-encoding", "-length"))]
    kept = httpx2.Response(answer.status_code, headers=headers, content=body, request=answer.request)
    kept.extensions["stated"] = answer.headers.get("Content-Length")
    return kept


def _work(todo: Any, out: Any, watch: Watch) -> None:
    try:
        for job in todo:  # a list's iterator may be shared
            for item in job():
                _put(out, (item, None, False), watch)
        _put(out, (None, None, True), watch)
    except BaseException as error:
        _put(out, (None, error, True), watch)


def _put(out: Any, item: object, watch: Watch) -> None:
    while not watch._over.is_set():
        with contextlib.suppress(queue.Full):
            out.put(item, timeout=0.2)
            return


def _next(out: Any, watch: Watch) -> Any:
    while True:
        with contextlib.suppress(queue.Empty):
            return out.get(timeout=0.2)
        watch.check()
