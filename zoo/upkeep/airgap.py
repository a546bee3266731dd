"""Air gap: encoders, with all that their loads need, in one folder that is carried to a machine without a network.

    FOLDER/manifest.json                what was exported; the size and sha256 of every file
    FOLDER/ATTRIBUTION.md               the terms of all of them
    FOLDER/cards/                       their cards; an import copies those that the registry lacks into the cache
    FOLDER/pieces/, converted/, hub/    what an import puts into the caches

The only trust is the manifest: an import is as trustworthy as the folder. Digests that a card pins are still compared
at every load.
"""

import contextlib
import importlib.metadata
import secrets
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo import loading
from zoo.fetching import hub
from zoo.fetching import opened as opened_
from zoo.fetching.digests import sha256, sha256_file
from zoo.fetching.hub import WeightsError, cache
from zoo.fetching.opened import Local, Ranged
from zoo.fetching.pieces import Store, write
from zoo.fetching.places import store_of
from zoo.fetching.weights import open_weights
from zoo.networks import cutting, layouts
from zoo.registry import cards, terms
from zoo.registry.cards import Card
from zoo.registry.words import shown
from zoo.upkeep import manifest as manifest_
from zoo.upkeep.manifest import Entry, File, Manifest

Source = tuple[str, Path, str | None]  # path in the folder, file to copy, its sha256 where it is known


@dataclass(frozen=True)
class Imported:
    """Result of an import: what it brought.

    Attributes:
        names: The encoders, as `name@depth`.
        size: Bytes put into the caches.
        strangers: Those of `names` whose card the registry does not have, or has otherwise: they do not load yet.
        next_step: What makes them load; None where there are none.
    """

    names: tuple[str, ...]
    size: int
    strangers: tuple[str, ...]
    next_step: str | None


def export(names: Sequence[str], folder: str | Path, *, whole: bool = False) -> Path:
    """Write what the loads of some encoders need to a new folder: all of it, or nothing.

    Args:
        names: Of the registry, also as `name@depth`; what is not cached is fetched.
        folder: New or empty.
        whole: The whole weights files, for every depth and for `ZOO_VERIFY=strict`. A file that the Hub client has
            in its own cache, and a converted one, always go whole.

    Raises:
        ValueError: There is no name, one is not of the registry, or the folder is not empty.
        WeightsError: An encoder cannot be loaded.
        OSError: The folder cannot be written.
    """
    folder = Path(folder).absolute()
    _check(names, folder)
    loaded = [_loaded(name, whole) for name in names]
    with _appearing(folder) as scratch:
        entries = [_entry(scratch, card, depth, whole) for card, depth in loaded]
        (scratch / "ATTRIBUTION.md").write_text(terms.attribution([card for card, _ in loaded]), encoding="utf-8")
        written = Manifest(sslzoo=_version(), attribution=manifest_.file(scratch, "ATTRIBUTION.md"), entries=entries)
        (scratch / "manifest.json").write_text(manifest_.dump(written), encoding="utf-8")
    return folder


def import_(folder: str | Path) -> Imported:
    """Put an exported folder into the caches, once every file has the size and sha256 that the manifest states.

    Raises:
        ValueError: The folder holds no manifest.
        WeightsError: The manifest is no valid one, a file is not listed or not as it lists it, or a cache holds other
            bytes in its place. The caches are as before.
        CardError: A card of the folder or of the registry is not valid. The caches are as before.
    """
    folder = Path(folder).absolute()
    manifest = manifest_.read(folder)
    strange = [entry for entry in manifest.entries if not _known(folder, entry)]
    files, place = manifest_.verify(folder, manifest), _place(manifest)
    own = {file: place / file.path for entry in strange if _is_new(entry) for file in entry.cards}
    targets = own | {file: target for file in files if (target := _target(file.path))}
    for file, target in targets.items():
        _agree(target, file)
    # A whole file comes after the pieces that say it is right.
    for file in sorted(targets, key=lambda file: file.path.startswith("hub/")):
        _install(folder / file.path, targets[file], file)
    return Imported(
        names=tuple(map(_name, manifest.entries)),
        size=sum(file.size for file in targets),
        strangers=tuple(map(_name, strange)),
        next_step=_next_step(place / "cards", manifest, strange),
    )


def _check(names: Sequence[str], folder: Path) -> None:
    if isinstance(names, str) or not names:
        raise ValueError(f"names must be a list of at least one name (got {names!r}). Try ['mocov2-mini'].")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"folder must be new or empty (got {str(folder)!r}). Name another one.")
    for name in names:
        if "/" in name:
            step = "Save its README.md as a card in a folder that ZOO_CARDS names, and export that"
            raise ValueError(f"name must be of the registry (got the repo {name!r}). {step}.")
        cards.find(cards.split_name(name)[0])


def _loaded(name: str, whole: bool) -> tuple[Card, float]:
    encoder = loading.load(name, whole=whole)
    return encoder.card, encoder.depth


