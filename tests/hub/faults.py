"""What can go wrong between a client and a Hub, as data.

    hub.faults.append(Fault("cut", after=1234))           # close the connection after 1234 bytes of the body
    hub.faults.append(Fault("status", status=429, retry_after=1, times=3))
    hub.faults.append(Fault("html", on="resolve"))        # instead of the redirect

| kind      | answer                                                                                        |
|-----------|-----------------------------------------------------------------------------------------------|
| cut       | the connection closes after `after` bytes of the body; on resolve, before any answer          |
| stall     | as cut, but only after `seconds` of silence                                                   |
| status    | `status` (429, 500, 503 ...), with Retry-After where `retry_after` is given or status is 429  |
| whole     | 200 and the whole file, whatever range was asked for                                          |
| wrong     | right headers, one bit of byte `after` flipped; with `shift`, the bytes `shift` further on    |
| shifted   | 206 with a range `shift` (default 1) bytes beside the one asked for, and said so              |
| html      | 200 and an HTML page                                                                          |
| short     | only the first `after` bytes, in an answer that says so and is well formed                    |
| elsewhere | 302 to the same file on a third host, `host` at another port                                  |
| expired   | 403, and the same signed URL stays expired until a new one is asked for                       |
| gone      | 404 RevisionNotFound (resolve)                                                                |
| gated     | 403 GatedRepo (resolve)                                                                       |
| drip      | the body, a byte in `seconds`                                                                 |
| head      | the headers, a byte in `seconds`, without end                                                 |
| endless   | the body, without a length, and filler after it without end                                   |
| unended   | the body but for its last byte in chunks, then silence                                        |
| reset     | the connection is torn down after `after` bytes of the body                                   |
| bomb      | headers without end, at full speed                                                            |
| told      | interim answers (103) without end, at full speed                                              |
| etag      | the right bytes under another ETag, another one each time                                     |
| total     | the right bytes, said to be of a file of another size                                         |
| longer    | 206 with more than was asked for, and said so                                                 |
| gzip      | the body compressed, where identity was asked for                                             |
| loop      | 302 to itself                                                                                 |
| nowhere   | 302 to what is no address                                                                     |
| plain     | 302 to the same file over http at `host`, whatever the Hub speaks                             |

`retry_after` may be any text.

`after` is a number of bytes, or a fraction of the body as a float; half of it by default.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

MANNERED = ("drip", "head", "endless", "unended", "reset", "bomb", "told")
LYING = ("etag", "total", "longer", "gzip")
LEADING = ("loop", "nowhere", "plain")
TRANSIENT = ("cut", "stall", "status", "whole", "wrong", "shifted", "html", "short", "elsewhere", "expired")
ON_RESOLVE = ("cut", "stall", "status", "html", "elsewhere", "gone", "gated", *MANNERED, *LEADING)
ON_BLOB = (*TRANSIENT, *MANNERED, *LYING, *LEADING)


class Asked(NamedTuple):
    """A request for a file. `on` is "resolve" (the Hub) or "blob" (the CDN); `digest` is known on the CDN only."""

    on: str
    method: str
    path: str
    digest: str | None
    range: str | None


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, `times` times, on the CDN or (for gone, gated and where `on` says so) on resolve."""

    kind: str
    after: int | float = 0.5
    status: int = 503
    retry_after: int | str | None = None
    seconds: float = 1.0
    shift: int | None = None
    host: str = "localhost"
    times: float = 1
    on: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in (ON_RESOLVE if self.place == "resolve" else ON_BLOB):
            raise ValueError(f"fault must be one that {self.place} knows (got {self.kind!r}). See tests/hub/faults.py.")

    @property
    def place(self) -> str:
        return self.on or ("resolve" if self.kind in ("gone", "gated") else "blob")

    def at(self, length: int) -> int:
        """`after` as a number of bytes of a body of `length`."""
        return min(length, int(self.after * length) if isinstance(self.after, float) else self.after)


Policy = list[Fault] | Callable[[Asked], Fault | None]


class Chaos:
    """Random faults under a seed, at a rate; the n-th request meets the same fault each time."""

    def __init__(self, seed: int, rate: float, kinds: tuple[str, ...] = TRANSIENT) -> None:
        self.random, self.rate, self.kinds = random.Random(seed), rate, kinds

    def draw(self) -> Fault | None:
        hit, kind, after = self.random.random() < self.rate, self.random.choice(self.kinds), self.random.random()
        status, shift = self.random.choice([429, 500, 503]), self.random.choice([None, 1, 64])
        return Fault(kind, after=after, status=status, seconds=0.1, shift=shift) if hit else None


def take(queue: list[Fault], place: str) -> Fault | None:
    """The first fault that applies there, used up once."""
    for index, fault in enumerate(queue):
        if fault.place == place:
            queue[index : index + 1] = [replace(fault, times=fault.times - 1)] if fault.times > 1 else []
            return fault
    return None
