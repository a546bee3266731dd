"""What the cache holds, and how to free its space. Whole files that the Hub client fetched are its own: `hf cache`."""

import difflib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from zoo.fetching.hub import cache
from zoo.fetching.pieces import Store, writing
from zoo.fetching.places import converted, store_of
from zoo.registry import cards as cards_
from zoo.registry.cards import Card, CardError


@dataclass(frozen=True)
class Held:
    """One file at one commit, or one converted file.

    Attributes:
        folder: Where it lies.
        repo, revision, file: Where it was published; None for a converted file to which not just one pickle leads.
        pieces: Files that a load may use.
        spoilt: Files in quarantine.
        size: Bytes of all of them, and of what a killed process left half written.
        fetched: When the latest of them came.
        cards: The names of the registry's cards that pin it.
    """

    folder: Path
    repo: str | None
    revision: str | None
    file: str | None
    pieces: int
    spoilt: int
    size: int
    fetched: datetime
    cards: tuple[str, ...]


def held() -> list[Held]:
    """List everything in the cache, by folder; what a card pins that is not valid is not known."""
    registry, _ = cards_.read_all()
    stores, made = list(_folders("*%2F*/*/*")), list(_folders("converted/*/*"))
    origins = {folder: _origins(folder, stores) for folder in made} | {folder: [folder] for folder in stores}
    found = [
        _held(folder, origins[folder], tuple(card.name for card in registry if _pins(card, folder, origins[folder])))
        for folder in stores + made
        if _files(folder, "**/*")
    ]
    return sorted(found, key=lambda one: one.folder)


def prune(*, repo: str | None = None, unknown: bool = False, quarantine: bool = False) -> int:
    """Free space; returns how many bytes. What killed processes left half written goes in any case.

    Waits for fetches that are under way. Never touches anything outside the cache, nor what a link in it leads to.

    Args:
        repo: Remove everything of this repo.
        unknown: Remove what no card of the registry pins (any more), `owner/name` loads among it.
        quarantine: Remove what was put aside because its bytes were not the right ones.

    Raises:
        ValueError: The cache holds nothing of that repo.
        CardError: `unknown`, and a card is not valid, so what it pins is not known; nothing is removed.
    """
    if unknown and (unread := cards_.read_all()[1]):
        raise CardError(next(iter(unread.values())))
    found = held()
    repos = sorted({one.repo for one in found if one.repo})
    if repo is not None and repo not in repos:
        near = ", ".join(difflib.get_close_matches(repo, repos, n=3) or repos) or "none"
        raise ValueError(f"repo must be one that the cache holds (got {repo!r}; held: {near}). Run zoo cache list.")
    doomed = [one for one in found if (repo is not None and one.repo == repo) or (unknown and not one.cards)]
    return sum(_prune(one.folder, everything=one in doomed, spoilt=quarantine) for one in found)


def _prune(folder: Path, *, everything: bool, spoilt: bool) -> int:
    halves = _files(folder, "*.part") + _files(folder, "scratch-*/**/*")
    gone = _files(folder, "*") if everything else []
    gone += _files(folder, "quarantine/*") if everything or spoilt else []
    if not halves + gone:
        return 0
    sizes = {path: path.stat().st_size for path in {*halves, *gone}}
    # The lock itself stays: another process may be waiting for it.
    with Store(folder).lock(), writing(folder):
        for path in gone:
            path.unlink(missing_ok=True)
        for scratch in {path.parent for path in halves if path.suffix != ".part"}:
            shutil.rmtree(scratch, ignore_errors=True)
    return sum(size for path, size in sizes.items() if not path.exists())


def _folders(pattern: str) -> Iterator[Path]:
    """The folders in the cache itself, not those that a link leads to."""
    root = cache().resolve()
    for folder in sorted(cache().glob(pattern)):
        if folder.is_dir() and folder.resolve() == root / folder.relative_to(cache()):
            yield folder


def _files(folder: Path, pattern: str) -> list[Path]:
    inside = [path for path in folder.glob(pattern) if path.is_file() and path != folder / "lock"]
    return [path for path in inside if path.resolve() == folder.resolve() / path.relative_to(folder)]


def _held(folder: Path, origins: list[Path], pinned: tuple[str, ...]) -> Held:
    place = origins[0].relative_to(cache()).parts if len(origins) == 1 else None
    every, spoilt = _files(folder, "**/*"), _files(folder, "quarantine/*")
    stats = [path.stat() for path in every]
    return Held(
        folder=folder,
        repo=place[0].replace("%2F", "/") if place else None,
        revision=place[1] if place else None,
        file=place[2].replace("%2F", "/") if place else None,
        pieces=sum(path.parent == folder and path.suffix != ".part" for path in every),
        spoilt=len(spoilt),
        size=sum(stat.st_size for stat in stats),
        fetched=datetime.fromtimestamp(max(stat.st_mtime for stat in stats), UTC),
        cards=pinned,
    )


def _origins(made: Path, stores: list[Path]) -> list[Path]:
    """The pickled files that a converted one may have been made from."""
    return [folder for folder in stores if _source(folder) == made.parent.name]


def _source(store: Path) -> str:
    return Store(store).get(["source"]).get("source", b"").decode("ascii", "replace")


def _pins(card: Card, folder: Path, origins: list[Path]) -> bool:
    if card.weights.repo is None or card.weights.file is None:
        return False
    kept = [origin for origin in origins if _matches(card, origin)]
    return folder in kept or any(converted(_source(origin), card).parent == folder for origin in kept)


def _matches(card: Card, store: Path) -> bool:
    expected = store_of(card).folder
    if card.weights.revision is not None:
        return store == expected
    # The card leaves the commit to the caller of `load`: it may be any, or any with that prefix.
    same = (store.parent.parent, store.name) == (expected.parent.parent, expected.name)
    return same and store.parent.name.startswith(card.weights.prefix or "")
