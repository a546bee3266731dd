"""From a card to its open weights file: where it lies, and which digests its bytes are held against."""

import contextlib
import json
import os
import re
from pathlib import Path

from zoo.fetching import digests as digests_
from zoo.fetching import header, opened
from zoo.fetching.digests import Digests
from zoo.fetching.hub import Remote, WeightsError, cache, text
from zoo.fetching.opened import Local, Ranged, SpoiltError
from zoo.fetching.pieces import CacheError, Store
from zoo.registry import cards
from zoo.registry.cards import Card


def open_weights(card: Card, weights: str | Path | None = None, *, whole: bool = False) -> Local | Ranged:
    """Open the file of `card`; of a file on the Hub only the header is fetched here.

    Args:
        card: Names the repo, the pinned revision and the file.
        weights: A local safetensors file to use instead.
        whole: Fetch the whole file and check its sha256 first; `ZOO_VERIFY=strict` asks for the same.

    Raises:
        WeightsError: The file cannot be had or is not the published one.
        ValueError: `ZOO_VERIFY` has an unknown value.
    """
    strict = _strict()
    if weights is not None:
        return _own(Path(weights), card.weights.layout)
    if card.weights.repo is None or card.weights.file is None:
        return _beside(card)
    if not card.weights.file.endswith(".safetensors"):
        return _converted(card)
    remote, store = remote_of(card), store_of(card)
    known, verified = _known(card, remote, store)
    if (forced := whole or strict) or remote.cached:
        if known is None or (forced and not store.sound("whole")):
            derived = _derived(card, remote, store, known)
            known, verified = (known, verified) if known else (derived, "whole file")
        return _whole(card, remote, store, known, verified)
    return Ranged(remote, store, card.weights.layout, verified, known)


def published(repo: str, revision: str | None = None) -> Card:
    """The card that a repo on the Hub carries: its README.md.

    Raises:
        CardError: The repo has no card with a `zoo:` block.
        WeightsError: The Hub cannot be reached, or the repo is gone or private.
    """
    data = text(repo, "README.md", revision or "main")
    if data is None:
        raise cards.CardError(f"{repo} must have a card (got no README.md). Pass card=PATH.")
    try:
        card = cards.parse(data.decode("utf-8", "replace"), repo, Path(f"{repo}/README.md"))
    except cards.CardError as error:
        raise cards.CardError(f"{error} Or pass card=PATH.") from None
    if card.weights.repo is None:
        raise cards.CardError(f"card {repo}/README.md must name the repo of its weights (got None). Pass card=PATH.")
    return card


def store_of(card: Card) -> Store:
    """The cache of the card's file."""
    # No part of a card's path or repo holds a percent sign, so two files never share a folder.
    parts = (str(part).replace("/", "%2F") for part in (card.weights.repo, card.weights.revision, card.weights.file))
    return Store(cache().joinpath(*parts))


def remote_of(card: Card) -> Remote:
    """The card's file on the Hub."""
    if card.weights.repo is None or card.weights.revision is None or card.weights.file is None:
        raise WeightsError(
            f"revision must be pinned (got None). Pass zoo.load({card.name!r}, revision='<40 hex digits>')."
        )
    return Remote(card.weights.repo, card.weights.revision, card.weights.file, sha256=card.weights.sha256)


def converted(source: str, card: Card) -> Path:
    """Where the safetensors file lies that was made, as `card` says, from the pickled file with the sha256 `source`."""
    recipe = json.dumps([card.architecture, card.kwargs, card.weights.layout], sort_keys=True, default=str)
    return cache() / "converted" / source / digests_.sha256(recipe.encode())[:16] / "model.safetensors"


def fetch_whole(card: Card) -> tuple[Path, str]:
    """The card's whole file, whatever its format, and its sha256: the one that the card or else the Hub states.

    Raises:
        WeightsError: The file cannot be had; or it is not the published one, even when it was fetched once more.
    """
    remote = remote_of(card)
    path = remote.download()
    expected = card.weights.sha256 or _listed(path, remote)
    opened.twice(lambda: _check_whole(path, expected), lambda _: _again(path, remote, store_of(card), expected), path)
    return path, digests_.sha256_file(path)


def _own(path: Path, layout: str) -> Local:
    if not path.is_file():
        raise WeightsError(f"weights must be an existing file (got {str(path)!r}). Check the path.")
    _refuse_pickle(path)
    return Local(path, layout, "own file", digests_.sha256_file(path))


