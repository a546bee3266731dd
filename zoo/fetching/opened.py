"""An open weights file: every byte it hands out was hashed just now, and compared wherever a digest is known."""

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from zoo.fetching import header as header_
from zoo.fetching.digests import Digests, sha256, sha256_all, sha256_file
from zoo.fetching.header import Header, Span
from zoo.fetching.pieces import Store
from zoo.fetching.wire.refusals import WeightsError
from zoo.registry.words import some

T = TypeVar("T")
Run = tuple[int, int]

# The name under which a header is compared: the one name that no tensor can have.
HEADER = "__metadata__"

# Bytes nobody asked for cost less than another request up to _GAP; a run is what one request brings.
_GAP, _RUN = 32 << 10, 8 << 20


class Distant(Protocol):
    """What is needed of a file on the Hub, `zoo.fetching.wire.remote.Remote`."""

    repo: str
    file: str
    fetched: int
    tag: str
    one_tag: bool

    @property
    def etag(self) -> str: ...
    @property
    def size(self) -> int | None: ...
    def fetch(self, runs: list[Run], keep: Callable[[int, bytes], None]) -> None: ...


class SpoiltError(Exception):
    """Bytes that are not the right ones: what is wrong, and with which pieces."""

    def __init__(self, fact: str, pieces: Collection[str] = ()) -> None:
        super().__init__(fact)
        self.pieces = pieces


def twice(step: Callable[[], T], mend: Callable[[Collection[str]], None] | None, what: object) -> T:
    """Run `step`; where it meets spoilt bytes, `mend` them and run it once more, then refuse."""
    try:
        return step()
    except SpoiltError as spoilt:
        if mend is None:
            raise WeightsError(f"{what} {spoilt}. Fetch it again.") from None
        mend(spoilt.pieces)
    try:
        return step()
    except SpoiltError as spoilt:
        raise WeightsError(
            f"{what} {spoilt}. It was fetched once more in vain: ask its publisher, or load an own copy: weights=PATH."
        ) from None


def compare(pieces: dict[str, bytes], expected: dict[str, str]) -> dict[str, str]:
    """Hash the pieces; `SpoiltError` names those whose digest is known and not this one."""
    hashes = sha256_all(pieces)
    wrong = [key for key, found in hashes.items() if expected.get(key, found) != found]
    if wrong == [HEADER]:
        raise SpoiltError("must be the published file: its header is another (wrong revision or flipped bits)", wrong)
    if wrong:
        raise SpoiltError(f"must hold the published bytes: flipped bits or wrong revision in {some(wrong)}", wrong)
    return hashes


def well_formed(read: Callable[[], T]) -> T:
    """Read what lies in a file; `SpoiltError` names what the file is instead of safetensors."""
    try:
        return read()
    except ValueError as error:
        raise SpoiltError(f"must be a whole safetensors file: {error}", [HEADER]) from None


@dataclass
class Local:
    """A safetensors file on this machine.

    Attributes:
        path: Where it lies.
        layout: How its names become timm's.
        verified: Where its digests come from; see `zoo.Report`.
        sha256: Of the whole file, where it is known.
        digests: What its bytes must hash to; None where nothing is known.
        replace: Puts the file aside and fetches it once more; None where that is not ours to do.
        seen: The digests of the tensors that were read.
    """

    path: Path
    layout: str
    verified: str
    sha256: str | None
    digests: Digests | None = None
    replace: Callable[[], Path] | None = None
    remote: Distant | None = None
    header: Header = field(init=False)
    seen: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.header = self._twice(self._header)

    @property
    def fetched(self) -> int:
        """Bytes that came over the network for it."""
        return self.remote.fetched if self.remote else 0

    def read(self, names: Collection[str]) -> dict[str, bytes]:
        """The bytes of the tensors called `names`."""
        return self._twice(lambda: self._tensors(names))

    def _header(self) -> Header:
        with _there():
            header = well_formed(lambda: header_.read(self.path))
        compare({HEADER: header.raw}, {HEADER: self.digests.header} if self.digests else {})
        return header

    def _tensors(self, names: Collection[str]) -> dict[str, bytes]:
        with _there():
            found = header_.read_spans(self.path, [self.header.spans[name] for name in names])
        pieces = dict(zip(names, found, strict=True))
        self.seen |= compare(pieces, self.digests.of(names) if self.digests else {})
        return pieces

    def _twice(self, step: Callable[[], T]) -> T:
        return twice(step, self._mend if self.replace else None, self.path)

    def _mend(self, _: Collection[str]) -> None:
        if self.replace:
            self.path = self.replace()


