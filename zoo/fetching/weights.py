"""From a card to its open weights file: where it lies, and which digests its bytes are held against."""

import os
from pathlib import Path

from zoo.fetching import digests as digests_
from zoo.fetching import header
from zoo.fetching.digests import Digests
from zoo.fetching.hub import text
from zoo.fetching.opened import Local, Ranged
from zoo.fetching.pieces import Store
from zoo.fetching.places import converted, remote_of, store_of
from zoo.fetching.whole import digests_of, fault, open_whole
from zoo.fetching.wire.refusals import WeightsError
from zoo.fetching.wire.remote import Remote
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
            derived = digests_of(card, remote, store, known)
            known, verified = (known, verified) if known else (derived, "whole file")
        return open_whole(card, remote, store, known, verified)
    return Ranged(remote, store, card.weights.layout, verified, known)


def _own(path: Path, layout: str) -> Local:
    if not path.is_file():
        raise WeightsError(f"weights must be an existing file (got {str(path)!r}). Check the path.")
    _refuse_pickle(path)
    return Local(path, layout, "own file", digests_.sha256_file(path))


def _beside(card: Card) -> Local:
    if card.weights.file is None:
        raise WeightsError(f"weights must be given: no file can be fetched ({card.source.url}). Pass weights=PATH.")
    path, expected, size = cards.weights_file(card), card.weights.sha256, card.weights.size
    if expected is None and size is not None and path.is_file() and (found := path.stat().st_size) != size:
        raise WeightsError(
            f"{path} must have {size} bytes, as its card says (got {found}). Copy it anew, or correct the card."
        )
    if not path.is_file() or (expected is None and card.weights.digests is None):
        return _own(path, card.weights.layout)
    if expected is None:
        pinned = _pinned(card)
        return Local(path, card.weights.layout, "card", pinned.file if pinned else None, pinned)
    if (digest := digests_.sha256_file(path)) != expected:
        cause = fault(path) or "its bytes are not the published ones"
        raise WeightsError(f"{path} must have sha256 {expected} (got {digest}): {cause}. Delete it and load again.")
    return Local(path, card.weights.layout, "card", digest, _pinned(card))


def _refuse_pickle(path: Path) -> None:
    with path.open("rb") as stream:
        if "pickled" in (header.foreign(stream.read(8)) or ""):
            step = f"Run zoo-upload convert {path} OUTPUT.safetensors --card CARD."
            raise WeightsError(f"{path} must be safetensors (got a pickled checkpoint). {step}")


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


def _strict() -> bool:
    value = os.environ.get("ZOO_VERIFY", "")
    if value not in ("", "strict"):
        raise ValueError(f"ZOO_VERIFY must be strict or unset (got {value!r}). Correct or unset it.")
    return value == "strict"
