"""The only place that reads from the Hugging Face Hub: byte ranges, whole files, commits, lists. Imports no torch."""

import contextlib
import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, tqdm

Run = tuple[int, int]

FAILURES = (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled, httpx2.HTTPError)
_THREADS = 8
_TRIES = 5  # in a row without one new byte
_WAIT = 1.0  # seconds before a second request, doubled each time
_PATIENCE = 60.0  # seconds that a Hub may ask to wait


class WeightsError(OSError):
    """Weights cannot be fetched, are not the ones the card names, or do not fit the architecture."""


class _AstrayError(Exception):
    """An answer that is not the bytes asked for; the next one, after `pause` seconds, may be."""

    def __init__(self, fact: str, pause: float = 0) -> None:
        super().__init__(fact)
        self.pause = pause


class _NoRangesError(Exception):
    """The server sends whole files only."""


class Remote:
    """A file of a repo at a commit, of which any bytes can be had; nothing is asked before they are.

    Attributes:
        sha256: Of the whole file, where a card states it: a Hub that states another is refused.
        fetched: Bytes of its content that came over the network so far.
    """

    def __init__(self, repo: str, revision: str, file: str, *, sha256: str | None = None) -> None:
        self.repo, self.revision, self.file, self.sha256 = repo, revision, file, sha256
        self.fetched = 0
        self._lock = threading.Lock()
        self._found: huggingface_hub.HfFileMetadata | None = None
        self._whole: Path | None = None

    @property
    def size(self) -> int | None:
        """The size in bytes that the Hub states."""
        with errors(self):
            return self._locate().size

    @property
    def etag(self) -> str:
        """Name that the Hub gives the content: for all but small files its sha256."""
        with errors(self):
            return str(self._locate().etag)

    @property
    def listed(self) -> str:
        """Hash that the Hub states for the file: its sha256, or, for a small file that it keeps in git, git's sha1."""
        with errors(self):
            (entry,) = huggingface_hub.HfApi().get_paths_info(self.repo, [self.file], revision=self.revision)
        lfs = getattr(entry, "lfs", None)
        return str(lfs.sha256 if lfs else entry.blob_id)  # type: ignore[union-attr]

    @property
    def cached(self) -> Path | None:
        """The whole file, where the Hub client has it already."""
        path = huggingface_hub.try_to_load_from_cache(self.repo, self.file, revision=self.revision)
        return Path(path) if isinstance(path, str) else None

    def download(self) -> Path:
        """The whole file, through the Hub client's own cache."""
        with errors(self), self._lock:
            known = self.cached
            path = Path(huggingface_hub.hf_hub_download(self.repo, self.file, revision=self.revision))
            self.fetched += 0 if known else path.stat().st_size
        return path

    def fetch(self, runs: list[Run], keep: Callable[[int, bytes], None]) -> None:
        """Receive the bytes [start, stop) of each run, in parallel, and give each run to `keep` with its start.

        Raises:
            WeightsError: The Hub cannot be reached, refuses, or goes on sending something else.
        """
        total = sum(stop - start for start, stop in runs)
        name = f"{self.repo}/{self.file}"
        bar = tqdm(total=total, unit="B", unit_scale=True, desc=name, delay=1)  # type: ignore[no-untyped-call]
        with errors(self), bar, ThreadPoolExecutor(_THREADS) as pool:
            jobs = [pool.submit(self._run, start, stop, keep, bar.update) for start, stop in runs]
            try:
                for job in jobs:
                    job.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, start: int, stop: int, keep: Callable[[int, bytes], None], tell: Callable[[int], object]) -> None:
        try:
            data = self._receive(start, stop, tell)
        except _NoRangesError:
            data = self._slice(start, stop)
        keep(start, data)

    def _receive(self, start: int, stop: int, tell: Callable[[int], object]) -> bytes:
        """One run; a connection that breaks is taken up at the byte where it broke."""
        got, failures = bytearray(), 0
        while len(got) < stop - start:
            before, pause, cause = len(got), 0.0, "no bytes came"
            try:
                self._request(start + before, stop, got)
            except HfHubHTTPError:
                raise
            except (httpx2.HTTPError, _AstrayError) as error:
                pause, cause = getattr(error, "pause", 0.0), _told(error)
            new = len(got) - before
            tell(new)
            failures = 0 if new else failures + 1
            if failures == _TRIES or pause > _PATIENCE:
                raise WeightsError(f"{self.repo}/{self.file} cannot be fetched ({cause}). Load again later.")
            if failures:
                time.sleep(max(pause, _WAIT * 2 ** (failures - 1)))
        return bytes(got)

    def _request(self, start: int, stop: int, got: bytearray) -> None:
        url, headers = self._address()
        headers |= {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        wanted, session = len(got) + stop - start, huggingface_hub.get_session()
        with session.stream("GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as answer:
            self._check(answer, start, stop)
            for chunk in answer.iter_raw():
                got += chunk[: wanted - len(got)]
                self._count(len(chunk))

    def _check(self, answer: httpx2.Response, start: int, stop: int) -> None:
        if answer.status_code in (401, 403, 404, 410):
            self._found = None  # a signed address expires; a new one tells what is wrong
            raise _AstrayError(f"status {answer.status_code}")
        if answer.status_code == 429 or answer.status_code >= 500:
            after = answer.headers.get("Retry-After", "0")
            raise _AstrayError(f"status {answer.status_code}", float(after) if after.isdigit() else 0)
        hf_raise_for_status(answer)
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            raise _AstrayError("an HTML page came, from a proxy or a sign-in page")
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise _AstrayError("the bytes came compressed, through a proxy")
        if answer.status_code == 200:
            raise _NoRangesError
        range_ = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        if not range_ or int(range_[1]) != start or int(range_[2]) != (self._locate().size or int(range_[2])):
            raise _AstrayError(f"another range came than bytes {start} to {stop}")

    def _slice(self, start: int, stop: int) -> bytes:
        self._whole = self._whole or self.download()
        with self._whole.open("rb") as stream:
            stream.seek(start)
            return stream.read(stop - start)

    def _address(self) -> tuple[str, dict[str, str]]:
        """Where the bytes lie; the token goes to the Hub's own host and to no other."""
        place, headers = self._locate().location, build_hf_headers()
        if urlsplit(place).netloc != urlsplit(self._url).netloc:
            headers.pop("authorization", None)
        return place, headers

    def _locate(self) -> huggingface_hub.HfFileMetadata:
        with self._lock:
            self._found = self._found or huggingface_hub.get_hf_file_metadata(self._url, retry_on_errors=True)
            found = self._found
        if found.commit_hash is None:
            raise WeightsError(f"{urlsplit(self._url).netloc} does not answer as a Hub does. Check HF_ENDPOINT.")
        if found.commit_hash != self.revision:
            raise WeightsError(f"{self.repo} answers with the wrong revision ({found.commit_hash}). Load again.")
        if self.sha256 and len(found.etag or "") == 64 and found.etag != self.sha256:
            raise WeightsError(f"{self.repo}/{self.file} must have sha256 {self.sha256} (the Hub has {found.etag}).")
        return found

    @property
    def _url(self) -> str:
        return huggingface_hub.hf_hub_url(self.repo, self.file, revision=self.revision, endpoint=constants.ENDPOINT)

    def _count(self, size: int) -> None:
        with self._lock:
            self.fetched += size


def cache() -> Path:
    """Return where everything that was fetched lies: in the Hub client's folder for other libraries."""
    return Path(constants.HF_ASSETS_CACHE) / "sslzoo"


def place() -> Path:
    """The Hub client's own cache, of whole files."""
    return Path(constants.HF_HUB_CACHE)


def text(repo: str, file: str, revision: str = "main") -> bytes | None:
    """A small file of a repo, through the Hub client's cache; None where that commit has none."""
    with errors(Remote(repo, revision, file)):
        try:
            path = Path(huggingface_hub.hf_hub_download(repo, file, revision=revision))
        except RemoteEntryNotFoundError:
            return None
        data, blob = path.read_bytes(), path.resolve()
        # The Hub client's cache names it by git's hash.
        if len(blob.name) == 40 and git_sha1(data) != blob.name:
            blob.unlink()
            raise WeightsError(f"{repo}/{file} must be the published file (got other bytes). Load again.")
        return data


def git_sha1(data: bytes) -> str:
    """git's name for a file of these bytes, as 40 hex digits."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def commits(repo: str) -> list[str]:
    """The commits of a repo's main branch, newest first."""
    with errors(Remote(repo, "main", "")):
        return [str(commit.commit_id) for commit in huggingface_hub.HfApi().list_repo_commits(repo)]


def models(author: str | None = None) -> list[str]:
    """The repos on the Hub that carry the tag `sslzoo`."""
    with errors(Remote("models", "main", "sslzoo")):
        return sorted(found.id for found in huggingface_hub.HfApi().list_models(filter="sslzoo", author=author))


@contextlib.contextmanager
def errors(remote: Remote) -> Iterator[None]:
    """Raise failures as a `WeightsError`: what went wrong and what to do about it, in one sentence each."""
    try:
        yield
    except WeightsError:
        raise
    except FAILURES as error:
        what = f"{remote.repo}/{remote.file} at {remote.revision[:8]}"
        raise WeightsError(f"{what} cannot be fetched. {_next_step(error)}") from error
    except UnicodeEncodeError:
        raise WeightsError("the token must be plain ASCII (got other characters). Run `hf auth login`.") from None
    except OSError as error:
        if error.errno is None:  # not of the disk, and said in full
            raise WeightsError(str(error)) from error
        place = error.filename or constants.HF_HUB_CACHE
        fact = f"the cache {place} must be writable (got: {error.strerror or error})"
        raise WeightsError(f"{fact}. Free space there, or point HF_HOME elsewhere.") from error


def _next_step(error: Exception) -> str:
    if isinstance(error, GatedRepoError):
        return "Accept its terms on its Hub page, then run `hf auth login`."
    if isinstance(error, RevisionNotFoundError):
        return "The revision is gone from the repo: look for a newer card, or load an own copy with weights=PATH."
    if isinstance(error, HfHubHTTPError) and error.response is not None and error.response.status_code in (401, 404):
        return "The repo or file is gone or private: check the card, or run `hf auth login`."
    if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
        return "It is not cached and the Hub cannot be reached: connect, or unset HF_HUB_OFFLINE, and load again."
    return f"{_told(error)}. Load again."


def _told(error: Exception) -> str:
    # A header that cannot be sent is quoted by the error, the token in it.
    # So is the address, which is signed.
    said = re.sub(r"Bearer .*|(?<=\?)\S+=\S+", "...", str(error), flags=re.DOTALL)
    return f"{type(error).__name__.strip('_')}: {said}"
