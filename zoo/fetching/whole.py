"""A whole file: fetched, checked, its digests derived, fetched once more where it is spoilt."""

import contextlib
import re
from pathlib import Path

from zoo.fetching import digests as digests_
from zoo.fetching import header, opened
from zoo.fetching.digests import Digests, git_sha1
from zoo.fetching.opened import Local, SpoiltError
from zoo.fetching.pieces import CacheError, Store
from zoo.fetching.wire.remote import Remote
from zoo.registry.cards import Card


def fetch_whole(card: Card, remote: Remote, store: Store) -> tuple[Path, str]:
    """The card's whole file, whatever its format, and its sha256: the one that the card or else the Hub states.

    Raises:
        WeightsError: The file cannot be had; or it is not the published one, even when it was fetched once more.
    """
    path = remote.download()
    expected = card.weights.sha256 or _listed(path, remote)
    opened.twice(lambda: _check_whole(path, expected), lambda _: _again(path, remote, store, expected), path)
    return path, digests_.sha256_file(path)


def fault(path: Path) -> str | None:
    """Say what keeps the file from being safetensors; None where nothing does."""
    try:
        header.read(path)
    except ValueError as error:
        return str(error)
    return None


def open_whole(card: Card, remote: Remote, store: Store, known: Digests, verified: str) -> Local:
    """The whole file, opened; it is fetched once more where it is spoilt."""
    path = remote.download()

    def replace() -> Path:
        _again(path, remote, store, known.file)
        return path

    return Local(path, card.weights.layout, verified, known.file, known, replace, remote)


def digests_of(card: Card, remote: Remote, store: Store, known: Digests | None) -> Digests:
    """The digests of the whole file, once its own sha256 was found right."""
    path = remote.download()
    expected = card.weights.sha256 or (known.file if known else None) or _listed(path, remote)
    derived = opened.twice(lambda: _derive(path, expected), lambda _: _again(path, remote, store, expected), path)
    with contextlib.suppress(CacheError):  # a read-only cache is derived from anew each time
        _hold(store, path, derived, expected)
    return derived


def _again(path: Path, remote: Remote, store: Store, expected: str) -> None:
    """Put the whole file aside and fetch it once more, unless another process has done so."""
    with store.lock():
        if path.exists() and _hash(path, expected) != expected:
            store.quarantine_file(path)
        remote.download()


def _hash(path: Path, like: str) -> str:
    return digests_.sha256_file(path) if len(like) == 64 else git_sha1(path.read_bytes())


def _check_whole(path: Path, expected: str) -> None:
    kind = "sha256" if len(expected) == 64 else "git sha1"
    if (found := _hash(path, expected)) != expected:
        cause = (fault(path) if path.suffix == ".safetensors" else None) or "flipped bits or wrong revision"
        raise SpoiltError(f"must have {kind} {expected} (got {found}): {cause}")


def _derive(path: Path, expected: str) -> Digests:
    _check_whole(path, expected)
    return opened.well_formed(lambda: opened.digest(path))


def _hold(store: Store, path: Path, derived: Digests, etag: str) -> None:
    """Keep the digests of the whole file, and put aside what was fetched before and contradicts them."""
    spans = header.read(path).spans
    right = {"etag": digests_.sha256(etag.encode()), "header": derived.header}
    right |= {opened.key(span): derived.tensors[name] for name, span in spans.items()}
    with store.lock():
        store.put("whole", digests_.dump(derived))
        store.disprove(right)


def _listed(path: Path, remote: Remote) -> str:
    # The Hub client's cache names the blob by what the Hub listed at the commit: its sha256, or git's sha1.
    blob = path.resolve().name
    return blob if re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{40}", blob) else remote.listed
