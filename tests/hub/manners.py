"""Ways to answer that no well-formed answer has: each takes the handler, the answer and the fault's seconds."""

import contextlib
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.hub.answers import Answer
    from tests.hub.wire import Handler, Tally

_FILLER = b"x" * (1 << 16)


def drip(handler: "Handler", answer: "Answer", tally: "Tally") -> None:
    """The body, a byte at a time, without end."""
    _head(handler, answer, {"Content-Length": str(max(1, answer.length))})
    for byte in _body(answer) or _FILLER:
        _count(handler, tally, bytes([byte]))
        if handler.hub.woken.wait(answer.stall):
            return


def head(handler: "Handler", answer: "Answer", tally: "Tally") -> None:
    """The status line and headers, a byte at a time, without end."""
    handler.wfile.write(f"HTTP/1.1 {answer.status} Slow\r\n".encode())
    while not handler.hub.woken.wait(answer.stall):
        handler.wfile.write(b"x")


def endless(handler: "Handler", answer: "Answer", tally: "Tally") -> None:
    """The body, and more without end."""
    _head(handler, answer, {})
    _count(handler, tally, _body(answer))
    while not handler.hub.woken.is_set():
        _count(handler, tally, _FILLER)


def unended(handler: "Handler", answer: "Answer", tally: "Tally") -> None:
    """The body but for its last byte, in chunks, the last of which never comes."""
    _head(handler, answer, {"Transfer-Encoding": "chunked"})
    body = _body(answer)[:-1]
    handler.wfile.write(b"%x\r\n" % len(body) + body + b"\r\n" if body else b"")
    tally.sent += len(body)
    handler.hub.woken.wait(max(30.0, answer.stall))


def reset(handler: "Handler", answer: "Answer", tally: "Tally") -> None:
    """The first bytes of the body, then the connection is torn down."""
    _head(handler, answer, {"Content-Length": str(answer.length)})
    _count(handler, tally, _body(answer)[: answer.cut or 0])
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def bomb(handler: "Handler", answer: "Answer", tally: "Tally") -> None:
    """Headers without end."""
    handler.wfile.write(f"HTTP/1.1 {answer.status} Large\r\n".encode())
    while not handler.hub.woken.is_set():
        _count(handler, tally, b"X-More: " + b"y" * 1000 + b"\r\n")


def told(handler: "Handler", answer: "Answer", tally: "Tally") -> None:
    """Interim answers without end."""
    while not handler.hub.woken.is_set():
        _count(handler, tally, b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)


MANNERS: dict[str, Callable[["Handler", "Answer", "Tally"], None]] = {
    "drip": drip,
    "head": head,
    "endless": endless,
    "unended": unended,
    "reset": reset,
    "bomb": bomb,
    "told": told,
}


def answer(handler: "Handler", answer: "Answer", tally: "Tally", manner: str) -> None:
    """Answer in that manner, until the client hangs up or the Hub is reset."""
    handler.close_connection = True
    # So that what is counted was taken, and does not wait in the kernel.
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
    with contextlib.suppress(OSError):  # the client has left
        MANNERS[manner](handler, answer, tally)


def _head(handler: "Handler", answer: "Answer", more: dict[str, str]) -> None:
    handler.send_response(answer.status)
    for name, value in {**answer.headers, **more}.items():
        handler.send_header(name, value)
    handler.end_headers()


def _body(answer: "Answer") -> bytes:
    return b"".join(map(bytes, answer.body))


def _count(handler: "Handler", tally: "Tally", data: bytes) -> None:
    handler.wfile.write(data)
    with tally.lock:
        tally.sent += len(data)
