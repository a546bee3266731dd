"""Answers as values: a file or a part of it, an error, and what a fault makes of them."""

import gzip
import json
import re
import secrets
from dataclasses import dataclass, field, replace

from tests.hub.faults import LEADING, LYING, MANNERED, Fault
from tests.hub.store import File

_PAGE = b"<!doctype html><html><head><title>Sign in</title></head><body>One moment, please.</body></html>"
_EXPIRED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"


@dataclass(frozen=True)
class Answer:
    """Status, headers and body. Bytes of a file carry its `digest` and place; `cut` closes the connection early."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: tuple[memoryview, ...] = ()
    digest: str | None = None
    start: int = 0
    cut: int | None = None
    stall: float = 0.0
    manner: str | None = None

    @property
    def length(self) -> int:
        return sum(map(len, self.body))


class RefusedError(Exception):
    """Ends a route with an answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def page(data: bytes, kind: str, *, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """Bytes that are no file's."""
    return Answer(status, {"Content-Type": kind, **(headers or {})}, (memoryview(data),))


def told(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """A value as JSON."""
    return page(json.dumps(value, default=str).encode(), "application/json", status=status, headers=headers)


def refusal(status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None) -> RefusedError:
    """An error as the Hub words it, to be raised."""
    stated = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **(headers or {})}
    return RefusedError(told({"error": message}, status=status, headers=stated))


def content(file: File, headers: dict[str, str], asked: str | None = None) -> Answer:
    """A file, or the range of it that was asked for."""
    size, span = len(file.data), _span(asked or "", len(file.data))
    headers = {"ETag": f'"{file.digest}"', "Accept-Ranges": "bytes", **headers}
    if span is None:
        return Answer(200, headers, (memoryview(file.data),), file.digest)
    if span[0] >= span[1]:
        raise RefusedError(Answer(416, {**headers, "Content-Range": f"bytes */{size}"}))
    return _part(file, headers, *span)


def spoil(answer: Answer, fault: Fault, file: File, elsewhere: str) -> Answer:
    """What is sent instead of `answer`, which held (a part of) `file`; `elsewhere` is its address on another host."""
    if fault.kind in ("cut", "stall"):
        return replace(answer, cut=fault.at(answer.length), stall=fault.seconds if fault.kind == "stall" else 0.0)
    if fault.kind in MANNERED:
        return replace(answer, manner=fault.kind, stall=fault.seconds, cut=fault.at(answer.length))
    if fault.kind in LEADING:
        place = {"loop": "", "nowhere": "http://[::bad/", "plain": elsewhere}[fault.kind]
        return Answer(302, {"Location": place})
    if fault.kind in LYING:
        return _lying(answer, fault, file)
    if fault.kind in ("whole", "wrong", "shifted", "short") and answer.digest:
        return _misserved(answer, fault, file)
    if fault.kind == "elsewhere":
        return Answer(302, {**answer.headers, "Location": elsewhere})
    return _error(fault)


def _error(fault: Fault) -> Answer:
    if fault.kind == "gone":
        return refusal(404, "Invalid rev id", "RevisionNotFound").answer
    if fault.kind == "gated":
        return refusal(403, "Access to this model is restricted.", "GatedRepo").answer
    if fault.kind == "html":
        return page(_PAGE, "text/html; charset=utf-8")
    if fault.kind == "expired":
        return page(_EXPIRED, "application/xml", status=403)
    wait = fault.retry_after if fault.retry_after is not None or fault.status != 429 else 0
    return page(b"", "text/plain", status=fault.status, headers={} if wait is None else {"Retry-After": str(wait)})


def _misserved(answer: Answer, fault: Fault, file: File) -> Answer:
    headers = {name: value for name, value in answer.headers.items() if name != "Content-Range"}
    start, length, size = answer.start, answer.length, len(file.data)
    if fault.kind == "whole":
        return content(file, headers)
    if fault.kind == "short" and answer.status == 200:
        return replace(answer, body=(answer.body[0][: fault.at(length)],))
    if fault.kind == "short":
        return _part(file, headers, start, start + max(1, fault.at(length)))
    if fault.kind == "shifted":
        return _part(file, headers, *_beside(start, start + length, size, fault.shift or 1))
    return replace(answer, body=_wrong(file, start, length, fault))


def _lying(answer: Answer, fault: Fault, file: File) -> Answer:
    headers, body = dict(answer.headers), b"".join(map(bytes, answer.body))
    if fault.kind == "etag":
        headers["ETag"] = f'"{secrets.token_hex(32)}"'
    elif fault.kind == "gzip":
        return replace(answer, headers=headers | {"Content-Encoding": "gzip"}, body=(memoryview(gzip.compress(body)),))
    elif fault.kind == "total" and answer.status == 206:
        headers["Content-Range"] = headers["Content-Range"].rpartition("/")[0] + f"/{len(file.data) + 1}"
    elif answer.status == 206:
        return _part(file, headers, answer.start, min(len(file.data), answer.start + answer.length + 100))
    return replace(answer, headers=headers)


def _wrong(file: File, start: int, length: int, fault: Fault) -> tuple[memoryview, ...]:
    data, size = memoryview(file.data), len(file.data)
    if fault.shift is not None:
        first = data[(start + fault.shift) % max(1, size) :][:length]
        return first, data[: length - len(first)]
    place = start + min(fault.at(length), length - 1)
    flipped = memoryview(bytes([data[place] ^ 1])) if length else data[:0]
    return data[start:place], flipped, data[place + 1 : start + length]


def _beside(start: int, stop: int, size: int, shift: int) -> tuple[int, int]:
    if stop + shift > size and start >= shift:
        return start - shift, stop - shift
    return start + shift, min(stop + shift, size)


def _part(file: File, headers: dict[str, str], start: int, stop: int) -> Answer:
    headers = {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{len(file.data)}"}
    return Answer(206, headers, (memoryview(file.data)[start:stop],), file.digest, start)


def _span(asked: str, size: int) -> tuple[int, int] | None:
    """Start and stop of a single range; None where the whole file is to be sent."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.strip())
    first, last = (match[1], match[2]) if match else ("", "")
    if not first:
        return (max(0, size - int(last)), size) if last else None
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size