@dataclass
class Ranged:
    """A safetensors file on the Hub, of which the cache holds what was needed so far."""

    remote: Distant
    store: Store
    layout: str
    verified: str
    digests: Digests | None
    header: Header = field(init=False)
    seen: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.remote.one_tag = self.digests is None  # where nothing else tells that header and tensors are of one file
        self.header = self._twice(lambda: well_formed(lambda: header_.parse(self._header())))

    @property
    def path(self) -> Path:
        """The folder of its pieces."""
        return self.store.folder

    @property
    def sha256(self) -> str | None:
        """The sha256 of the whole file, where it is known."""
        return self.digests.file if self.digests else None

    @property
    def fetched(self) -> int:
        """Bytes that came over the network for it."""
        return self.remote.fetched

    def read(self, names: Collection[str]) -> dict[str, bytes]:
        """The bytes of the tensors called `names`; only those not held yet are fetched."""
        return self._twice(lambda: self._tensors(names))

    def held(self) -> list[str]:
        """The tensors that need not be fetched."""
        held = self.store.keys()
        return [name for name, span in self.header.spans.items() if key(span) in held]

    def _header(self) -> bytes:
        held = self.store.get(["header"])
        if not held:
            with self.store.lock():
                held = self.store.get(["header"]) or {"header": self._fetch_header()}
        compare({HEADER: held["header"]}, self._expected([]))
        return held["header"]

    def _fetch_header(self) -> bytes:
        self.remote.tag = ""
        first = self._receive(0, 8)
        raw = first + self._receive(8, header_.stop(first))
        self.store.quarantine(["etag", "tag"])
        self.store.put("etag", self.remote.etag.encode())
        self.store.put("tag", self.remote.tag.encode())
        size, stated = header_.parse(raw).size, self.remote.size
        if stated and size != stated:
            raise ValueError(f"it is {'truncated' if stated < size else 'too long'} at {stated} bytes, not {size}")
        compare({HEADER: raw}, self._expected([]))
        self.store.put("header", raw)
        return raw

    def _tensors(self, names: Collection[str]) -> dict[str, bytes]:
        keys = {name: key(self.header.spans[name]) for name in names}
        held = self.store.get(keys.values())
        if missing := [name for name in names if keys[name] not in held]:
            with self.store.lock():
                there = self.store.keys()
                self._fetch([name for name in missing if keys[name] not in there])
            held |= self.store.get([keys[name] for name in missing])
        if gone := [name for name in names if keys[name] not in held]:
            raise SpoiltError(f"must stay in the cache while it is read: {some(gone)} went", gone)
        pieces = {name: held[place] for name, place in keys.items()}
        self.seen |= compare(pieces, self._expected(names))
        return pieces

    def _fetch(self, names: list[str]) -> None:
        if names and self.store.sound("etag") not in (None, self.remote.etag.encode()):
            fact = "must be the file that its header is of (the Hub has another now)"
            raise WeightsError(f"{self.remote.repo}/{self.remote.file} {fact}. Load once with whole=True.")
        self.remote.tag = (self.store.sound("tag") or b"").decode() or self.remote.tag
        held = self.store.keys()
        order = sorted(self.header.spans.items(), key=lambda item: item[1].start)
        expected, wrong = self._expected(self.header.spans), []

        def keep(start: int, data: bytes) -> None:
            stop = start + len(data)
            inside = [(name, span) for name, span in order if start <= span.start and span.stop <= stop]
            for name, span in inside:
                piece = data[span.start - start : span.stop - start]
                if expected.get(name, found := sha256(piece)) == found:
                    self.store.put(key(span), piece)
                else:
                    wrong.append(name)

        self.remote.fetch(_runs(order, set(names), held), keep)
        if wrong:
            raise SpoiltError(f"must hold the published bytes: the Hub sent others for {some(wrong)}", wrong)

    def _expected(self, names: Iterable[str]) -> dict[str, str]:
        """By name; where no digest is known, the one of the first fetch holds."""
        if self.digests:
            return {HEADER: self.digests.header, **self.digests.of(names)}
        recorded = self.store.recorded()
        keys = {HEADER: "header", **{name: key(self.header.spans[name]) for name in names}}
        return {name: recorded[place] for name, place in keys.items() if place in recorded}

    def _receive(self, start: int, stop: int) -> bytes:
        got: dict[int, bytes] = {}
        self.remote.fetch([(start, stop)], got.__setitem__)
        return got[start]

    def _twice(self, step: Callable[[], T]) -> T:
        return twice(step, self._mend, f"{self.remote.repo}/{self.remote.file}")

    def _mend(self, pieces: Collection[str]) -> None:
        """Put aside those pieces that are still wrong: another process may have mended them."""
        keys = {"header" if name == HEADER else key(self.header.spans[name]): name for name in pieces}
        expected = self._expected([name for name in pieces if name != HEADER])
        with self.store.lock():
            hashes = sha256_all(self.store.get(keys))
            self.store.quarantine([place for place, found in hashes.items() if expected.get(keys[place]) != found])


@contextlib.contextmanager
def _there() -> Iterator[None]:
    # Another process may be putting a spoilt file aside just now.
    try:
        yield
    except FileNotFoundError:
        raise SpoiltError("must be there while it is read") from None


def digest(path: Path, *, source: str | None = None) -> Digests:
    """Hash a safetensors file, whole and tensor by tensor; a `ValueError` names the cause when it is none."""
    header = header_.read(path)
    tensors = {name: sha256(header_.read_spans(path, [span])[0]) for name, span in header.spans.items()}
    whole = sha256_file(path)
    return Digests(file=whole, size=header.size, header=sha256(header.raw), tensors=tensors, source=source)


def key(span: Span) -> str:
    """The store's name for a tensor's bytes."""
    return f"{span.start}-{span.stop}"


def _runs(order: list[tuple[str, Span]], wanted: set[str], held: set[str]) -> list[Run]:
    """The byte ranges to ask for: neighbours together, but never a byte that is held."""
    runs: list[Run] = []
    open_ = False
    for name, span in order:
        if name in wanted:
            near = open_ and span.start - runs[-1][1] <= _GAP and span.stop - runs[-1][0] <= _RUN
            runs.append((runs.pop()[0] if near else span.start, span.stop))
            open_ = True
        elif key(span) in held:
            open_ = False
    return runs
