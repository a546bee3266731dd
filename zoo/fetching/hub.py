"""What is read from the Hugging Face Hub beside the bytes of weights: small texts, commits, lists. Imports no torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, RemoteEntryNotFoundError, RevisionNotFoundError

from zoo.fetching.digests import git_sha1 as git_sha1
from zoo.fetching.digests import sha256
from zoo.fetching.wire import asking, shelf
from zoo.fetching.wire.asking import AstrayError, Question, Watch
from zoo.fetching.wire.refusals import WeightsError as WeightsError
from zoo.fetching.wire.refusals import as_a_hub, endpoint, errors
from zoo.fetching.wire.remote import LIST, only, said
from zoo.fetching.wire.remote import Remote as Remote
from zoo.fetching.wire.shelf import cache as cache
from zoo.fetching.wire.shelf import place as place

_PAGES = 50
_ENTRIES = 10_000
_TEXT = 1 << 20  # bytes of a README.md
_TEXTS = {"digests.json": 16 << 20}


def text(repo: str, file: str, revision: str = "main") -> bytes | None:
    """A small file of a repo, through the Hub client's cache; None where that commit has none."""
    remote = Remote(repo, revision, file, pinned=bool(shelf.COMMIT.fullmatch(revision)))
    with errors(f"{repo}/{file} at {revision[:8]}"):
        path = remote.cached if remote.pinned else None
        try:
            path = path or remote.kept(_TEXTS.get(file, _TEXT))
        except RemoteEntryNotFoundError:
            return None
        except RevisionNotFoundError:
            raise
        except (HfHubHTTPError, httpx2.TransportError, OfflineModeIsEnabled, WeightsError):
            if (path := remote.cached) is None:
                raise
        return _checked(path, f"{repo}/{file}")


def commits(repo: str) -> list[str]:
    """The commits of a repo's main branch, newest first.

    Raises:
        WeightsError: The Hub cannot be reached, or the repo is gone or private.
    """
    with errors(f"{repo} at main"), as_a_hub():
        found = [str(entry["id"]) for entry in _entries(f"/api/models/{repo}/commits/main")]
        if not found or not all(map(shelf.COMMIT.fullmatch, found)):
            raise ValueError
        return found


def models(author: str | None = None) -> list[str]:
    """The repos on the Hub that carry the tag `sslzoo`; an entry that is none is listed as it stands.

    Raises:
        WeightsError: The Hub cannot be reached, or does not answer as a Hub does.
    """
    asked = urlencode({"filter": "sslzoo"} | ({"author": author} if author else {}))
    with errors("models/sslzoo at main"):
        return sorted({_name(entry) for entry in _entries(f"/api/models?{asked}")})


def value(path: str, *, count: int | None = None, seconds: float | None = None, token: bool | None = None) -> Any:
    """What the Hub's interface answers under a path; failures are those of the client."""
    watch = Watch(LIST, seconds or asking.PATIENCE)
    question = Question(endpoint() + path, token=token)
    return said(only(lambda: asking.ask(question, watch, limit=LIST, count=count), watch))


def _entries(path: str) -> list[Any]:
    """All entries of a list, page by page."""
    watch = Watch(LIST, asking.PATIENCE)
    return only(lambda: list(_paged(endpoint() + path, watch)), watch)


def _paged(url: str, watch: Watch) -> Iterator[Any]:
    count = 0
    for _ in range(_PAGES):
        answer = asking.ask(Question(url), watch, limit=LIST)
        page = said(answer)
        count += len(page) if isinstance(page, list) else _ENTRIES + 1
        if count > _ENTRIES:
            raise AstrayError("what came is no list, or one without end", last=True)
        yield from page
        following = answer.links.get("next", {}).get("url")
        if not following:
            return
        url = asking.joined(url, following)
        if asking.origin(url) != asking.origin(endpoint()):
            raise AstrayError("the list goes on elsewhere", last=True)
    raise AstrayError("the list goes on without end", last=True)


def _name(entry: Any) -> str:
    name = entry.get("id") if isinstance(entry, dict) else None
    return name if isinstance(name, str) else repr(entry)[:80]


def _checked(path: Path, what: str) -> bytes:
    # The Hub client's cache names it by its sha256, or by git's hash.
    data, blob = path.read_bytes(), path.resolve()
    if len(blob.name) in (40, 64) and blob.name not in (git_sha1(data), sha256(data)):
        blob.unlink()
        raise WeightsError(f"{what} must be the published file (got other bytes). Load again.")
    return data