def _beside(card: Card) -> Local:
    if card.weights.file is None:
        raise WeightsError(f"weights must be given: no file can be fetched ({card.source.url}). Pass weights=PATH.")
    path, expected = cards.weights_file(card), card.weights.sha256
    if not path.is_file() or (expected is None and card.weights.digests is None):
        return _own(path, card.weights.layout)
    if expected is None:
        pinned = _pinned(card)
        return Local(path, card.weights.layout, "card", pinned.file if pinned else None, pinned)
    if (found := digests_.sha256_file(path)) != expected:
        cause = _cause(path) or "its bytes are not the published ones"
        raise WeightsError(f"{path} must have sha256 {expected} (got {found}): {cause}. Delete it and load again.")
    return Local(path, card.weights.layout, "card", found, _pinned(card))


def _refuse_pickle(path: Path) -> None:
    with path.open("rb") as stream:
        if "pickled" in (header.foreign(stream.read(8)) or ""):
            step = f"Run zoo-upload convert {path} OUTPUT.safetensors --card CARD."
            raise WeightsError(f"{path} must be safetensors (got a pickled checkpoint). {step}")


def _cause(path: Path) -> str | None:
    try:
        header.read(path)
    except ValueError as error:
        return str(error)
    return None


def _converted(card: Card) -> Local:
    known = "/" in card.name or (card.name in cards.names() and cards.find(card.name).path == card.path)
    step = f"Run zoo-upload convert {card.name if known else card.path}."
    source = (store_of(card).sound("source") or b"").decode()
    path = converted(source, card)
    made = Store(path.parent).sound("digests") if source else None
    if not source or not made or not path.is_file():
        raise WeightsError(f"{card.weights.file} is pickled, and load opens no pickle. {step}")

    def replace() -> Path:
        raise WeightsError(f"{path} must hold what was converted (got flipped bits). {step}")

    found, verified = _pinned(card), "card"
    if found is None:
        found, verified = digests_.parse(made), "conversion"
    return Local(path, "timm", verified, found.file, found, replace)


def _known(card: Card, remote: Remote, store: Store) -> tuple[Digests | None, str]:
    """The digests of the file, from the first source that has them, and the name of that source."""
    if pinned := _pinned(card):
        return pinned, "card"
    if published := _published(card, remote, store):
        return published, "card" if card.weights.digests else "hub"
    if derived := store.sound("whole"):
        return digests_.parse(derived), "whole file"
    return None, "first-use"


def _pinned(card: Card) -> Digests | None:
    path = card.path.parent / "digests" / f"{card.name}.json"
    if card.weights.digests is None:
        return None
    if not path.is_file():
        if card.weights.repo is None or not str(card.weights.file).endswith(".safetensors"):
            raise WeightsError(
                f"{path} must be there: the card pins it. Restore it, or remove `digests` from the card."
            )
        return None
    return _checked(path.read_bytes(), card, str(path))


def _published(card: Card, remote: Remote, store: Store) -> Digests | None:
    """`digests.json` beside the weights; that a commit has none is kept as an empty piece."""
    data = store.sound("digests")
    if data is None:
        try:
            data = text(remote.repo, "digests.json", remote.revision) or b""
        except WeightsError:
            if remote.cached and card.weights.digests is None:  # offline: the whole file is here and says enough
                return None
            raise
        with store.lock():
            store.put("digests", data)
    if card.weights.digests is None and not _is_digests(data):
        return None  # none, or another tool's file of that name
    return _checked(data, card, f"{remote.repo}/digests.json")


def _is_digests(data: bytes) -> bool:
    try:
        return bool(digests_.parse(data))
    except ValueError:
        return False


def _checked(data: bytes, card: Card, what: str) -> Digests:
    if card.weights.digests not in (None, digests_.sha256(data)):
        raise WeightsError(f"{what} must have the sha256 that the card names (got another one). Restore it.")
    try:
        return digests_.parse(data)
    except ValueError as error:
        raise WeightsError(f"{what}: {error}") from None


def _whole(card: Card, remote: Remote, store: Store, known: Digests, verified: str) -> Local:
    path = remote.download()

    def replace() -> Path:
        _again(path, remote, store, known.file)
        return path

    return Local(path, card.weights.layout, verified, known.file, known, replace, remote)


def _derived(card: Card, remote: Remote, store: Store, known: Digests | None) -> Digests:
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
    return digests_.sha256_file(path) if len(like) == 64 else digests_.git_sha1(path)


def _check_whole(path: Path, expected: str) -> None:
    kind = "sha256" if len(expected) == 64 else "git sha1"
    if (found := _hash(path, expected)) != expected:
        cause = (_cause(path) if path.suffix == ".safetensors" else None) or "flipped bits or wrong revision"
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


def _strict() -> bool:
    value = os.environ.get("ZOO_VERIFY", "")
    if value not in ("", "strict"):
        raise ValueError(f"ZOO_VERIFY must be strict or unset (got {value!r}). Correct or unset it.")
    return value == "strict"
