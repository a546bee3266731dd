"""The only place that reads from the Hugging Face Hub: byte ranges, whole files, commits, lists. Imports no torch."""

import contextlib
import re
import threading
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
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_stream_backoff, tqdm

Run = tuple[int, int]

_FAILURES = (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled, httpx2.HTTPError)
_THREADS = 8
_TRIES = 5  # in a row without one new byte
_WAIT = 1.0  # seconds before a second request, doubled each time


class WeightsError(OSError):
    """Weights cannot be fetched, are not the ones the card names, or do not fit the architecture."""


class _AstrayError(Exception):
    """An answer that is not the bytes asked for; the next one may be."""


class _NoRangesError(Exception):
    """The server sends whole files only."""


class Remote:
    """A file of a repo at a commit, of which any bytes can be had; nothing is asked before they are.

    Attributes:
        fetched: Bytes of its content that came over the network so far.
    """

    def __init__(self, repo: str, revision: str, file: str) -> None:
        self.repo, self.revision, self.file = repo, revision, file
        self.fetched = 0
        self._lock = threading.Lock()
        self._found: huggingface_hub.HfFileMetadata | None = None
        self._whole: Path | None = None

    @property
    def size(self) -> int | None:
        """The size in bytes that the Hub states."""
        with _errors(self):
            return self._locate().size

    @property
    def listed(self) -> str:
        """What the Hub says the file hashes to: its sha256, or, for a small file that it keeps in git, git's sha1."""
        with _errors(self):
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
        with _errors(self), self._lock:
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
        with _errors(self), bar, ThreadPoolExecutor(_THREADS) as pool:
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
        got, failures, cause = bytearray(), 0, ""
        while len(got) < stop - start:
            before = len(got)
            try:
                self._request(start + before, stop, got)
            except HfHubHTTPError:
                raise
            except (httpx2.HTTPError, _AstrayError) as error:
                cause = _told(error)
            new = len(got) - before
            tell(new)
            failures = 0 if new else failures + 1
            if failures == _TRIES:
                raise WeightsError(f"{self.repo}/{self.file} cannot be fetched ({cause}). Load again.")
        return bytes(got)

    def _request(self, start: int, stop: int, got: bytearray) -> None:
        url, headers = self._address()
        headers |= {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        timeout, broken, wanted = constants.HF_HUB_DOWNLOAD_TIMEOUT, None, len(got) + stop - start
        with http_stream_backoff("GET", url, headers=headers, timeout=timeout, base_wait_time=_WAIT) as answer:
            self._check(answer, start, stop)
            try:
                for chunk in answer.iter_raw():
                    got += chunk[: wanted - len(got)]
                    self._count(len(chunk))
            except httpx2.HTTPError as error:
                broken = error  # raised inside, it would start the library's own retry from the first byte
        if broken:
            raise broken

    def _check(self, answer: httpx2.Response, start: int, stop: int) -> None:
        if answer.status_code in (401, 403, 404, 410):
            self._found = None  # a signed address expires; a new one tells what is wrong
            raise _AstrayError(f"status {answer.status_code}")
        hf_raise_for_status(answer)
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            raise _AstrayError("an HTML page came, from a proxy or a sign-in page")
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
        return found

    @property
    def _url(self) -> str:
        return huggingface_hub.hf_hub_url(self.repo, self.file, revision=self.revision, endpoint=constants.ENDPOINT)

    def _count(self, size: int) -> None:
        with self._lock:
            self.fetched += size


def cache() -> Path:
    """Where everything that was fetched lies: in the Hub client's folder for other libraries."""
    return Path(constants.HF_ASSETS_CACHE) / "sslzoo"


def text(repo: str, file: str, revision: str = "main") -> bytes | None:
    """A small file of a repo, through the Hub client's cache; None where that commit has none."""
    with _errors(Remote(repo, revision, file)):
        try:
            return Path(huggingface_hub.hf_hub_download(repo, file, revision=revision)).read_bytes()
        except RemoteEntryNotFoundError:
            return None


def commits(repo: str) -> list[str]:
    """The commits of a repo's main branch, newest first."""
    with _errors(Remote(repo, "main", "")):
        return [str(commit.commit_id) for commit in huggingface_hub.HfApi().list_repo_commits(repo)]


def models(author: str | None = None) -> list[str]:
    """The repos on the Hub that carry the tag `sslzoo`."""
    with _errors(Remote("models", "main", "sslzoo")):
        return sorted(found.id for found in huggingface_hub.HfApi().list_models(filter="sslzoo", author=author))


@contextlib.contextmanager
def _errors(remote: Remote) -> Iterator[None]:
    """What went wrong and what to do about it, in one sentence each."""
    try:
        yield
    except WeightsError:
        raise
    except _FAILURES as error:
        what = f"{remote.repo}/{remote.file} at {remote.revision[:8]}"
        raise WeightsError(f"{what} cannot be fetched. {_next_step(error)}") from error
    except UnicodeEncodeError:
        raise WeightsError("the token must be plain ASCII (got other characters). Run `hf auth login`.") from None
    except OSError as error:
        if error.errno is None:  # not of the disk, and said in full
            raise WeightsError(str(error)) from error
        fact = f"the cache {constants.HF_HUB_CACHE} must be writable (got: {error.strerror or error})"
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
    return f"{type(error).__name__}: {re.sub(r'Bearer .*', 'Bearer ...', str(error), flags=re.DOTALL)}"


def endpoint() -> str:
    """The Hub's address, without the name and password that it may hold."""
    parts = urlsplit(constants.ENDPOINT)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def place() -> Path:
    """The Hub client's own cache, of whole files."""
    return Path(constants.HF_HUB_CACHE)


def offline() -> bool:
    """Whether `HF_HUB_OFFLINE` forbids to ask."""
    return huggingface_hub.is_offline_mode()


def reachable(timeout: float = 5.0) -> str | None:
    """Why the Hub cannot be reached; None where it can. No token is sent."""
    try:
        found = huggingface_hub.get_session().get(f"{constants.ENDPOINT}/api/models?limit=1", timeout=timeout).json()
    except OfflineModeIsEnabled:
        return "HF_HUB_OFFLINE is set"
    except ValueError:
        found = None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return f"{type(error).__name__}: {error}"
    return None if isinstance(found, list) else "it does not answer as a Hub does"


def whoami() -> str | None:
    """Whom the token belongs to; None where there is none. A `WeightsError` says why the Hub does not tell."""
    try:
        return str(huggingface_hub.HfApi().whoami()["name"]) if huggingface_hub.get_token() else None
    except (*_FAILURES, UnicodeEncodeError) as error:
        if getattr(getattr(error, "response", None), "status_code", None) == 401:
            raise WeightsError("the token must be a valid one (got a refusal). Run `hf auth login`.") from None
        # Not the error's text, which may quote the header that holds the token.
        raise WeightsError(f"the token cannot be tried ({type(error).__name__}). Ask again later.") from None


def granted(repo: str) -> bool:
    """Whether this token, or none, may read a repo that asks for its terms to be accepted."""
    with _errors(Remote(repo, "main", "")), contextlib.suppress(GatedRepoError):
        huggingface_hub.HfApi().auth_check(repo)
        return True
    return False
