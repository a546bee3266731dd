"""The socket side: requests in, answers out, and a count of every byte of a file that goes through."""

import re
import sys
import threading
import traceback
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.hub import manners
from tests.hub.answers import Answer, page

if TYPE_CHECKING:
    from tests.hub.loopback import LoopbackHub

_PIECE = 1 << 18


@dataclass(frozen=True)
class Request:
    """What was asked: `path` without the query, as sent (still quoted); `target` with it."""

    method: str
    target: str
    headers: Message
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)

    @property
    def token(self) -> str | None:
        sent = re.fullmatch(r"Bearer (\S+)", self.headers.get("Authorization", ""))
        return sent[1] if sent else None


@dataclass
class Tally:
    """What was asked and sent since it was started."""

    requests: list[tuple[str, str]] = field(default_factory=list)
    ranges: list[tuple[str, int, int]] = field(default_factory=list)
    leaks: list[tuple[str, str]] = field(default_factory=list)
    injected: list[tuple[str, str]] = field(default_factory=list)
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Meter:
    """Counts one answer's bytes of a file into a tally, as they go; bytes of no file are not counted."""

    def __init__(self, tally: Tally, answer: Answer) -> None:
        self.tally, self.digest, self.start = tally, answer.digest, answer.start
        self.count, self.entry = 0, ("", 0, 0)

    def add(self, count: int) -> None:
        """Count so many more bytes (or fewer, where a piece did not go out whole)."""
        if self.digest is None:
            return
        with self.tally.lock:
            self.tally.sent += count
            self.count += count
            old, self.entry = self.entry, (self.digest, self.start, self.start + self.count)
            # By identity: another answer may have sent the same range.
            place = next((i for i, entry in enumerate(self.tally.ranges) if entry is old), len(self.tally.ranges))
            self.tally.ranges[place : place + 1] = [self.entry] if self.count else []


class Server(ThreadingHTTPServer):
    """A thread for every connection; a client that hangs up is no error."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection; `start` says to which `hub`."""

    hub: "LoopbackHub"
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        tally, host = self.hub.tally, self.headers.get("Host", "")
        tally.requests.append((self.command, self.path))
        foreign = host != urlsplit(self.hub.endpoint).netloc or self.path.startswith(("/cdn/", "/lfs/"))
        if foreign and "Authorization" in self.headers:
            tally.leaks.append((host, self.path))
        request = Request(self.command, self.path, self.headers, self._body())
        try:
            answer = self.hub.answer(request)
        except Exception:
            self.hub.errors.append(traceback.format_exc())
            answer = page(traceback.format_exc().encode(), "text/plain", status=500)
        self._send(answer, tally)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, answer: Answer, tally: Tally) -> None:
        if answer.manner is not None:
            manners.answer(self, answer, tally, answer.manner)
            return
        bodiless = self.command == "HEAD" or not answer.length
        if answer.cut is None or not bodiless:
            self._head(answer)
        if not bodiless:
            self._stream(answer, Meter(tally, answer))
        if answer.cut is not None:
            self.hub.woken.wait(answer.stall)
            self.close_connection = True

    def _head(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(answer.length)}.items():
            self.send_header(name, value)
        self.end_headers()

    def _stream(self, answer: Answer, meter: Meter) -> None:
        left = answer.length if answer.cut is None else answer.cut
        for view in answer.body:
            while left and view:
                count = self._push(view[: min(left, _PIECE)], meter)
                view, left = view[count:], left - count

    def _push(self, piece: memoryview, meter: Meter) -> int:
        # Counted before it leaves: whoever has received a byte finds it counted.
        meter.add(len(piece))
        count: int = 0
        try:
            count = self.connection.send(piece)
        finally:
            meter.add(count - len(piece))
        return count


def start(hub: "LoopbackHub") -> Server:
    """A server on a free port that answers for `hub`."""
    server = Server(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