@contextlib.contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A folder beside it, which takes its place in the end."""
    scratch = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        scratch.mkdir(parents=True)
        yield scratch
        if folder.exists():
            folder.rmdir()
        scratch.rename(folder)
    except WeightsError:
        raise
    except OSError as error:
        fact = error.strerror or str(error)
        raise OSError(f"folder {folder} must be writable (got: {fact}). Free space there, or name another.") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _entry(scratch: Path, card: Card, depth: float, whole: bool) -> Entry:
    opened = open_weights(card, whole=whole)
    return Entry(
        name=card.name,
        depth=depth,
        repo=card.weights.repo,
        revision=card.weights.revision,
        file=card.weights.file,
        sha256=opened.sha256,
        files=[_copy(scratch, source) for source in _sources(card, depth, opened)],
    )


def _sources(card: Card, depth: float, opened: Local | Ranged) -> Iterator[Source]:
    if card.weights.repo is None:
        if card.path.parent.resolve() != cards.folder().resolve():
            yield from [*_card(card), (f"cards/{card.weights.file}", opened.path, opened.sha256)]
        return
    yield from _card(card)
    store = store_of(card)
    if isinstance(opened, Ranged):
        yield from _pieces(store, {"header", "digests", "whole"} | _needed(card, depth, opened))
    elif opened.remote:
        _check_asked(card, store)
        yield from _pieces(store, {"digests", "whole"})
        weights = card.weights
        yield f"hub/{weights.repo}/{weights.revision}/{weights.file}", opened.path, opened.sha256
    else:
        yield from [*_pieces(store, {"source"}), *_pieces(Store(opened.path.parent), {"digests"})]
        yield opened.path.relative_to(cache()).as_posix(), opened.path, opened.sha256


def _card(card: Card) -> Iterator[Source]:
    yield f"cards/{card.name}.md", card.path, None
    if (path := _digests(card)).is_file():
        yield f"cards/digests/{card.name}.json", path, card.weights.digests


def _digests(card: Card) -> Path:
    return card.path.parent / "digests" / f"{card.name}.json"


def _needed(card: Card, depth: float, opened: Ranged) -> set[str]:
    """The pieces of the tensors that are left at a depth."""
    cut = cutting.cut(cutting.build(card.architecture, card.kwargs), depth)
    spans = opened.header.spans
    names = layouts.rename(opened.layout, spans)
    return {opened_.key(spans[name]) for source in cut.sources.values() for name in names[source]}


def _pieces(store: Store, keys: Collection[str]) -> Iterator[Source]:
    recorded, top = store.recorded(), store.folder.relative_to(cache())
    place = "" if top.parts[0] == "converted" else "pieces/"
    for key in sorted(store.keys() & set(keys)):
        name = f"{key}.{recorded[key]}"
        yield f"{place}{top.as_posix()}/{name}", store.folder / name, recorded[key]


def _check_asked(card: Card, store: Store) -> None:
    """Whether the commit has a digests.json is asked of the Hub, unless the card or the cache says it."""
    if not (store.get(["digests"]) or (card.weights.digests and _digests(card).is_file())):
        raise WeightsError(
            f"{card.name} must have been loaded once with a network (whether it has a digests.json is not known). "
            "Connect, unset HF_HUB_OFFLINE and export again."
        )


def _copy(scratch: Path, source: Source) -> File:
    path, origin, expected = source
    target = scratch / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copyfile(origin, target)
    file = manifest_.file(scratch, path)
    if expected not in (None, file.sha256):
        raise WeightsError(f"{origin} must have sha256 {expected} (got {file.sha256}). Delete it and export again.")
    return file


def _version() -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version("sslzoo")
    return None


def _target(path: str) -> Path | None:
    """Where a file of the folder goes."""
    place, _, rest = path.partition("/")
    if place == "hub":
        owner, name, revision, file = rest.split("/", 3)
        return hub.place() / f"models--{owner}--{name}" / "snapshots" / revision / file
    return {"pieces": cache() / rest, "converted": cache() / path}.get(place)


def _agree(target: Path, file: File) -> None:
    """What was fetched before, or put into quarantine, is not replaced by anything else."""
    key, _, digest = target.name.rpartition(".")
    held = Store(target.parent).recorded().get(key) if len(digest) == 64 else None
    if held is None and len(digest) != 64 and target.is_file():
        held = sha256_file(target)
    if held not in (None, file.sha256):
        step = "Delete there what you do not trust, or leave this folder"
        raise WeightsError(f"{target.parent} must hold no other bytes as {key} than {file.path} (got {held}). {step}.")


def _install(source: Path, target: Path, file: File) -> None:
    data = source.read_bytes()
    if sha256(data) != file.sha256:
        raise WeightsError(f"{source} must stay as it is during an import (it changed). Import again.")
    if file.path.startswith("hub/"):
        if not target.is_file():
            write(target, data)
        return
    store = Store(target.parent)
    with store.lock():
        if target.name.endswith(file.sha256):
            store.put(target.name.rpartition(".")[0], data)
        else:
            write(target, data)


def _known(folder: Path, entry: Entry) -> bool:
    """Whether the registry's card of that name says the same."""
    own = cards.read(folder / entry.card) if entry.card else None
    if entry.name not in cards.names():
        return False
    card = cards.find(entry.name)
    facts = card.model_dump(exclude={"path", "body"})
    return facts == own.model_dump(exclude={"path", "body"}) if own else card.weights.sha256 == entry.sha256


def _place(manifest: Manifest) -> Path:
    """Where the cards of an import go: each has a folder of its own, and no card of another one counts there."""
    return cache() / "imported" / sha256(manifest_.dump(manifest).encode())[:16]


def _is_new(entry: Entry) -> bool:
    """Whether its card can be used: those of the package keep their names."""
    return entry.card is not None and entry.name not in cards.paths(cards.folder())


def _name(entry: Entry) -> str:
    return f"{entry.name}@{entry.depth:g}"


def _next_step(place: Path, manifest: Manifest, strange: list[Entry]) -> str | None:
    version = f"the clone of sslzoo {shown(manifest.sslzoo)}" if manifest.sslzoo else "the sslzoo that exported"
    steps = {
        f"Set ZOO_CARDS={place}.": any(map(_is_new, strange)),
        f"Install {version}, which has it.": not all(map(_is_new, strange)),
    }
    return " ".join(step for step, wanted in steps.items() if wanted) or None
