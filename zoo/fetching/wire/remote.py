"""A file of a repo on the Hub: what the Hub says of it, any of its bytes, or all of them."""

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2
import huggingface_hub
from huggingface_hub.utils import tqdm

from zoo.fetching.wire import asking, shelf
from zoo.fetching.wire.asking import AstrayError, Question, Tries, Watch
from zoo.fetching.wire.refusals import WeightsError, as_a_hub, endpoint, errors, no_hub

T = TypeVar("T")
Run = tuple[int, int]

LIST = 8 << 20  # bytes of one answer of the Hub's interface
_UNSTATED = 4 << 30  # bytes of a file whose size nobody states
_LARGEST = 64 << 30
_HELD = 16 << 20  # bytes that are written at once
_COMMIT = "X-Repo-Commit"


class _NoRangesError(Exception):
    """The server sends whole files only."""


@dataclass(frozen=True)
class Found:
    """What the Hub says of a file: where it lies, and what it is."""

    location: str
    commit: str
    etag: str
    size: int | None


class Remote:
    """A file of a repo at a commit, of which any bytes can be had; nothing is asked before they are.

    Attributes:
        sha256: Of the whole file, where a card states it: a Hub that states another is refused.
        length: Of the whole file in bytes, where a card states it: likewise.
        pinned: Whether the revision is a commit, and must be the one that the Hub answers with.
        tag: By which the bytes that came so far are of one file; with `one_tag`, others are refused.
        fetched: Bytes of its content that came over the network so far.
    """

    def __init__(
        self,
        repo: str,
        revision: str,
        file: str,
        *,
        sha256: str | None = None,
        length: int | None = None,
        pinned: bool = True,
    ) -> None:
        self.repo, self.revision, self.file, self.pinned = repo, revision, file, pinned
        self.sha256, self.length = sha256, length
        self.fetched = 0
        self.tag, self.one_tag = "", True
        self._lock, self._counting = threading.Lock(), threading.Lock()
        self._found: Found | None = None
        self._first: Found | None = None

    @property
    def size(self) -> int | None:
        """The size in bytes that the Hub states."""
        with errors(self._what):
            return self._stated().size

    @property
    def etag(self) -> str:
        """Name that the Hub gives the content: for all but small files its sha256."""
        with errors(self._what):
            return self._stated().etag

    @property
    def listed(self) -> str:
        """Hash that the Hub states for the file: its sha256, or, for a small file that it keeps in git, git's sha1."""
        path = f"/api/models/{self.repo}/paths-info/{quote(self.revision, safe='')}"
        question = Question(endpoint() + path, "POST", data={"paths": [self.file], "expand": "false"})
        watch = Watch(LIST, asking.PATIENCE)
        with errors(self._what), as_a_hub():
            (entry,) = said(only(lambda: asking.ask(question, watch, limit=LIST), watch))
            return str((entry.get("lfs") or {}).get("oid") or entry["oid"])

    @property
    def cached(self) -> Path | None:
        """The whole file, where the Hub client has it already."""
        return shelf.found(self.repo, self.file, self.revision)

    def download(self, limit: int | None = None) -> Path:
        """The whole file, in the Hub client's own cache; refused where it is longer than `limit`."""
        with errors(self._what):
            return self.cached or self.kept(limit)

    def kept(self, limit: int | None = None) -> Path:
        """The whole file as the Hub has it now; failures are those of the client."""
        found = self._stated()
        most = found.size if found.size is not None else limit or _UNSTATED
        if most > (limit or _LARGEST):
            raise WeightsError(
                f"{self._what} must be at most {limit or _LARGEST} bytes (got {most}). Use another file."
            )
        with shelf.lock(self.repo, found.etag):
            path = shelf.blob(self.repo, found.etag)
            if not path.exists():
                self._save(path, found.size, most)
            return shelf.link(self.repo, self.file, found.etag, self.revision, found.commit)

    def fetch(self, runs: list[Run], keep: Callable[[int, bytes], None]) -> None:
        """Receive the bytes [start, stop) of each run, in parallel, and give each run to `keep` with its start.

        Raises:
            WeightsError: The Hub cannot be reached, refuses, or goes on sending something else.
        """
        left, total = dict(runs), sum(stop - start for start, stop in runs)
        watch = Watch(total)
        with errors(self._what), self._bar(total) as tell:
            jobs = [partial(self._run, start, stop, watch, tell) for start, stop in runs]
            try:
                for start, data in asking.aside(jobs, watch):
                    keep(start, data)
                    del left[start]
            except _NoRangesError:
                whole = self.download()
                for start, stop in left.items():
                    keep(start, _slice(whole, start, stop))

    def _run(self, start: int, stop: int, watch: Watch, tell: Callable[[int], object]) -> list[tuple[int, bytes]]:
        return [(start, b"".join(self._receive(start, stop, watch, tell)))]

    def _receive(
        self, start: int, stop: int, watch: Watch, tell: Callable[[int], object], *, whole: bool = False
    ) -> Iterator[bytes]:
        """What lies there, in order; a connection that breaks is taken up at the byte where it broke."""
        tries, place = Tries(watch), start
        while place < stop:
            before, cause = place, httpx2.TransportError("no bytes came")
            try:
                for chunk in self._request(place, stop, watch, whole=whole):
                    place += len(chunk)
                    tell(len(chunk))
                    yield chunk
                if whole and self._locate(watch).size is None:
                    return
            except httpx2.TransportError as error:
                cause = error
            if place < stop:
                tries.failed(cause, progress=place - before >= asking.PROGRESS)

    def _request(self, start: int, stop: int, watch: Watch, *, whole: bool) -> Iterator[bytes]:
        asked = {} if whole and not start else {"Range": f"bytes={start}-{stop - 1}"}
        with asking.answered(Question(self._locate(watch).location, headers=asked), watch) as answer:
            over = self._check(answer, start, stop, whole=whole)
            for chunk in asking.pour(answer, stop - start + over, watch):
                self._count(len(chunk))
                passed = min(over, len(chunk))
                over -= passed
                if piece := chunk[passed:]:
                    yield piece

    def _check(self, answer: httpx2.Response, start: int, stop: int, *, whole: bool) -> int:
        """Refuse what is not the bytes asked for; returns how many to pass over, where a whole file comes."""
        if answer.status_code in (401, 403, 404, 410):
            self._found = None  # a signed address expires; a new one tells what is wrong
            raise AstrayError(f"status {answer.status_code}")
        if (pause := asking.asked_to_wait(answer)) is not None or answer.status_code >= 400:
            raise AstrayError(f"status {answer.status_code}{f', to wait {pause:.0f} s' if pause else ''}", pause or 0)
        if answer.headers.get("Content-Type", "").startswith("text/html") and not self.file.endswith(".html"):
            raise AstrayError("an HTML page came, from a proxy or a sign-in page")
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise AstrayError("the bytes came compressed, through a proxy")
        if answer.status_code == 200 and not whole:
            raise _NoRangesError
        range_ = re.fullmatch(r"bytes ([0-9]{1,15})-[0-9]{1,15}/([0-9]{1,15})", answer.headers.get("Content-Range", ""))
        size = self._found.size if self._found else None
        fits = range_ is not None and int(range_[1]) == start and int(range_[2]) == (size or int(range_[2]))
        if answer.status_code != 200 and not fits:
            raise AstrayError(f"another range came than bytes {start} to {stop}")
        self._check_tag(answer)
        return start if answer.status_code == 200 else 0

    def _check_tag(self, answer: httpx2.Response) -> None:
        tag = answer.headers.get("ETag", "").removeprefix("W/").strip('"')
        with self._counting:
            self.tag = self.tag or tag
            if self.one_tag and tag and tag != self.tag:
                raise AstrayError("bytes of another file came, by their ETag")

    def _save(self, path: Path, size: int | None, most: int) -> None:
        watch, came = Watch(most), 0
        with contextlib.ExitStack() as held:
            tell = held.enter_context(self._bar(most))
            chunks = asking.aside([lambda: self._receive(0, most, watch, tell, whole=True)], watch)
            if most <= _HELD:  # a text, and maybe in a thread that is left where it stands
                chunks = iter([b"".join(chunks)])
            stream = held.enter_context(shelf.making(path))
            for chunk in chunks:
                came += stream.write(chunk)
            if came != size and (size is not None or came == most):
                raise WeightsError(f"{self._what} must end after {most} bytes (got {came} or more). Load again later.")

    @contextlib.contextmanager
    def _bar(self, total: int) -> Iterator[Callable[[int], object]]:
        name = f"{self.repo}/{self.file}"
        with tqdm(total=total, unit="B", unit_scale=True, desc=name, delay=1) as bar:  # type: ignore[no-untyped-call]
            yield bar.update

    def _stated(self) -> Found:
        watch = Watch()
        return self._found or only(lambda: self._locate(watch), watch)

    def _locate(self, watch: Watch) -> Found:
        with self._lock:
            self._found = self._found or self._look(watch)
            return self._found

    def _look(self, watch: Watch) -> Found:
        url = huggingface_hub.hf_hub_url(self.repo, self.file, revision=self.revision, endpoint=endpoint())
        question = Question(url, "HEAD", final=lambda answer: _COMMIT in answer.headers)
        answer = asking.ask(question, watch, limit=0)
        place = asking.joined(str(answer.request.url), answer.headers.get("Location", ""))
        size = answer.headers.get("X-Linked-Size") or (
            None if "Location" in answer.headers else answer.extensions["stated"]
        )
        etag = (answer.headers.get("X-Linked-Etag") or answer.headers.get("ETag") or "").removeprefix("W/").strip('"')
        if _COMMIT not in answer.headers or not etag:
            raise no_hub()
        found = Found(place, answer.headers[_COMMIT], etag, _number(size))
        self._check_found(found)
        return found

    def _check_found(self, found: Found) -> None:
        if self.pinned and found.commit != self.revision:
            raise WeightsError(f"{self.repo} answers with the wrong revision ({found.commit[:80]}). Load again.")
        if self.sha256 and len(found.etag) == 64 and found.etag != self.sha256:
            raise WeightsError(f"{self.repo}/{self.file} must have sha256 {self.sha256} (the Hub has {found.etag}).")
        if self.length is not None and found.size not in (None, self.length):
            raise WeightsError(
                f"{self.repo}/{self.file} must have {self.length} bytes, as its card says (the Hub has {found.size}). "
                "Correct the card's size or its revision."
            )
        self._first = self._first or found
        if (found.etag, found.size) != (self._first.etag, self._first.size):
            raise WeightsError(
                f"{self._what} must stay one file while it is fetched (the Hub has another). Load again."
            )

    @property
    def _what(self) -> str:
        return f"{self.repo}/{self.file} at {self.revision[:8]}"

    def _count(self, size: int) -> None:
        with self._counting:
            self.fetched += size


def only(job: Callable[[], T], watch: Watch) -> T:
    """What one job gives, from a thread of its own."""
    (found,) = asking.aside([lambda: [job()]], watch)
    return found


def said(answer: httpx2.Response) -> Any:
    """What the Hub answered, as a value."""
    with as_a_hub():
        return json.loads(answer.content)


def _number(text: str | None) -> int | None:
    return int(text) if re.fullmatch("[0-9]{1,15}", text or "") else None  # type: ignore[arg-type]


def _slice(whole: Path, start: int, stop: int) -> bytes:
    with whole.open("rb") as stream:
        stream.seek(start)
        data = stream.read(stop - start)
    if len(data) < stop - start:
        raise WeightsError(f"{whole} must hold bytes {start} to {stop} (it is shorter). Load again.")
    return data
